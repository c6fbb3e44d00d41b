"""Reviews through their verbs: who may judge, blind, overlapping, append-only, adjudicated, closed with evidence."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from llmops_resources.catalog import approvals, evidence, versions
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.errors import Conflict, Forbidden, PlatformError, ValidationFailed
from llmops_resources.evaluation import review_adjudication, review_rubrics, review_tasks, reviews
from llmops_resources.evaluation.review_opening import ReviewPlan
from llmops_resources.evaluation.review_tasks import Submission, Task
from llmops_resources.evaluation.review_values import Review, ReviewStatus
from llmops_resources.evaluation.runs import Evaluation
from llmops_resources.evaluation.tables import ReviewScoreRow
from llmops_resources.governance import audit
from llmops_resources.platform import Platform, open_platform
from llmops_resources.settings import Settings
from tests.evaluation.reviewing import ABSOLUTE, PAIRWISE, answered, benchmark, model_of, someone
from tests.factories import ADMIN

ANN, BEN, CAT, ZOE = (someone(name) for name in ("ann", "ben", "cat", "zoe"))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Several people, so that the rules between them count."""
    return settings.model_copy(update={"single_user": False})


@pytest.fixture
def run(platform: Platform) -> Evaluation:
    return answered(platform, model_of(platform, "one"), benchmark(platform), ["a", "b", None, "d"])


def opened(platform: Platform, run: Evaluation, **more: object) -> Review:
    with platform.transaction(ADMIN) as tx:
        rubric = review_rubrics.keep(tx, PAIRWISE if more.get("other_evaluation_id") else ABSOLUTE)
        plan = ReviewPlan.model_validate({"rubric": rubric.digest, "reviewers": ("ann", "ben"), **more})
        return reviews.open_review(tx, run.id, plan)


def task(platform: Platform, actor: Actor, review: Review, place: int | None = None) -> Task:
    with platform.transaction(actor) as tx:
        return review_tasks.task(tx, review.id, place)


def score(
    platform: Platform, actor: Actor, shown: Task, helpful: int, safe: str = "pass", reason: str = ""
) -> Task:
    values: dict[str, object] = {"helpful": helpful, "safe": safe}
    submission = Submission(values=values, reason=reason, shown=shown.digest, revision=shown.revision)
    with platform.transaction(actor) as tx:
        return review_tasks.score(tx, shown.review_id, shown.number, submission)


def all_judged(platform: Platform, review: Review, values: dict[str, dict[int, int]]) -> None:
    for name, theirs in values.items():
        for place in range(1, len(theirs) + 1):
            shown = task(platform, someone(name), review, place)
            score(platform, someone(name), shown, theirs[shown.number])


def test_reviewers_get_the_answered_samples_in_an_order_of_their_own_that_stays(
    platform: Platform, run: Evaluation
) -> None:
    review = opened(platform, run)
    assert (review.units, review.open_slots) == (3, 0)
    orders = {who.id: [task(platform, who, review, place).input for place in (1, 2, 3)] for who in (ANN, BEN)}
    assert set(orders["ann"]) == set(orders["ben"]) == {"question 0", "question 1", "question 3"}
    assert [task(platform, ANN, review, place).input for place in (1, 2, 3)] == orders["ann"]


def test_a_reviewer_sees_neither_the_model_nor_the_evaluation_nor_what_others_said(
    platform: Platform, run: Evaluation
) -> None:
    review = opened(platform, run)
    all_judged(platform, review, {"ann": {0: 5, 1: 5, 2: 5}})
    shown = task(platform, BEN, review).model_dump_json()
    assert all(hidden not in shown for hidden in (str(run.id), str(run.model_id), '"one', "ann", "exam"))
    for read in (reviews.get, review_tasks.summary, review_adjudication.disagreements):
        with pytest.raises(Forbidden, match="does not see"), platform.transaction(BEN) as tx:
            read(tx, review.id)
    with platform.transaction(BEN) as tx:
        assert reviews.search(tx).items == []
        assert [it.total for it in review_tasks.mine(tx)] == [3]


def test_whoever_could_join_by_role_is_as_blind_as_whoever_did(platform: Platform, run: Evaluation) -> None:
    review = opened(platform, run, reviewers=(), roles=("reviewer",))
    with pytest.raises(Forbidden, match="does not see"), platform.transaction(CAT) as tx:
        reviews.get(tx, review.id)
    with platform.transaction(CAT) as tx:
        assert reviews.search(tx).items == []
    with platform.transaction(someone("eve", "researcher")) as tx:
        assert [it.id for it in reviews.search(tx).items] == [review.id]


def test_members_of_a_role_join_until_every_unit_has_its_reviewers(platform: Platform, run: Evaluation) -> None:
    review = opened(platform, run, reviewers=("ann",), roles=("reviewer",))
    assert review.open_slots == 3
    with platform.transaction(CAT) as tx:
        assert [(it.total, it.may_join) for it in review_tasks.mine(tx)] == [(0, True)]
        assert review_tasks.join(tx, review.id) == 3
    with platform.transaction(CAT) as tx:
        assert review_tasks.join(tx, review.id) == 0
    with platform.transaction(BEN) as tx:
        assert review_tasks.join(tx, review.id) == 0
        assert review_tasks.mine(tx) == []
    with pytest.raises(Forbidden, match="this review is for"), platform.transaction(someone("eve", "researcher")) as tx:
        review_tasks.join(tx, review.id)


def test_two_who_join_at_once_never_get_more_than_there_are_places(platform: Platform, run: Evaluation) -> None:
    review = opened(platform, run, reviewers=(), roles=("reviewer",), overlap=2)

    def join(number: int) -> int:
        with platform.transaction(someone(f"person {number}")) as tx:
            return review_tasks.join(tx, review.id)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(join, range(6))) == [0, 0, 0, 0, 3, 3]


def test_a_model_is_not_reviewed_by_its_owner_its_submitter_its_trainer_or_who_set_the_review_up(
    platform: Platform, run: Evaluation
) -> None:
    _trained_by(platform, run.model_id, "tom")
    _submitted_by(platform, run.model_id, "sue")
    for name in ("olga", "sue", "tom", "local-admin"):
        with pytest.raises(Forbidden, match="may not judge here"):
            opened(platform, run, reviewers=("ann", name))
        with pytest.raises(Forbidden, match="may not judge here"):
            opened(platform, run, adjudicator=name)
    review = opened(platform, run, reviewers=(), roles=("reviewer",))
    for name in ("olga", "sue", "tom"):
        with platform.transaction(someone(name)) as tx:
            assert review_tasks.mine(tx) == []
        with pytest.raises(Forbidden, match="may not judge here"), platform.transaction(someone(name)) as tx:
            review_tasks.join(tx, review.id)
        with pytest.raises(Forbidden, match="may not judge here"), platform.transaction(ADMIN) as tx:
            reviews.assign(tx, review.id, name)


def test_whoever_submits_the_model_after_being_assigned_judges_no_more(platform: Platform, run: Evaluation) -> None:
    review = opened(platform, run)
    shown = task(platform, ANN, review)
    _submitted_by(platform, run.model_id, "ann")
    with pytest.raises(Forbidden, match="submitted the model"):
        score(platform, ANN, shown, 5)


def test_one_person_alone_may_review_their_own_and_the_audit_log_says_so(platform: Platform) -> None:
    settings = platform.settings.model_copy(update={"single_user": True})
    with open_platform(settings, application="test") as alone:
        run = answered(alone, model_of(alone, "mine", "local-admin"), benchmark(alone), ["a"])
        opened(alone, run, reviewers=("local-admin",), overlap=1)
        with alone.transaction(ADMIN) as tx:
            (entry,) = audit.search(tx, action="review.open")
    assert "SINGLE_USER=true" in str(entry.metadata["waived"])


def test_a_judgement_repeated_is_one_and_a_correction_is_added_with_its_reason(
    platform: Platform, run: Evaluation
) -> None:
    review = opened(platform, run)
    shown = task(platform, ANN, review)
    first = score(platform, ANN, shown, 2)
    assert score(platform, ANN, shown, 2) == first
    assert (first.revision, first.values) == (1, {"helpful": 2, "safe": "pass"})
    with pytest.raises(ValidationFailed, match="reason"):
        score(platform, ANN, first, 3)
    second = score(platform, ANN, first, 3, reason="I misread it.")
    assert (second.revision, second.values) == (2, {"helpful": 3, "safe": "pass"})
    with platform.transaction(ADMIN) as tx:
        kept = tx.session.query(ReviewScoreRow).order_by(ReviewScoreRow.revision).all()
        assert [(it.revision, it.values["helpful"], it.reason) for it in kept] == [(1, 2, ""), (2, 3, "I misread it.")]
        entries = audit.search(tx, action="review.score")
    assert [it.metadata["revision"] for it in entries] == [2, 1]
    assert "misread" not in str(entries)


def test_a_judgement_of_something_else_or_of_an_earlier_state_is_refused(platform: Platform, run: Evaluation) -> None:
    review = opened(platform, run)
    shown = task(platform, ANN, review, 1)
    other = task(platform, ANN, review, 2)
    with pytest.raises(Conflict, match="something else was shown"):
        score(platform, ANN, shown.model_copy(update={"digest": other.digest}), 2)
    score(platform, ANN, shown, 2)
    with pytest.raises(Conflict, match="again elsewhere"):
        score(platform, ANN, shown, 4, reason="from an old tab")


def test_of_two_different_judgements_at_once_one_counts_and_the_other_is_refused(
    platform: Platform, run: Evaluation
) -> None:
    shown = task(platform, ANN, opened(platform, run))

    def give(helpful: int) -> str:
        try:
            score(platform, ANN, shown, helpful)
        except PlatformError as error:
            return type(error).__name__
        return "kept"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(give, (1, 2, 3, 4))) == ["Conflict", "Conflict", "Conflict", "kept"]


def test_the_database_itself_refuses_to_change_or_delete_a_judgement(platform: Platform, run: Evaluation) -> None:
    score(platform, ANN, task(platform, ANN, opened(platform, run)), 2)
    for statement in ("UPDATE review_scores SET reason = 'x'", "DELETE FROM review_scores"):
        with pytest.raises(DBAPIError, match="only ever added"), platform.engine.begin() as connection:
            connection.execute(text(statement))


def test_nobody_judges_a_unit_that_is_not_theirs(platform: Platform, run: Evaluation) -> None:
    review = opened(platform, run)
    shown = task(platform, ANN, review)
    for stranger in (CAT, ADMIN):
        with pytest.raises(Forbidden):
            score(platform, stranger, shown, 5)


def test_units_that_were_released_wait_for_somebody_else_and_what_was_judged_stays(
    platform: Platform, run: Evaluation
) -> None:
    review = opened(platform, run)
    shown = task(platform, ANN, review)
    later = task(platform, ANN, review, 2)
    score(platform, ANN, shown, 4)
    with platform.transaction(ADMIN) as tx:
        assert reviews.release(tx, review.id, "ann", "is away").open_slots == 2
    with pytest.raises(Forbidden, match="not yours"):
        score(platform, ANN, later, 4)
    with platform.transaction(ADMIN) as tx:
        filled = reviews.assign(tx, review.id, "cat")
    assert (filled.open_slots, filled.scored) == (0, 1)
    assert {it.reviewer: it.assigned for it in filled.reviewers} == {"ann": 1, "ben": 3, "cat": 2}


def test_an_excluded_reviewers_judgements_are_kept_but_do_not_count(platform: Platform, run: Evaluation) -> None:
    review = opened(platform, run)
    all_judged(platform, review, {"ann": {0: 1, 1: 1, 2: 1}, "ben": {0: 5, 1: 5, 2: 5}})
    with platform.transaction(ADMIN) as tx:
        assert reviews.exclude(tx, review.id, "ann", "clicked without reading").open_slots == 3
        found = review_tasks.summary(tx, review.id)
        assert tx.session.query(ReviewScoreRow).count() == 6
    assert (found.judged, found.disagreements) == (3, 0)
    estimate = found.criteria[0].estimate
    assert estimate is not None
    assert estimate.value == 5
    with pytest.raises(Forbidden, match="excluded"), platform.transaction(ADMIN) as tx:
        reviews.assign(tx, review.id, "ann")


def test_only_the_named_adjudicator_settles_disagreements_and_never_a_reviewer(
    platform: Platform, run: Evaluation
) -> None:
    with pytest.raises(ValidationFailed):
        opened(platform, run, adjudicator="ann")
    review = opened(platform, run)
    all_judged(platform, review, {"ann": {0: 1, 1: 3, 2: 4}, "ben": {0: 5, 1: 3, 2: 4}})
    with pytest.raises(Forbidden, match="judges in this review"), platform.transaction(ADMIN) as tx:
        review_adjudication.name(tx, review.id, "ben")
    with platform.transaction(ADMIN) as tx:
        review_adjudication.name(tx, review.id, "zoe")
    with pytest.raises(Forbidden, match="does not judge"), platform.transaction(ADMIN) as tx:
        reviews.assign(tx, review.id, "zoe")
    with platform.transaction(ZOE) as tx:
        (apart,) = review_adjudication.disagreements(tx, review.id)
        assert (reviews.get(tx, review.id).model, reviews.get(tx, review.id).evaluation_id) == (None, None)
    assert "ann" not in apart.model_dump_json()
    values = {"helpful": 2, "safe": "pass"}
    verdict = Submission(values=values, reason="Half of it is wrong.", shown=apart.digest, revision=0)
    for other in (ANN, BEN, ADMIN):
        with pytest.raises(Forbidden), platform.transaction(other) as tx:
            review_adjudication.adjudicate(tx, review.id, apart.number, verdict)
    with pytest.raises(ValidationFailed, match="reason"), platform.transaction(ZOE) as tx:
        review_adjudication.adjudicate(tx, review.id, apart.number, verdict.model_copy(update={"reason": " "}))
    for _again in range(2):
        with platform.transaction(ZOE) as tx:
            settled = review_adjudication.adjudicate(tx, review.id, apart.number, verdict)
        assert settled.settled is not None
        assert settled.settled.values["helpful"] == 2
    with pytest.raises(Conflict, match="do not disagree"), platform.transaction(ZOE) as tx:
        review_adjudication.adjudicate(tx, review.id, 1, verdict)


def test_a_review_ends_when_it_is_done_or_with_a_reason_and_is_evidence_on_the_model(
    platform: Platform, run: Evaluation
) -> None:
    review = opened(platform, run)
    all_judged(platform, review, {"ann": {0: 4, 1: 3, 2: 4}})
    with pytest.raises(Conflict, match="3 judgements are missing"), platform.transaction(ADMIN) as tx:
        reviews.close(tx, review.id, review_tasks.summary(tx, review.id))
    all_judged(platform, review, {"ben": {0: 4, 1: 3, 2: 4}})
    for _again in range(2):
        with platform.transaction(ADMIN) as tx:
            closed = reviews.close(tx, review.id, review_tasks.summary(tx, review.id))
    assert closed.status is ReviewStatus.CLOSED
    assert closed.result is not None
    with platform.transaction(BEN) as tx:
        assert reviews.get(tx, review.id).model == "one 1"
        found = evidence.of_version(tx, run.model_id, EvidenceKind.EVALUATION)
    assert [it.source_id for it in found].count(str(review.id)) == 1
    with pytest.raises(Conflict, match="closed"):
        score(platform, ANN, task(platform, ANN, review), 1, reason="too late")


def test_two_models_are_compared_side_by_side_and_each_answer_comes_first_as_often(platform: Platform) -> None:
    dataset = benchmark(platform)
    one, two = (answered(platform, model_of(platform, name), dataset, [name] * 4) for name in ("left", "right"))
    review = opened(platform, one, other_evaluation_id=two.id)
    firsts = []
    for who in (ANN, BEN):
        for place in range(1, 5):
            shown = task(platform, who, review, place)
            firsts.append(shown.answers[0])
            word = "first" if shown.answers[0] == "left" else "second"
            with platform.transaction(who) as tx:
                given = Submission(values={"better": word}, shown=shown.digest, revision=0)
                assert review_tasks.score(tx, review.id, shown.number, given).values == {"better": word}
    assert firsts.count("left") == firsts.count("right") == 4
    with platform.transaction(ADMIN) as tx:
        (better,) = review_tasks.summary(tx, review.id).criteria
    assert better.estimate is not None
    assert better.estimate.value == 1
    assert better.first_place is not None
    assert better.first_place.value == 0.5
    assert all("the same" in it.why_not for it in better.agreement)


def test_a_plan_that_cannot_be_carried_out_is_refused_with_everything_that_is_wrong(
    platform: Platform, run: Evaluation
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        opened(platform, run, reviewers=("ann", "ann"), overlap=3, adjudicator="ann", other_evaluation_id=run.id)
    assert {it["path"] for it in refused.value.details} == {"reviewers", "overlap", "adjudicator", "otherEvaluationId"}


def _submitted_by(platform: Platform, model_id: UUID, name: str) -> Version:
    with platform.transaction(someone(name, "admin")) as tx:
        return approvals.submit(tx, versions.get(tx, model_id, Kind.MODEL).id)


def _trained_by(platform: Platform, model_id: UUID, name: str) -> None:
    """What a training job leaves behind: who submitted it in the audit log, and its evidence on the model."""
    with platform.transaction(someone(name)) as tx:
        tx.audit("training.submit", "training_job", "job 1")
    with platform.transaction(ADMIN) as tx:
        digest = versions.get(tx, model_id).manifest.digest
        evidence.attach(
            tx, model_id, EvidenceKind.TRAINING, digest=digest, source_id="job 1", passed=None, summary={}
        )
