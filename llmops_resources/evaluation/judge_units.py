"""Which answers judges are asked about."""

from collections.abc import Mapping, Sequence

from llmops_resources.errors import ValidationFailed, field_problem
from llmops_resources.evaluation.judge_suite import JudgeSuite, Unit
from llmops_resources.evaluation.review_plan import shuffled
from llmops_resources.evaluation.runs import Sample


def units(suite: JudgeSuite, samples: Sequence[Sample], others: Sequence[Sample] | None = None) -> list[Unit]:
    """The answers to judge, the same for the same seed; a sample without an answer cannot be judged and is left out.

    Raises:
        ValidationFailed: the rubric compares answers and there is nothing to compare with, or the other way round.
    """
    if suite.rubric.pairwise != (others is not None):
        wrong, remedy = "compares two answers", "Name the run to compare with."
        if not suite.rubric.pairwise:
            wrong, remedy = "judges one answer at a time", "Name one run only, or take a pairwise rubric."
        raise ValidationFailed(
            "the rubric does not fit what is judged", details=[field_problem("rubric", wrong, remedy)]
        )
    second: Mapping[int, Sample] = {sample.index: sample for sample in others or ()}
    found = {
        sample.index: Unit(index=sample.index, input=sample.input, expected=sample.expected, answers=answers)
        for sample in samples
        if (answers := _answers(sample, second if others is not None else None))
    }
    order = shuffled(suite.seed, "judged", sorted(found))[: suite.sample_size]
    return [found[index] for index in sorted(order)]


def _answers(sample: Sample, second: Mapping[int, Sample] | None) -> tuple[str, ...]:
    if sample.actual is None:
        return ()
    if second is None:
        return (sample.actual,)
    other = second.get(sample.index)
    if other is None or other.actual is None or other.input != sample.input:
        return ()
    return (sample.actual, other.actual)
