"""What is the same wherever the answers come from: the drawn samples, their scores, and what was seen in training."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmops_assets.evaluation import figures, seen
from llmops_assets.evaluation.figures import Loss
from llmops_assets.training.rows import read_rows
from llmops_resources.errors import InvalidInput
from llmops_resources.evaluation.estimates import CONFIDENCE, RESAMPLES
from llmops_resources.evaluation.scores import Score
from llmops_resources.evaluation.suite import Suite

Chosen = list[tuple[int, Any]]  # (row number, (prompt, expected answer)), either None where the row has none


def sampled(work: Path, suite: Suite) -> Chosen:
    """The samples of `work/data`: all rows, or as many as the suite asks for, drawn by its seed and in file order.

    Raises InvalidInput, ValidationFailed for data that has no such rows.
    """
    columns = {"promptColumn": suite.prompt_column, "answerColumn": suite.answer_column}
    rows = read_rows(work / "data", columns).rows()
    if not rows:
        raise InvalidInput("the benchmark has no rows", remedy="choose a data set with rows")
    numbers = range(len(rows))
    if suite.sample_size is not None and suite.sample_size < len(rows):
        drawn = random.Random(suite.seed).sample(numbers, suite.sample_size)  # noqa: S311  (statistics, no secret)
        return [(number, rows[number]) for number in sorted(drawn)]
    return [(number, rows[number]) for number in numbers]


def scored(
    work: Path,
    suite: Suite,
    chosen: Chosen,
    texts: Sequence[str | None],
    losses: Sequence[Loss | None],
    progress: Callable[[float, str], None],
) -> dict[str, Any]:
    """The result without its protocol: scores of all samples, and of those that were not seen in training."""
    result = figures.result(suite, chosen, texts, losses)
    progress(0.9, "looking for the samples in the training data")
    found = seen.measure(work, {number: (prompt or "", answer or "") for number, (prompt, answer) in chosen}, suite)
    if found.measured:
        overlapping = {overlap.index for overlap in found.overlaps}
        clean = [at for at, (number, _) in enumerate(chosen) if number not in overlapping]
        part_losses = [losses[at] for at in clean] if losses else []
        of_clean = figures.result(suite, [chosen[at] for at in clean], [texts[at] for at in clean], part_losses)
        scores = {name: Score.model_validate(score) for name, score in of_clean["metrics"].items()}
        found = found.model_copy(update={"clean": scores})
    result["contamination"] = found.json_dict()
    return result


def protocol(suite: Suite) -> dict[str, Any]:
    """The part of the protocol that does not depend on who answers."""
    return {
        "columns": {"prompt": suite.prompt_column, "answer": suite.answer_column},
        "sample": {"size": suite.sample_size, "seed": suite.seed},
        "tokenization": suite.tokenization,
        "scorers": figures.signatures(suite),
        "interval": {
            "method": "percentile bootstrap, PCG64",
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": suite.seed,
        },
    }
