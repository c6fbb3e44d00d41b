"""What a judge may decide on a benchmark: its licence, from all that it and people said of the same answers there.

A licence belongs to a voice: a model's bytes, or several together, asked in one manner. It is of the benchmark and the
rubric, so that people need not judge every model's answers again, and of the newest units, so that drift shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from llmops_resources.database import Transaction
from llmops_resources.evaluation import judge_licences, judge_people, run_lists
from llmops_resources.evaluation.judge_licences import Licence, Terms
from llmops_resources.evaluation.judge_people import UnitKey, oriented
from llmops_resources.evaluation.judge_suite import Judge, Judging
from llmops_resources.evaluation.review_rubrics import Criterion, Rubric
from llmops_resources.evaluation.runs import Evaluation


@dataclass(frozen=True)
class Voice:
    """Who judges, and how they are asked. Of several judges it is what they say together."""

    manner: str
    judges: frozenset[tuple[UUID, str, int]]


def voice_of(judging: Mapping[str, Any] | None, judge_id: UUID | None) -> Voice | None:
    """The voice of a judge of a run, or of all of them; None where the run has no such judge."""
    suite = Judging.model_validate(judging).suite
    judges = [judge for judge in suite.judges if judge_id in {None, judge.model_id}]
    return Voice(suite.manner, frozenset(map(_identity, judges))) if judges else None


class Standing:
    """The licences on one benchmark under one rubric, all from one look at what was said."""

    def __init__(self, tx: Transaction, benchmark: str, rubric: Rubric) -> None:
        self._people = judge_people.said(tx, benchmark, rubric)
        self._criteria = {criterion.name: criterion for criterion in rubric.criteria}
        judged = run_lists.judged_by_models(tx, self._people.answers) if self._people.answers else []
        self._runs = [run for run in judged if Judging.model_validate(run.judging).suite.rubric.digest == rubric.digest]
        self._known: dict[tuple[Voice, str, Terms], Licence] = {}

    @property
    def reviews(self) -> tuple[UUID, ...]:
        """What people said it in, oldest first."""
        return self._people.reviews

    def licence(self, voice: Voice, criterion: str, terms: Terms) -> Licence:
        """What the voice may decide by the newest units that people judged."""
        key = (voice, criterion, terms)
        if key not in self._known:
            self._known[key] = self._licence(voice, self._criteria[criterion], terms)
        return self._known[key]

    def _licence(self, voice: Voice, criterion: Criterion, terms: Terms) -> Licence:
        said = self._people.said[criterion.name]
        order = list(said)[: terms.newest]
        ours: dict[UnitKey, float | None] = {}
        for run in self._runs:  # oldest first: what it says now counts
            ours |= said_by(run, voice, criterion.name)
        names = sorted({person for unit in order for person in said[unit]})
        people = {name: [said[unit].get(name) for unit in order] for name in names}
        return judge_licences.licence([ours.get(unit) for unit in order], people, criterion.measured, terms, seed=0)


def said_by(run: Evaluation, voice: Voice, criterion: str) -> Mapping[UnitKey, float | None]:
    """What a voice said in a run of each unit, None where it said nothing; empty where it is not a voice of the run."""
    judging = Judging.model_validate(run.judging)
    if run.result is None or run.result.judged is None or judging.suite.manner != voice.manner:
        return {}
    whose = frozenset(filter(None, (run.judged_id, judging.other_id)))
    judges = list(map(_identity, judging.suite.judges))
    values: dict[int, float | None]
    if frozenset(judges) == voice.judges:
        values = {sample.index: sample.scores.get(criterion) for sample in run.result.samples}
    elif len(voice.judges) == 1 and voice.judges <= frozenset(judges):
        at = judges.index(next(iter(voice.judges)))
        values = {unit.index: unit.judgements[at].values.get(criterion) for unit in run.result.judged.units}
    else:
        return {}
    return {
        (whose, index): None if value is None else oriented(value, run.judged_id, judging.other_id)
        for index, value in values.items()
    }


def _identity(judge: Judge) -> tuple[UUID, str, int]:
    return judge.model_id, judge.digest, judge.max_tokens
