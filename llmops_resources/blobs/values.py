"""What storage is described with: stored files, manifests, listings, and which keys every store spells alike."""

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from llmops_resources.errors import InvalidInput
from llmops_resources.values import Value

# Characters that S3 keys, POSIX names and URLs treat differently from one another.
FORBIDDEN_CHARACTERS: Final = frozenset('\\{}^%`[]"<>~#|*?:')


class StoredFile(Value):
    """A stored object: its name inside its folder, its size in bytes and the hex SHA-256 of its bytes."""

    path: str
    size: int
    sha256: str


class Manifest(Value):
    """The files of a published folder, sorted by path.

    `digest` is `sha256:<hex>` over one line for each file: path NUL sha256 NUL size LF.
    """

    files: tuple[StoredFile, ...]
    digest: str

    @classmethod
    def of(cls, files: Iterable[StoredFile]) -> "Manifest":
        """The manifest of these files in any order. Raises InvalidInput for none, or for a name given twice."""
        ordered = tuple(sorted(files, key=lambda file: file.path))
        if not ordered:
            raise InvalidInput("a version needs at least one file", remedy="Upload a file first.")
        if len({file.path for file in ordered}) != len(ordered):
            raise InvalidInput("two files have the same name", remedy="Give every file of a version its own name.")
        lines = "".join(f"{file.path}\0{file.sha256}\0{file.size}\n" for file in ordered)
        return cls(files=ordered, digest="sha256:" + hashlib.sha256(lines.encode()).hexdigest())

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class StoredObject:
    """One entry of a listing: key, size in bytes, time of the last change."""

    key: str
    size: int
    modified: datetime


def check_key(key: str) -> str:
    """The key itself, if every store spells it the same way. Raises InvalidInput."""

    def refuse(why: str) -> InvalidInput:
        return InvalidInput(
            f"the file name {key[:200]!r} {why}",
            remedy="Use letters, digits, spaces, dots, dashes and underscores, with / between folders.",
        )

    if not key or len(key.encode("utf-8", "surrogatepass")) > 1000:
        raise refuse("is empty or longer than 1,000 bytes")
    for segment in key.split("/"):
        if segment in {"", ".", ".."}:
            raise refuse("has an empty, '.' or '..' part")
        if len(segment.encode("utf-8", "surrogatepass")) > 240:
            raise refuse("has a part longer than 240 bytes")
        if segment != segment.strip() or segment.endswith("."):
            raise refuse("has a part that starts or ends with a space, or ends with a dot")
        # Category C: control, format (right-to-left override, zero width), surrogate, private, unassigned.
        if any(c in FORBIDDEN_CHARACTERS or unicodedata.category(c).startswith("C") for c in segment):
            raise refuse("has a character that is not allowed")
    return key
