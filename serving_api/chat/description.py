"""The gateway's routes in the API's description. FastAPI never sees them, so they are described here by hand."""

from typing import Any

_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": False,
    "properties": {
        "messages": {
            "type": "array",
            "description": "may be empty when promptVariables are given",
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "properties": {
                    "role": {"type": "string", "enum": ["system", "user", "assistant"]},
                    "content": {"type": "string"},
                },
            },
        },
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "max_tokens": {"type": "integer", "minimum": 1, "maximum": 4000},
        "stop": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 4}]},
        "seed": {"type": "integer"},
        "stream": {"type": "boolean", "description": "answer as server-sent events"},
        "user": {"type": "string", "maxLength": 512, "description": "whom an application asks for"},
        "promptVariables": {
            "type": "object",
            "additionalProperties": True,
            "description": "values for the prompt that the route is bound to; it goes above these messages",
        },
    },
}
_FEEDBACK: dict[str, Any] = {
    "type": "object",
    "required": ["exchangeId"],
    "additionalProperties": False,
    "description": "either thumbs or a score",
    "properties": {
        "exchangeId": {"type": "string", "format": "uuid", "description": "the answer's header x-llmops-exchange"},
        "thumbs": {"type": "string", "enum": ["up", "down"]},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
    },
}
_COUNT = {"type": "integer", "minimum": 0}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["id", "created", "model", "choices", "usage"],
    "properties": {
        "id": {"type": "string"},
        "created": {"type": "integer", "description": "Unix seconds"},
        "model": {"type": "string"},
        "choices": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "message", "finish_reason"],
                "properties": {
                    "index": {"type": "integer"},
                    "message": _REQUEST["properties"]["messages"]["items"],
                    "finish_reason": {"type": "string", "enum": ["stop", "length"]},
                },
            },
        },
        "usage": {
            "type": "object",
            "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
            "properties": {"prompt_tokens": _COUNT, "completion_tokens": _COUNT, "total_tokens": _COUNT},
        },
    },
}


def _name(title: str) -> dict[str, Any]:
    return {"name": "route", "in": "path", "required": True, "schema": {"type": "string"}, "description": title}


def _envelope(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["status", "message", "data"],
        "properties": {
            "status": {"type": "string", "const": "success"},
            "message": {"type": "string"},
            "data": data,
        },
    }


def _operation(
    identifier: str, summary: str, answer: dict[str, Any], request: dict[str, Any] | None = None, route: str = "",
    *, streams: bool = True,
) -> dict[str, Any]:
    content = {"application/json": {"schema": answer}}
    stream = {"text/event-stream": {"schema": {"type": "string"}}} if request and streams else {}
    operation: dict[str, Any] = {
        "operationId": identifier,
        "summary": summary,
        "tags": ["chat"],
        "responses": {"200": {"description": "Successful Response", "content": {**content, **stream}}},
    }
    if request is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": request}}}
    if route:
        operation["parameters"] = [_name(route)]
    return operation


def paths() -> dict[str, Any]:
    """OpenAPI path items of every route the gateway answers."""
    openai = {**_REQUEST, "required": ["model", "messages"], "additionalProperties": True}
    anything = {"type": "object"}
    route = "the endpoint's route"
    return {
        "/llm-ops/v1/serve/{route}/chat": {
            "post": _operation("chat", "Chat with the model at a route", _envelope(_ANSWER), _REQUEST, route)
        },
        "/llm-ops/v1/serve/{route}/health": {
            "get": _operation("route_health", "Ask the route's model server whether it is ready", _envelope(anything),
                              route=route)
        },
        "/llm-ops/v1/serve/{route}/feedback": {
            "post": _operation("feedback", "Say what a user thinks of an answer, once", _envelope(anything), _FEEDBACK,
                               route, streams=False)
        },
        "/openai/v1/chat/completions": {
            "post": _operation("openai_chat", "OpenAI's chat completions; `model` is the route", _ANSWER, openai)
        },
        "/openai/v1/completions": {
            "post": _operation("openai_completions", "OpenAI's completions; `model` is the route", anything, anything)
        },
        "/openai/v1/models": {"get": _operation("openai_models", "The routes that can be chatted with", anything)},
        "/openai/v1/models/{route}": {
            "get": _operation("openai_model", "One route as an OpenAI model", anything, route=route)
        },
    }  # fmt: skip
