"""Previews: pages of a data set's files, read from storage by ranges, with the total that its validation counted."""

import threading
from collections import OrderedDict
from typing import Any

from llmops_resources.catalog.versions import Version
from llmops_resources.checks.formats import format_of_name
from llmops_resources.checks.preview import Places, Preview, preview
from llmops_resources.checks.ranges import Source
from llmops_resources.platform import Platform

_KEPT = 32
_lock = threading.Lock()
_places: OrderedDict[str, Places] = OrderedDict()


def preview_of(platform: Platform, dataset: Version, *, offset: int, limit: int) -> Preview:
    """Rows of a data set, its files read one after another. Raises Conflict while it has no files."""
    manifest = dataset.manifest
    pages: list[Preview] = []
    rows: list[dict[str, Any]] = []
    skip, counted = offset, 0
    for file in manifest.files:
        source = _source(platform, f"datasets/{dataset.id}/{dataset.version}/{file.path}", file.size)
        page = preview(source, format_of_name(file.path), skip, limit, _places_of(f"{dataset.digest}/{file.path}"))
        pages.append(page)
        rows.extend(page.rows[: limit - len(rows)])
        if page.statistics.rows is None:  # its end was not reached, so the page ends in this file
            break
        counted += page.statistics.rows
        skip = max(0, skip - page.statistics.rows)
    else:
        return _whole(pages, rows, offset, counted, manifest.size)
    return _whole(pages, rows, offset, dataset.row_count, manifest.size)


def _whole(pages: list[Preview], rows: list[dict[str, Any]], offset: int, total: int | None, size: int) -> Preview:
    statistics = pages[0].statistics.model_copy(update={"rows": total, "bytes": size})
    return pages[0].model_copy(update={"rows": tuple(rows), "offset": offset, "statistics": statistics})


def _source(platform: Platform, key: str, size: int) -> Source:
    return Source(size, lambda start, length: platform.blobs.read_range(key, start, length))


def _places_of(file: str) -> Places:
    """What is known of a file by its content's name; forgotten for the files previewed least recently."""
    with _lock:
        places = _places.setdefault(file, Places())
        _places.move_to_end(file)
        while len(_places) > _KEPT:
            _places.popitem(last=False)
        return places
