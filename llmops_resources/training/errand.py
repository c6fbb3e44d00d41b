"""What a pod without credentials is told: links to what its job reads, and to where its job writes. Pure.

Every link is of one object and for reading or for writing, so a pod sees the data of its own job alone. What a job
writes is a folder as a *parcel*: a tar archive in numbered parts, and an index that is written last and names each part
by its digest. Checkpoints alternate between two parcels, so that the one before is whole while one is written.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias
from uuid import UUID

from pydantic import Field

from llmops_resources.blobs import Manifest
from llmops_resources.values import Value

PART_BYTES: Final = 2 * 1024**3  # one PUT takes at most 5 GiB
PARTS: Final = 128
PROGRAM: Final = "llmops_assets.training.sft"
Sign: TypeAlias = Callable[[Literal["GET", "PUT"], Sequence[str]], list[str]]


class Input(Value):
    """A file to fetch, and where it goes in the work folder."""

    path: str
    url: str = Field(repr=False)
    size: int
    sha256: str


class Parcel(Value):
    """Links to a folder in the object store. Without `get` it can only be written."""

    put_index: str = Field(repr=False)
    put_parts: tuple[str, ...] = Field(repr=False)
    get_index: str | None = Field(default=None, repr=False)
    get_parts: tuple[str, ...] = Field(default=(), repr=False)
    part_bytes: int = PART_BYTES


class Index(Value):
    """What a parcel holds: the parts' digests and sizes, and a number that grows."""

    serial: int
    parts: tuple[tuple[str, int], ...]


class Errand(Value):
    """Everything the pods of a job need, mounted as one file."""

    job_id: UUID
    program: str = PROGRAM
    recipe: str
    inputs: tuple[Input, ...]
    output: Parcel
    checkpoints: tuple[Parcel, Parcel]


def folder(job_id: UUID) -> str:
    """Where the pods of a job write, in the object store."""
    return f"checkpoints/{job_id}/pods"


def keys_of(prefix: str, parts: int = PARTS) -> tuple[str, list[str]]:
    """The keys of a parcel: its index and its parts."""
    return f"{prefix}/index.json", [f"{prefix}/{number:04d}" for number in range(parts)]


def errand(
    job_id: UUID,
    recipe: str,
    inputs: Mapping[str, tuple[str, Manifest]],
    sign: Sign,
    *,
    parts: int = PARTS,
    part_bytes: int = PART_BYTES,
) -> Errand:
    """The errand of a job. `inputs` are folders of the work folder (`data`, `base`) with their prefix and manifest."""
    files = [(name, prefix, file) for name, (prefix, manifest) in inputs.items() for file in manifest.files]
    links = sign("GET", [f"{prefix}/{file.path}" for _, prefix, file in files])
    fetched = [
        Input(path=f"{name}/{file.path}", url=url, size=file.size, sha256=file.sha256)
        for (name, _, file), url in zip(files, links, strict=True)
    ]

    def parcel(name: str, *, readable: bool) -> Parcel:
        index, numbered = keys_of(f"{folder(job_id)}/{name}", parts)
        put_index, *put_parts = sign("PUT", [index, *numbered])
        got = sign("GET", [index, *numbered]) if readable else []
        return Parcel(
            put_index=put_index, put_parts=tuple(put_parts), part_bytes=part_bytes,
            get_index=got[0] if got else None, get_parts=tuple(got[1:]),
        )  # fmt: skip

    return Errand(
        job_id=job_id,
        recipe=recipe,
        inputs=tuple(fetched),
        output=parcel("output", readable=False),
        checkpoints=(parcel("checkpoint-0", readable=True), parcel("checkpoint-1", readable=True)),
    )
