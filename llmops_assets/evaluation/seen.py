"""Leads the training data in a work folder past the benchmark's samples. A failure here is an answer, no error."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from llmops_assets.evaluation.contamination import Index, cells, method
from llmops_assets.training.rows import READERS, ROWS_AT_ONCE
from llmops_resources.evaluation.contamination import Contamination, Overlap, Source, Training
from llmops_resources.evaluation.suite import Suite

TRAINING: Final = "training.json"  # in a work folder, beside `training/<id of the data set version>/`


def measure(
    work: Path, samples: Mapping[int, tuple[str, str]], suite: Suite, most_rows: int | None = None
) -> Contamination:
    """What of `samples` (number to prompt and answer) is in the training data that `work/training.json` names.

    At most `most_rows` rows are read of each version, from the first on; the sources say how many of how many.
    """
    try:
        if not (work / TRAINING).is_file():
            return Contamination(measured=False, reason="the run was not told what the model was trained on")
        training = Training.model_validate_json((work / TRAINING).read_bytes())
        index = Index(samples, suite.tokenization)
        first: dict[int, Overlap] = {}
        sources = tuple(_pass(work, source, index, first, most_rows) for source in training.sources)
    except Exception as error:  # noqa: BLE001  the scores stand whatever happens here
        return Contamination(measured=False, reason=f"it could not be measured: {error}")
    training = training.model_copy(update={"sources": sources})
    if not sum(source.rows_read for source in sources):
        reason = "no training data of this model could be read"
        return Contamination(measured=False, reason=reason, training=training, method=method(suite.tokenization))
    return Contamination(
        measured=True,
        complete=not training.unknown and all(source.reason is None for source in sources),
        method=method(suite.tokenization),
        samples=len(samples),
        overlaps=tuple(first[number] for number in sorted(first)),
        training=training,
    )


def line(found: Contamination | None) -> str:
    """The measurement in one sentence."""
    if found is None or not found.measured:
        return f"not measured: {found.reason if found else 'an older result'}"
    extent = "all training data read" if found.complete else "not all training data is known or was read"
    return f"{len(found.overlaps)} of {found.samples} samples overlap; {extent}"


def _pass(work: Path, source: Source, index: Index, first: dict[int, Overlap], most_rows: int | None) -> Source:
    if source.reason is not None:
        return source
    read, reason = 0, None
    try:
        for row in _rows(work / "training" / str(source.id)):
            if most_rows is not None and read >= most_rows:
                reason = f"only the first {most_rows} rows were read"
                break
            for number, how in index.matches(list(cells(row))).items():
                where = {"dataset": source.name, "version": source.version, "row": read}
                first.setdefault(number, Overlap(index=number, how=how, **where))
            read += 1
    except Exception as error:  # noqa: BLE001  the rows before it were read, and the next source may be sound
        reason = f"row {read} and those behind it cannot be read: {error}"
    if reason is None and not read:
        reason = "no rows were found in its files"
    if reason is None and source.rows_total is not None and read < source.rows_total:
        reason = "some of its files are of a kind that is not read here"
    total = source.rows_total if source.rows_total is not None or reason else read
    return source.model_copy(update={"rows_read": read, "rows_total": total, "reason": reason})


def _rows(folder: Path) -> Iterator[tuple[Any, ...]]:
    """The rows of all data files, in file-name order, some thousands in memory at a time."""
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in READERS):
        for batch in READERS[path.suffix.lower()](path).collect_batches(chunk_size=ROWS_AT_ONCE, maintain_order=True):
            yield from batch.iter_rows()
