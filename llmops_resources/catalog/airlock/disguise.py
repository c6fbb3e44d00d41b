"""Files that are not what their name says: told by their first bytes, which the thing that opens them goes by."""

from typing import Final

#: As many bytes as the tests below look at.
HEAD_BYTES: Final = 512

_MAGIC: Final = (
    (b"PK\x03\x04", "a zip archive (or a torch pickle, which is one)"),
    (b"PK\x05\x06", "a zip archive"),
    (b"PK\x07\x08", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"GGUF", "a GGUF file"),
    (b"ggml", "a GGML file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"#!", "a script"),
    (b"%PDF-", "a PDF document"),
)


def disguise_of(head: bytes) -> str | None:
    """What the first bytes say it is, when that is something that a model's text or weights never start with."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[257:262] == b"ustar":
        return "a tar archive"
    return None


def is_torch_pickle(head: bytes) -> bool:
    """Whether it starts like what torch.save writes: a zip archive, or the bare pickle of old versions."""
    return head.startswith((b"PK\x03\x04", b"\x80\x02"))
