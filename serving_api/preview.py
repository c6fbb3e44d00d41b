"""Preview files: a bounded local copy per digest, so that paging does not fetch the data set again and again."""

import shutil
import threading
from pathlib import Path
from typing import Any

from llmops_resources.catalog.versions import Version
from llmops_resources.checks.formats import format_of_name
from llmops_resources.checks.preview import Preview, preview
from llmops_resources.platform import Platform

_KEPT = 8
_lock = threading.Lock()


def preview_of(platform: Platform, dataset: Version, *, offset: int, limit: int) -> Preview:
    """Rows of a data set, its files read one after another. Raises Conflict while it has no files."""
    folder = _local_copy(platform, dataset)
    pages: list[Preview] = []
    rows: list[dict[str, Any]] = []
    skip = offset
    for file in dataset.manifest.files:
        page = preview(folder / file.path, format_of_name(file.path), skip, limit)
        pages.append(page)
        rows.extend(page.rows[: limit - len(rows)])
        skip = max(0, skip - page.statistics.rows)
    statistics = pages[0].statistics.model_copy(
        update={
            "rows": sum(page.statistics.rows for page in pages),
            "bytes": sum(page.statistics.bytes for page in pages),
        }
    )
    return pages[0].model_copy(update={"rows": tuple(rows), "offset": offset, "statistics": statistics})


def _local_copy(platform: Platform, dataset: Version) -> Path:
    """The verified files, kept for the data sets previewed last."""
    manifest = dataset.manifest
    cache = platform.settings.home / "cache" / "preview"
    folder = cache / manifest.digest.removeprefix("sha256:")
    with _lock:
        if folder.exists():
            folder.touch()
            return folder
        platform.blobs.download(f"datasets/{dataset.id}/{dataset.version}", manifest, folder)
        kept = sorted((entry for entry in cache.iterdir() if entry.is_dir()), key=lambda entry: entry.stat().st_mtime)
        for old in kept[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    return folder
