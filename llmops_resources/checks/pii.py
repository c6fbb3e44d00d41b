"""Personal data in a data set: patterns over every cell of every text column, named entities over a sample of rows."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from llmops_resources.checks.disguise import DISGUISE, masked, undisguised
from llmops_resources.checks.ner import entities, load_engine, readable_by_model, sample_rows
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.spool import ColumnType, Spool
from llmops_resources.errors import Unavailable
from llmops_resources.values import Value

if TYPE_CHECKING:
    from llmops_resources.checks.recognizers import Rule

_SMALLEST_IDENTIFIER = 10**8  # a whole number with fewer digits is no phone, card or account number
_NO_ARTIFACTS: Any = None  # Presidio asks for an NLP result that pattern recognizers do not use
_WORDED = {ColumnType.STRING, ColumnType.LIST, ColumnType.OBJECT}


class PiiStatus(StrEnum):
    """`pending`: the scan could not run to its end, so nothing is known; that never passes."""

    PENDING = "pending"
    CLEAN = "clean"
    FAILED = "failed"


class PiiFinding(Value):
    """One match: `row` counts rows of `file` from 1; `start`, `end` are characters of the cell."""

    type: str
    column: str
    file: str
    row: int
    start: int
    end: int
    score: float
    sample: str


class PiiCount(Value):
    """How often a type was found in a column, repeated cells counted each time."""

    type: str
    column: str
    count: int


class PiiCoverage(Value):
    """What was looked at. Patterns read every row; the model read the sampled rows, cut to `ner_max_characters`."""

    total_rows: int
    rows_scanned_rules: int
    rows_scanned_ner: int
    unreadable_rows: int
    columns: tuple[str, ...]
    recognizers: tuple[str, ...]
    model: str | None
    ner_max_characters: int
    ner_cells_skipped: int = 0  # cells of sampled rows in a script that the model does not read
    limits: str = "Not looked for: data in base64 or other encodings, data split over several cells."


class PiiReport(Value):
    status: PiiStatus
    findings: tuple[PiiFinding, ...]
    counts: tuple[PiiCount, ...]
    by_type: dict[str, int]
    coverage: PiiCoverage
    blocking_types: tuple[str, ...]
    detail: str = ""


class _Hit(NamedTuple):
    entity: str
    start: int
    end: int
    score: float


class _Tally:
    """Counts every hit, keeps the first few of each type and column."""

    def __init__(self, spool: Spool, per_type: int) -> None:
        self._spool = spool
        self._per_type = per_type
        self.counts: Counter[tuple[str, str]] = Counter()
        self.findings: list[PiiFinding] = []
        self._kept: Counter[tuple[str, str]] = Counter()

    def add(self, hit: _Hit, text: str, column: str, row: int, times: int) -> None:
        key = (hit.entity, column)
        self.counts[key] += times
        if self._kept[key] >= self._per_type:
            return
        self._kept[key] += 1
        file, number = self._spool.place(row)
        self.findings.append(
            PiiFinding(
                type=hit.entity,
                column=column,
                file=file,
                row=number,
                start=hit.start,
                end=hit.end,
                score=round(hit.score, 3),
                sample=masked(text[hit.start : hit.end]),
            )
        )


def check_pii(spool: Spool, options: CheckOptions, progress: Callable[[float], None] = lambda _: None) -> PiiReport:
    """Scan the spooled rows. Deterministic for equal rows and options; `progress` gets the finished fraction.

    An engine that cannot run gives the status `pending` with the reason in `detail`, unless what did run already
    found enough to fail.
    """
    tally = _Tally(spool, options.findings_per_type)
    pending: list[str] = []
    try:
        from llmops_resources.checks.recognizers import pattern_rules  # noqa: PLC0415 - imports Presidio: seconds

        rules = pattern_rules(options.phone_regions)
    except ImportError as error:
        rules, reason = [], f"The pattern recognizers cannot be loaded: {error}"
        pending.append(reason)
    sampled = sample_rows(spool.rows, options.ner_sample_rows, options.seed)
    scanned, columns, cells = 0, dict[str, None](), list[tuple[int, str, str]]()
    with _timeouts() as timed_out:
        for before, frame in spool.frames():
            texts = _text_columns(frame)
            for name, values in texts.items():
                columns[name] = None
                _scan_column(values, before, rules, tally, min_score=options.min_score)
            cells += _sampled_cells(before, frame.height, texts, sampled, spool)
            scanned += frame.height if rules else 0
            progress(0.8 * scanned / spool.rows)
    if timed_out:
        pending.append(f"{len(timed_out)} pattern searches ran out of time")
    model, skipped = _scan_entities(cells, options, tally, pending) if sampled else (None, 0)
    progress(1.0)
    coverage = PiiCoverage(
        total_rows=spool.rows + spool.unreadable,
        rows_scanned_rules=scanned,
        rows_scanned_ner=len(sampled) if model else 0,
        unreadable_rows=spool.unreadable,
        columns=tuple(columns),
        recognizers=tuple(rule.entity for rule in rules),
        model=model,
        ner_max_characters=options.ner_max_characters,
        ner_cells_skipped=skipped,
    )
    if spool.unreadable:
        pending.append(f"{spool.unreadable} rows cannot be read, so they were not scanned")
    return _report(tally, coverage, options, pending)


def _report(tally: _Tally, coverage: PiiCoverage, options: CheckOptions, pending: list[str]) -> PiiReport:
    by_type: Counter[str] = Counter()
    for (entity, _), count in tally.counts.items():
        by_type[entity] += count
    failed = any(by_type[kind] > options.tolerated.get(kind, 0) for kind in options.blocking_types)
    return PiiReport(
        status=PiiStatus.FAILED if failed else PiiStatus.PENDING if pending else PiiStatus.CLEAN,
        findings=tuple(sorted(tally.findings, key=lambda f: (f.type not in options.blocking_types, f.type, f.column))),
        counts=tuple(PiiCount(type=t, column=c, count=n) for (t, c), n in sorted(tally.counts.items())),
        by_type=dict(sorted(by_type.items())),
        coverage=coverage,
        blocking_types=options.blocking_types,
        detail="; ".join(pending),
    )


def _text_columns(frame: pl.DataFrame) -> dict[str, pl.Series]:
    """The columns that can hold personal data, as text: strings, and whole numbers long enough for an identifier."""
    texts = {}
    for column in frame.get_columns():
        if column.dtype == pl.String:
            texts[column.name] = column
        elif column.dtype.is_integer() and (column.abs() >= _SMALLEST_IDENTIFIER).any():
            texts[column.name] = column.cast(pl.String)
    return texts


def _scan_column(values: pl.Series, before: int, rules: list["Rule"], tally: _Tally, *, min_score: float) -> None:
    """Run every rule over the distinct texts of one column of one part that `before` rows precede."""
    name = values.name
    distinct = (
        pl.DataFrame({"text": values})
        .with_row_index("row")
        .drop_nulls("text")
        .group_by("text", maintain_order=True)
        .agg(pl.col("row").first(), pl.len().alias("times"))
        .with_columns(pl.col("text").str.contains(DISGUISE).alias("disguised"))
    )
    plain = distinct.with_columns(
        pl.when("disguised")
        .then(pl.col("text").map_elements(lambda text: undisguised(text)[0], pl.String, skip_nulls=True))
        .otherwise("text")
        .alias("plain")
    )
    hits_of: dict[int, list[_Hit]] = {}
    candidates = plain.lazy().select("plain", *(
        pl.col("plain").str.contains(rule.prefilter).alias(f"rule {i}") for i, rule in enumerate(rules)
    )).collect()  # fmt: skip
    for i, rule in enumerate(rules):
        for index in candidates[f"rule {i}"].arg_true():
            text = candidates["plain"][index]
            for found in rule.recognizer.analyze(text, [rule.entity], _NO_ARTIFACTS):
                score = rule.score(found.score, text, found.start, found.end, name)
                if score >= min_score:
                    hits_of.setdefault(index, []).append(_Hit(rule.entity, found.start, found.end, score))
    for index in sorted(hits_of):
        original, row, times, disguised, _ = plain.row(index)
        offsets = undisguised(original)[1] if disguised else None
        for hit in without_weaker_overlaps(hits_of[index]):
            place = hit if offsets is None else hit._replace(start=offsets[hit.start], end=offsets[hit.end - 1] + 1)
            tally.add(place, original, name, before + row, times)


def without_weaker_overlaps(hits: list[_Hit]) -> list[_Hit]:
    """The hits, less those that lie inside a surer one (a bank account inside a phone number) and exact repeats."""
    distinct = list(dict.fromkeys(sorted(hits, key=lambda hit: (hit.start, -hit.end, -hit.score))))
    return [
        hit
        for hit in distinct
        if not any(
            other is not hit
            and other.start <= hit.start
            and hit.end <= other.end
            and (other.score > hit.score or (other.entity == hit.entity and other[1:3] != hit[1:3]))
            for other in distinct
        )
    ]


def _sampled_cells(
    before: int, height: int, texts: dict[str, pl.Series], sampled: list[int], spool: Spool
) -> Iterator[tuple[int, str, str]]:
    """(row index, column, text) of the sampled rows of one part, in worded columns."""
    worded = {column.name for column in spool.columns if column.type in _WORDED} & texts.keys()
    for row in sampled:
        if before <= row < before + height:
            for name in worded:
                if (text := texts[name][row - before]) is not None:
                    yield row, name, text


def _scan_entities(
    cells: list[tuple[int, str, str]], options: CheckOptions, tally: _Tally, pending: list[str]
) -> tuple[str | None, int]:
    """The model that read the cells (None when it could not), and the number of cells it cannot read."""
    cells = sorted(cells)
    readable = [(r, c, t[: options.ner_max_characters]) for r, c, t in cells if readable_by_model(t)]
    try:
        engine = load_engine(options.spacy_model)
    except (Unavailable, ImportError, OSError, ValueError) as error:
        pending.append(str(error))
        return None, 0
    distinct = list(dict.fromkeys(text for _, _, text in readable))
    found = dict(zip(distinct, entities(engine, distinct), strict=True))
    for row, column, text in readable:
        for hit in found[text]:
            tally.add(_Hit(*hit), text, column, row, 1)
    return options.spacy_model, len(cells) - len(readable)


@contextmanager
def _timeouts() -> Iterator[list[str]]:
    """Presidio gives up on a slow pattern with a mere log line; collected here, since what was skipped is unknown."""

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[0] is TimeoutError:
                seen.append(record.getMessage())

    seen: list[str] = []
    handler, logger = Collector(), logging.getLogger("presidio-analyzer")
    logger.addHandler(handler)
    try:
        yield seen
    finally:
        logger.removeHandler(handler)
