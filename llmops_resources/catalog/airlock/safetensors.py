"""The header of a safetensors file, checked before any library sees it.

The layout: eight bytes with the header's length (unsigned, little endian), the header (a JSON object from tensor name
to dtype, shape and the pair of offsets into the data that follows), then the data of all tensors without a gap.
See the format description of the safetensors project.
"""

from collections.abc import Callable
from math import prod
from typing import Any, Final

from llmops_resources.catalog.airlock import strict_json
from llmops_resources.catalog.airlock.disguise import disguise_of
from llmops_resources.catalog.airlock.report import shown
from llmops_resources.values import Value

#: A tensor takes about 100 bytes of header, so this is far beyond any real file and still cheap to parse.
MAX_HEADER_BYTES: Final = 16 * 1024**2
MAX_TENSORS: Final = 100_000
MAX_NAME: Final = 512
MAX_DIMENSIONS: Final = 8
METADATA: Final = "__metadata__"
#: Bits of one element. The types of less than a byte are left out: no runtime of ours loads them.
BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64,
}  # fmt: skip
FLOATS: Final = frozenset({"F16", "BF16", "F32", "F64", "F8_E5M2", "F8_E4M3"})


class Unsound(Exception):
    """The file is not a sound safetensors file: the reason, and what would be right."""

    def __init__(self, problem: str, remedy: str = "Save the weights again and upload the new file.") -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


class Tensor(Value):
    """One tensor of a file: its dtype as the format spells it, its shape, and where its bytes lie in the data."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


def header_bytes(start: bytes) -> int:
    """How many of its first bytes `read_header` reads of a file that begins with `start`."""
    return max(16, 8 + min(int.from_bytes(start[:8], "little"), MAX_HEADER_BYTES))


def read_header(size: int, read: Callable[[int, int], bytes]) -> dict[str, Tensor]:
    """The tensors of a file of `size` bytes, of which `read(offset, length)` gives any part. Raises Unsound."""
    if size < 10:
        raise Unsound(f"it has {size} bytes, too few for a safetensors file")
    start = read(0, 16)
    if (other := disguise_of(start)) is not None and not _length_fits(start, size):
        raise Unsound(f"it is {other} under the name of a safetensors file", "Upload real safetensors files.")
    length = int.from_bytes(start[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise Unsound(f"its header claims {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read")
    if length < 2 or 8 + length > size:
        raise Unsound(f"its header claims {length:,} bytes in a file of {size:,}")
    raw = read(8, length)
    if len(raw) != length or not raw.startswith(b"{"):
        raise Unsound("its header is not a JSON object")
    try:
        header = strict_json.parse_object(raw)
    except strict_json.NotStrict as error:
        raise Unsound(f"its header cannot be read: {error}") from None
    return check_header(header, size - 8 - length)


def check_header(header: dict[str, Any], data_bytes: int) -> dict[str, Tensor]:
    """The tensors, when every one is well-formed and together they fill the data exactly. Raises Unsound."""
    _check_metadata(header.pop(METADATA, {}))
    if not header:
        raise Unsound("it has no tensors")
    if len(header) > MAX_TENSORS:
        raise Unsound(f"it has {len(header):,} tensors; at most {MAX_TENSORS:,} are read", "Split it into shards.")
    tensors = {name: _tensor(name, entry) for name, entry in header.items()}
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda pair: (pair[1].start, pair[1].end)):
        if tensor.start != position:
            what = "overlaps the tensor before it" if tensor.start < position else "leaves a gap before it"
            raise Unsound(f"the tensor {shown(name)} starts at byte {tensor.start:,} and {what}")
        position = tensor.end
    if position != data_bytes:
        what = "reach beyond its end" if position > data_bytes else "leave bytes at its end that belong to none"
        raise Unsound(f"its tensors take {position:,} bytes and its data has {data_bytes:,}: they {what}")
    return tensors


def _tensor(name: str, entry: Any) -> Tensor:
    label = f"the tensor {shown(name)}"
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise Unsound(f"{label} has an empty, too long or unprintable name")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Unsound(f"{label} is not described by exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise Unsound(f"{label} has the unknown dtype {shown(dtype, 40)}", f"Known are {', '.join(BITS)}.")
    if not _sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise Unsound(f"{label} has a shape that is not up to {MAX_DIMENSIONS} whole numbers from 0 to 2^53")
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise Unsound(f"{label} has data_offsets that are not a start and an end")
    tensor = Tensor(dtype=dtype, shape=tuple(shape), start=offsets[0], end=offsets[1])
    if tensor.elements * BITS[dtype] // 8 != tensor.end - tensor.start:
        raise Unsound(
            f"{label} takes {tensor.end - tensor.start:,} bytes, but its shape and dtype need "
            f"{tensor.elements * BITS[dtype] // 8:,}"
        )
    return tensor


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(strict_json.whole(item) and 0 <= item <= 2**53 for item in value)


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Unsound("its __metadata__ is not an object from text to text")


def _length_fits(start: bytes, size: int) -> bool:
    """A header's length can begin like another format's magic; then a brace follows it, and the length is possible."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= min(MAX_HEADER_BYTES, size)
