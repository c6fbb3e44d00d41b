"""Personal data in a data set: patterns over every cell of every text column, named entities over a sample of rows."""

from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum

import polars as pl

from llmops_resources.checks.disguise import masked
from llmops_resources.checks.hits import Hit
from llmops_resources.checks.ner import MODEL_TYPES, EntityReader, load_engine, readable_by_model, sample_rows
from llmops_resources.checks.options import CheckOptions
from llmops_resources.checks.spool import ColumnType, Spool
from llmops_resources.errors import Unavailable
from llmops_resources.values import Value

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
    custom_recognizers: tuple[str, ...] = ()
    ner_cells_cut: int = 0  # cells of sampled rows longer than `ner_max_characters`
    limits: str = (
        "Not looked for: data spelled out, encrypted, encoded more than once, or split over cells "
        "other than neighbouring columns of digits."
    )


class PiiReport(Value):
    status: PiiStatus
    findings: tuple[PiiFinding, ...]
    counts: tuple[PiiCount, ...]
    by_type: dict[str, int]
    coverage: PiiCoverage
    blocking_types: tuple[str, ...]
    detail: str = ""


class _Tally:
    """Counts every hit, keeps the first few of each type and column."""

    def __init__(self, spool: Spool, per_type: int) -> None:
        self._spool = spool
        self._per_type = per_type
        self.counts: Counter[tuple[str, str]] = Counter()
        self.findings: list[PiiFinding] = []
        self._kept: Counter[tuple[str, str]] = Counter()

    def add(self, hit: Hit, text: str, column: str, row: int, times: int) -> None:
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
    # Presidio takes seconds to import, so only a scan does.
    from llmops_resources.checks.cells import CellScan, text_columns  # noqa: PLC0415
    from llmops_resources.checks.custom import custom_rules  # noqa: PLC0415
    from llmops_resources.checks.recognizers import pattern_rules  # noqa: PLC0415
    from llmops_resources.checks.scan import PatternScan  # noqa: PLC0415
    from llmops_resources.checks.split import JoinedScan  # noqa: PLC0415

    tally, pending = _Tally(spool, options.findings_per_type), list[str]()
    rules = (*pattern_rules(options.phone_regions), *custom_rules(options.custom_recognizers))
    patterns = PatternScan(rules, options.min_score)
    cells, nested = CellScan(patterns), _nested(spool)
    joined = JoinedScan(cells)
    sampled = sample_rows(spool.rows, options.ner_sample_rows, options.seed)
    scanned, columns, read_by_model = 0, dict[str, None](), list[tuple[int, str, str]]()
    for before, frame in spool.frames():
        texts = text_columns(frame, spool)
        for name, values in texts.items():
            columns[name] = None
            for hit, text, row, times in cells.hits(values, nested=name in nested):
                tally.add(hit, text, name, before + row, times)
        for hit, text, name, row, times in joined.hits(frame):
            tally.add(hit, text, name, before + row, times)
        read_by_model += _sampled_cells(before, frame.height, texts, sampled, spool)
        scanned += frame.height
        progress(0.8 * scanned / spool.rows)
    for rule in patterns.given_up:
        pending.append(f"the rule {rule} ran out of time and was not carried through")
    model, skipped, cut = (None, 0, 0)
    if sampled:
        model, skipped, cut = _scan_entities(read_by_model, options, tally, pending, patterns.scan)
    progress(1.0)
    coverage = PiiCoverage(
        total_rows=spool.rows + spool.unreadable,
        rows_scanned_rules=scanned,
        rows_scanned_ner=len(sampled) if model else 0,
        unreadable_rows=spool.unreadable,
        columns=(*columns, *joined.columns),
        recognizers=patterns.entities,
        custom_recognizers=tuple(recognizer.name for recognizer in options.custom_recognizers),
        model=model,
        ner_max_characters=options.ner_max_characters,
        ner_cells_skipped=skipped,
        ner_cells_cut=cut,
    )
    if spool.unreadable:
        pending.append(f"{spool.unreadable} rows cannot be read, so they were not scanned")
    pending += _not_looked_for(coverage, options)
    return _report(tally, coverage, options, pending)


def _nested(spool: Spool) -> set[str]:
    return {column.name for column in spool.columns if column.type in {ColumnType.LIST, ColumnType.OBJECT}}


def _not_looked_for(coverage: PiiCoverage, options: CheckOptions) -> list[str]:
    """Why a blocking type may be there unseen: nothing finds it, or only the model does and it read a part."""
    by_patterns = set(coverage.recognizers)
    reasons = []
    for kind in options.blocking_types:
        if kind in MODEL_TYPES:
            partly = coverage.rows_scanned_ner < coverage.rows_scanned_rules
            if partly or coverage.ner_cells_skipped or coverage.ner_cells_cut:
                reasons.append(
                    f"{kind} blocks and is found by the language model, which did not read every cell in full "
                    f"({coverage.rows_scanned_ner} of {coverage.total_rows} rows)"
                )
        elif kind not in by_patterns:
            reasons.append(f"{kind} blocks, and no recognizer looks for it")
    return reasons


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
    cells: list[tuple[int, str, str]],
    options: CheckOptions,
    tally: _Tally,
    pending: list[str],
    by_patterns: Callable[[pl.Series], dict[int, list[Hit]]],
) -> tuple[str | None, int, int]:
    """The model that read the cells (None when it could not), how many it cannot read, and how many were cut.

    A name that a pattern found already is not counted twice.
    """
    cells = sorted(cells)
    readable = [(r, c, t[: options.ner_max_characters]) for r, c, t in cells if readable_by_model(t)]
    cut = sum(len(text) > options.ner_max_characters for _, _, text in cells)
    try:
        reader = EntityReader(load_engine(options.spacy_model))
    except (Unavailable, ImportError, OSError, ValueError) as error:
        pending.append(str(error))
        return None, 0, 0
    texts = [text for _, _, text in readable]
    known = by_patterns(pl.Series("text", texts, pl.String))
    for index, ((row, column, text), entities) in enumerate(zip(readable, reader.read(texts), strict=True)):
        already = known.get(index, ())
        for hit in (Hit(*entity) for entity in entities):
            if not any(hit.entity == k.entity and k.start < hit.end and hit.start < k.end for k in already):
                tally.add(hit, text, column, row, 1)
    return options.spacy_model, len(cells) - len(readable), cut
