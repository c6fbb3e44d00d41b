"""Comparing small versions while the request waits, in a process of its own; larger ones are left to a run."""

import tempfile
import threading
from pathlib import Path
from uuid import UUID

from llmops_resources.catalog.versions import Version
from llmops_resources.checks import comparisons
from llmops_resources.checks.comparing import compare_files
from llmops_resources.checks.diff import Diff, DiffOptions
from llmops_resources.database import Actor
from llmops_resources.errors import TooLarge
from llmops_resources.platform import Platform

_SECONDS = 20.0
_MEMORY_BYTES = 2 * 1024**3
_at_once = threading.BoundedSemaphore(1)


def compared_at_once(
    platform: Platform, actor: Actor, newer_id: UUID, older_id: UUID, options: DiffOptions
) -> Diff | None:
    """The comparison of two small versions; None when it is known already, too large, or another one is being made.

    Raises NotFound, InvalidInput, Conflict or ValidationFailed for what cannot be compared.
    """
    with platform.transaction(actor) as tx:
        older, newer = comparisons.sides(tx, newer_id, older_id)
        known = comparisons.find(tx, newer_id, older_id, options)
    small = older.size_bytes + newer.size_bytes <= platform.settings.comparison_inline_bytes
    if known is not None or not small or not _at_once.acquire(blocking=False):
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="llmops-compare-") as folder:
            limits = {"parser_seconds": _SECONDS, "parser_memory_bytes": _MEMORY_BYTES}
            return compare_files(
                _fetched(platform, older, Path(folder) / "older"),
                _fetched(platform, newer, Path(folder) / "newer"),
                digests=(older.manifest.digest, newer.manifest.digest),
                options=options,
                checks=platform.check_options().model_copy(update=limits),
            )
    except TooLarge:  # it grows when it is decoded: a run may take longer
        return None
    finally:
        _at_once.release()


def _fetched(platform: Platform, version: Version, folder: Path) -> list[tuple[str, Path]]:
    platform.blobs.download(f"datasets/{version.id}/{version.version}", version.manifest, folder)
    return [(file.path, folder / file.path) for file in version.files]
