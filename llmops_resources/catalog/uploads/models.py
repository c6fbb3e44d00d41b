"""Taking in a model's files: through the airlock, and then published whole or not at all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llmops_resources.blobs import Blobs, Draft, Manifest, StoredFile
from llmops_resources.catalog import airlock
from llmops_resources.catalog.airlock import AirlockReport
from llmops_resources.catalog.airlock.names import MAX_FILES, Role, role_of
from llmops_resources.catalog.airlock.safetensors import header_bytes
from llmops_resources.catalog.uploads.names import check_model_names
from llmops_resources.errors import InvalidInput, TooLarge, ValidationFailed


@dataclass(frozen=True)
class TakenIn:
    """A model that passed the airlock: published with `manifest`, or waiting in `staged` to be converted (None)."""

    manifest: Manifest | None
    staged: str
    files: tuple[StoredFile, ...]
    report: AirlockReport


def take_in(
    blobs: Blobs, prefix: str, files: Iterable[tuple[str, Iterator[bytes]]], *, max_bytes: int
) -> TakenIn:
    """Inspect the files (name, bytes) and publish them as the version folder `prefix`, unless they need conversion.

    Raises ValidationFailed for names and contents the airlock refuses, InvalidInput for no files, TooLarge, Conflict
    when other bytes are published there; in every case nothing of a refused upload stays.
    """
    with Draft(blobs, prefix) as draft:
        stored = tuple(_add_all(draft, files, max_bytes))
        if not stored:
            raise InvalidInput("the upload has no files", remedy="Send at least one file in the form field `files`.")
        report = airlock.inspect(stored, draft.read)
        if not report.accepted:
            raise _refusal(report)
        if report.needs_conversion:
            draft.keep()
            return TakenIn(None, draft.staged, stored, report)
        return TakenIn(draft.publish(stored), draft.staged, stored, report)


def _add_all(
    draft: Draft, files: Iterable[tuple[str, Iterator[bytes]]], max_bytes: int
) -> Iterator[StoredFile]:
    seen: set[str] = set()
    left = max_bytes
    for name, content in files:
        check_model_names([name])
        if name.casefold() in seen or len(seen) == MAX_FILES:
            raise InvalidInput(f"{name} is there twice, or one file too many", remedy="Send every file once.")
        seen.add(name.casefold())
        if left <= 0:
            raise TooLarge(f"the files have more than {max_bytes:,} bytes", remedy="Raise MAX_UPLOAD_BYTES.")
        asked = header_bytes if role_of(name) is Role.WEIGHTS else None
        stored = draft.add(name, content, max_bytes=left, asked=asked)
        left -= stored.size
        yield stored


def _refusal(report: AirlockReport) -> ValidationFailed:
    details = report.details()
    first = f"{details[0]['path']} {details[0]['problem']}" if details else "they are not a model"
    return ValidationFailed(
        f"the files cannot become a model, {len(details)} problem(s); the first: {first}",
        remedy="Mend the files and upload them again; nothing was stored.",
        details=details,
    )
