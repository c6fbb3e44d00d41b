"""Which of the three data set formats a file is, decided by its extension and its first bytes together."""

import unicodedata
from enum import StrEnum
from pathlib import PurePosixPath

from llmops_resources.errors import InvalidInput, UnsupportedFormat

SNIFF_BYTES = 4096
PARQUET_MAGIC = b"PAR1"


class DatasetFormat(StrEnum):
    """A format data sets are uploaded in; the value is the file extension without the dot."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


_COMPRESSED = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
)
_FOREIGN = (
    (b"%PDF-", "a PDF document"),
    (b"ARROW1", "an Arrow IPC file"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
)
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_WIDE_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
# Text that would pass as a CSV file of one column.
_PAGE = "Download the file itself: this is a page about it, or about an error."
_MARKUP = (
    (b"<!doctype html", "an HTML page", _PAGE),
    (b"<html", "an HTML page", _PAGE),
    (b"<?xml", "an XML document", "Convert it to CSV or JSON lines."),
    (b"version https://git-lfs", "a pointer of Git LFS", "Run `git lfs pull` and upload the file it points to."),
)
_REMEDIES = {
    ".json": "Write one JSON object per line and name the file .jsonl.",
    ".ndjson": "Rename the file to .jsonl.",
    ".tsv": "Save it with commas as .csv.",
    ".txt": "Save the text as .jsonl with one object per line, or as .csv with a header row.",
    ".xlsx": "Export the sheet as CSV (UTF-8).",
    ".xls": "Export the sheet as CSV (UTF-8).",
    ".gz": "Decompress the file before uploading it.",
    ".zip": "Unpack the archive and upload the files themselves.",
}
_EXPECTED = "Upload a .csv, .jsonl or .parquet file."
_RESAVE = "Save the file as UTF-8 without a byte order mark."


def shown(name: str, limit: int = 120) -> str:
    """A user's file or column name made safe for messages: no control or bidirectional characters, bounded length."""
    visible = "".join(
        c if unicodedata.category(c)[0] not in "CZ" or c == " " else "\N{REPLACEMENT CHARACTER}" for c in name
    )
    return visible if len(visible) <= limit else visible[: limit - 1] + "…"


def format_of_name(name: str) -> DatasetFormat:
    """The format a file name claims. Raises UnsupportedFormat for any other extension."""
    suffix = PurePosixPath(name).suffix.lower()
    try:
        return DatasetFormat(suffix.removeprefix("."))
    except ValueError:
        ending = f"the extension {shown(suffix, 20)!r}" if suffix else "no extension"
        raise UnsupportedFormat(
            f"{shown(name)} has {ending}, which is not a data set format", remedy=_REMEDIES.get(suffix, _EXPECTED)
        ) from None


def sniff(name: str, first_bytes: bytes) -> DatasetFormat:
    """The format of a file, when its name and its first bytes (up to `SNIFF_BYTES`) agree.

    Raises UnsupportedFormat for a wrong extension, another format's magic, compression, UTF-16/32 or a byte order
    mark, and InvalidInput for an empty file. Whether the rest of the file is well-formed is `ByteInspector`'s and the
    structure check's business.
    """
    fmt = format_of_name(name)
    label = shown(name)
    if not first_bytes:
        raise InvalidInput(f"{label} is empty", remedy="Upload a file with at least one row.")
    for magic, what in _COMPRESSED:
        if first_bytes.startswith(magic):
            raise UnsupportedFormat(f"{label} is {what}-compressed", remedy="Decompress it and upload the plain file.")
    for magic, what in _FOREIGN:
        if first_bytes.startswith(magic):
            raise UnsupportedFormat(f"{label} is {what}, not {fmt}", remedy=_EXPECTED)
    is_parquet = first_bytes.startswith(PARQUET_MAGIC)
    if fmt is DatasetFormat.PARQUET:
        if not is_parquet:
            raise UnsupportedFormat(
                f"{label} does not begin with the Parquet magic PAR1",
                remedy="Write it again as Parquet, or give it the extension of what it is (.csv, .jsonl).",
            )
        return fmt
    if is_parquet:
        raise UnsupportedFormat(f"{label} contains Parquet, not {fmt}", remedy="Rename the file to .parquet.")
    _refuse_foreign_encodings(label, first_bytes)
    _refuse_the_other_text_format(label, fmt, first_bytes)
    return fmt


def _refuse_foreign_encodings(label: str, first_bytes: bytes) -> None:
    for mark, encoding in _WIDE_MARKS:
        if first_bytes.startswith(mark):
            raise UnsupportedFormat(f"{label} is encoded in {encoding}", remedy=_RESAVE)
    if first_bytes.startswith(b"\xef\xbb\xbf"):
        raise UnsupportedFormat(
            f"{label} begins with a byte order mark, which would become part of the first name", remedy=_RESAVE
        )
    if first_bytes[:64].count(b"\x00") * 4 > len(first_bytes[:64]):
        raise UnsupportedFormat(f"{label} looks like UTF-16 without a mark, or like a binary file", remedy=_RESAVE)


def _refuse_the_other_text_format(label: str, fmt: DatasetFormat, first_bytes: bytes) -> None:
    start = first_bytes.lstrip()[:1]
    if fmt is DatasetFormat.JSONL and start == b"[":
        raise UnsupportedFormat(
            f"{label} is one JSON array, not JSON lines", remedy="Write each element of the array on a line of its own."
        )
    if fmt is DatasetFormat.JSONL and start not in {b"{", b""}:
        raise UnsupportedFormat(
            f"{label} does not begin with a JSON object", remedy='Write one object per line, such as {"text": "…"}.'
        )
    if fmt is DatasetFormat.CSV and first_bytes.lstrip().startswith((b'{"', b"[{")):
        raise UnsupportedFormat(
            f"{label} contains JSON, not CSV", remedy="Rename the file to .jsonl (one object per line)."
        )
    for beginning, what, remedy in _MARKUP:
        if first_bytes.lstrip()[:64].lower().startswith(beginning):
            raise UnsupportedFormat(f"{label} is {what}, not {fmt}", remedy=remedy)
