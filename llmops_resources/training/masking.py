"""Lines of a stranger's program without the secrets they may hold. Pure, and linear in the length of a line."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

MASK: Final = "•••"
SHORTEST: Final = 8  # a known secret with fewer characters would mask ordinary words

_CONTROL: Final = re.compile(
    r"\x1b\[[0-9;?]{0,20}[ -/]{0,4}[@-~]"  # colours and cursor moves of a terminal
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"  # and what reorders text
)
_NAMED: Final = re.compile(
    r"((?:secret|token|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key(?:[_-]?id)?|private[_-]?key"
    r"|credentials?)[\"']?\s{0,3}(?:=|:|=>)\s{0,3}[\"']?)(?!(?:bearer|basic)\b)([^\s\"',;&}]{4,})",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(r"\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_IN_URL: Final = re.compile(r"(://[^\s/@:]{0,200}:)[^\s/@]{1,500}@")
_SIGNED: Final = re.compile(
    r"([?&](?:X-Amz-(?:Signature|Credential|Security-Token)|sig|signature)=)[^\s&\"']+", re.IGNORECASE
)
_SHAPES: Final = re.compile(
    r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b"  # AWS access key ids
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"  # JSON web tokens
    r"|\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|\bhf_[A-Za-z0-9]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}"
)
_SECRET_NAME: Final = re.compile(r"secret|token|passw|api_?key|access_?key|private_?key|credential", re.IGNORECASE)


class Masking:
    """Takes secrets out of lines: known ones wherever they are, others by their shape or the name before them."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        long = sorted({secret for secret in known if len(secret) >= SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, long))) if long else None

    def __call__(self, line: str) -> str:
        """The line as anybody may read it, also without control characters."""
        line = _CONTROL.sub("", line.encode("utf-8", "replace").decode())  # half a surrogate pair cannot be stored
        if self._known is not None:
            line = self._known.sub(MASK, line)
        line = _SCHEME.sub(rf"\1\2{MASK}", line)
        line = _NAMED.sub(rf"\1{MASK}", line)
        line = _IN_URL.sub(rf"\1{MASK}@", line)
        line = _SIGNED.sub(rf"\1{MASK}", line)
        return _SHAPES.sub(MASK, line)


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """The values of an environment whose names say that they are secret."""
    return [value for name, value in environment.items() if _SECRET_NAME.search(name)]
