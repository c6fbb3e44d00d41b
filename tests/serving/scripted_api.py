"""An HTTP server that answers a client of the platform by a script: what it is asked is kept, what it says is fixed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.loopback import listening

ENDPOINT = {"id": "e1", "route": "r", "status": "healthy", "statusDetail": "", "revision": 2, "maxReplicas": 1}
MODEL = {"id": "11111111-1111-4111-8111-111111111111", "name": "tiny", "version": "1"}


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Told:
    """One answer. A body in parts is sent part by part; `cut` drops the connection after them."""

    status: int = 200
    body: bytes | list[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


def success(data: Any, **headers: str) -> Told:
    """The envelope of a success."""
    body = json.dumps({"status": "success", "message": "", "data": data}).encode()
    return Told(200, body, {name.replace("_", "-"): value for name, value in headers.items()})


def failure(status: int, kind: str, message: str = "no", errors: Any = (), **headers: str) -> Told:
    """The envelope of a failure."""
    data = {"kind": kind, "remedy": "Mend it.", "errors": list(errors)}
    body = json.dumps({"status": "fail", "message": message, "data": data}).encode()
    return Told(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def chunk(text: str, **more: Any) -> bytes:
    """A chunk of a stream, its text not escaped, as model servers send it."""
    event = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


def stream(*parts: bytes, cut: bool = False) -> Told:
    """A stream of events as it is cut by the network."""
    return Told(200, list(parts), {"Content-Type": "text/event-stream"}, cut)


class ScriptedApi:
    """`script` holds the answers of each "METHOD /path" in order; the last one stays."""

    def __init__(self) -> None:
        self.script: dict[str, list[Told]] = {}
        self.asked: list[Asked] = []
        self.url = ""

    def says(self, what: str, *answers: Told) -> None:
        """Answer `METHOD /path below the base` so, from now on."""
        self.script[what] = list(answers)

    def count(self, what: str) -> int:
        """How often it was asked."""
        return sum(f"{each.method} {each.path.partition('?')[0]}" == what for each in self.asked)

    def next(self, asked: Asked) -> Told:
        """The answer to a request."""
        self.asked.append(asked)
        answers = self.script.get(f"{asked.method} {asked.path.partition('?')[0]}")
        if not answers:
            return failure(404, "not_found", f"nothing at {asked.method} {asked.path}")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def scripted_api() -> Iterator[ScriptedApi]:
    """The server on a port of its own."""
    api = ScriptedApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: object) -> None:
            """Silence."""

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.removeprefix("/llm-ops/v1")
            headers = {name.lower(): value for name, value in self.headers.items()}
            told = api.next(Asked(self.command, path, headers, json.loads(raw) if raw else None))
            parts = told.body if isinstance(told.body, list) else [told.body]
            self.send_response(told.status)
            for name, value in {"Content-Type": "application/json", **told.headers}.items():
                self.send_header(name, value)
            whole = not isinstance(told.body, list)
            self.send_header(*("Content-Length", str(len(parts[0]))) if whole else ("Transfer-Encoding", "chunked"))
            self.end_headers()
            for part in parts:
                self.wfile.write(part if whole else b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()
            if not whole and not told.cut:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = told.cut

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815  the names are http.server's

    with listening(Handler) as port:
        api.url = f"http://127.0.0.1:{port}"
        yield api


def for_both_clients(api: ScriptedApi) -> None:
    """The script that the tests of either client go by."""
    api.says("GET /catalog/models", success([MODEL]))
    before, now = ({"endpointId": "e1", "revision": revision} for revision in (1, 2))
    api.says("GET /serve/r/health", success(before), success(now))
    api.says("GET /serving/endpoints/e1", failure(503, "unavailable", Retry_After="0"), success(ENDPOINT))
    api.says("GET /serving/endpoints/ill", success({**ENDPOINT, "status": "failed", "statusDetail": "no memory"}))
    api.says("GET /serving/endpoints", success([ENDPOINT], X_Next_Cursor="two"), success([{**ENDPOINT, "id": "e2"}]))
    api.says("POST /serving/endpoints", failure(502, "upstream_failed"), success(ENDPOINT))
    api.says("POST /serving/endpoints/e1/rollback", failure(503, "unavailable", Retry_After="0"))
    api.says("POST /serving/endpoints/e3/rollback", success(ENDPOINT))
    api.says("POST /serving/endpoints/e1/redeploy", success(ENDPOINT))
    api.says("PATCH /serving/endpoints/e1", failure(502, "upstream_failed", Retry_After="0"), success(ENDPOINT))
    api.says("PATCH /serving/endpoints/e2", failure(502, "upstream_failed", Retry_After="0"))
    hot = [{"path": "temperature", "problem": "is too hot", "remedy": "Use less."}]
    api.says("POST /serve/wrong/chat", failure(422, "validation_failed", "1 field is wrong", hot, X_Request_Id="a1"))
    api.says("POST /serve/spent/chat", failure(429, "too_many_requests", Retry_After="3600"))
    api.says("POST /serve/elsewhere/chat", Told(200, b"<html>not ours</html>"))
    answer = {
        "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }  # fmt: skip
    busy = failure(429, "too_many_requests", Retry_After="0")
    api.says("POST /serve/r/chat", busy, success(answer, X_LLMOps_Route="stand-in"))
    odd = chunk("a\u2028b") + b": a comment\r\n\r\n" + chunk("안녕").replace(b"\n", b"\r\n")
    usage = chunk("", usage=answer["usage"])
    pieces = [odd[i : i + 1] for i in range(len(odd))]
    api.says("POST /serve/odd/chat", stream(*pieces, usage, b"data: [DONE]\n\n"))
    failed = failure(502, "upstream_failed", "the model died").body
    assert isinstance(failed, bytes)
    api.says("POST /serve/dies/chat", stream(chunk("half"), b"data: " + failed + b"\n\n"))
    api.says("POST /serve/ends/chat", stream(chunk("half")))
    api.says("POST /serve/drops/chat", stream(chunk("half"), cut=True))
