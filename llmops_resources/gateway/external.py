"""What a provider outside answers: passed on under our route's name, and its errors in our own words.

A provider's words never reach a client: they may name our account or repeat our key. Of an error only its status and,
if it is one we know, its code are read.
"""

from typing import Final

import msgspec

from llmops_resources.catalog.providers import Connection
from llmops_resources.errors import InvalidInput, PlatformError, TooManyRequests, Unavailable, UpstreamFailed

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SHORTEN = "Lower max_tokens, or send a shorter conversation."
#: OpenAI's codes of what is wrong with a request, in our words, with the remedy.
_COMPLAINTS: Final = {
    "context_length_exceeded": ("the conversation is longer than the model can read", _SHORTEN),
    "string_above_max_length": ("a message is too long", _SHORTEN),
    "content_filter": ("the provider's content filter stopped it", "Say it in another way."),
    "content_policy_violation": ("the provider's content filter stopped it", "Say it in another way."),
    "unsupported_parameter": ("the model does not know one of the parameters", "Leave out optional parameters."),
    "unsupported_value": ("the model does not accept the value of a parameter", "Leave out optional parameters."),
    "invalid_value": ("the model does not accept the value of a parameter", "Leave out optional parameters."),
    "unknown_parameter": ("the model does not know one of the parameters", "Leave out optional parameters."),
    "insufficient_quota": ("the account with the provider is used up", "Ask whoever runs the platform."),
}


class _Problem(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None


class _Answer(msgspec.Struct):
    error: _Problem | str | None = None


_PROBLEM: Final = msgspec.json.Decoder(_Answer)


def renamed(data: bytes, route: str, connection: Connection) -> bytes:
    """An answer or a chunk of one, with our route as its model.

    Raises UpstreamFailed when it is not a JSON object, and when it repeats our key.
    """
    secret = connection.key.get_secret_value().encode() if connection.key else b""
    if secret and secret in data:
        raise _wrong("its answer repeats the platform's key")
    try:
        fields = _FIELDS.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong("its answer is not a completion") from error
    if "model" in fields:
        fields["model"] = msgspec.Raw(msgspec.json.encode(route))
    return msgspec.json.encode(fields)


def refusal(status: int, body: bytes, retry_after: float) -> PlatformError:
    """What a provider's HTTP error means to our client; `retry_after` in seconds as the provider gave it."""
    code = _code(body)
    if status == 429 or code == "insufficient_quota":
        what, remedy = _COMPLAINTS.get(code, ("the provider is busy", "Try again in a moment."))
        return TooManyRequests(what, retry_after=retry_after, remedy=remedy)
    if status in {401, 403}:
        return UpstreamFailed(
            "the provider refuses the platform's key", remedy="Replace the key on the model's page in the catalog."
        )
    if status == 404:
        return UpstreamFailed(
            "the provider does not know the model", remedy="Test the connection on the model's page."
        )
    if status in {400, 413, 422}:
        what, remedy = _COMPLAINTS.get(code, ("it does not accept it as it is", "Send fewer or other parameters."))
        return InvalidInput(f"the provider refuses the request: {what}", remedy=remedy)
    if status in {502, 503, 504, 529}:
        return Unavailable("the provider is not ready", remedy="Try again in a moment.")
    return _wrong(f"it answered HTTP {status}")


def _wrong(what: str) -> UpstreamFailed:
    remedy = "Try again; if it stays, test the connection on the model's page."
    return UpstreamFailed(f"the provider is not answering as it should: {what}", remedy=remedy)


def _code(body: bytes) -> str:
    try:
        error = _PROBLEM.decode(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(error, _Problem):
        return ""
    return next((str(name) for name in (error.code, error.type) if str(name) in _COMPLAINTS), "")
