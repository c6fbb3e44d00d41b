"""Lists ask the database as often for many entries as for one."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from llmops_resources.database import Transaction
from llmops_resources.evaluation import review_rubrics, reviews, run_lists
from llmops_resources.evaluation.review_opening import ReviewPlan
from llmops_resources.platform import Platform
from tests.evaluation.reviewing import ABSOLUTE, answered, benchmark, model_of
from tests.factories import ADMIN


@contextmanager
def statements(tx: Transaction) -> Iterator[list[str]]:
    """What is asked of the database within."""
    asked: list[str] = []
    engine = tx.session.get_bind()

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_lists_of_evaluations_and_reviews_ask_no_more_for_more_entries(platform: Platform) -> None:
    exam = benchmark(platform)
    counts: list[tuple[int, ...]] = []
    with platform.transaction(ADMIN) as tx:
        rubric = review_rubrics.keep(tx, ABSOLUTE).digest
    for number in range(3):
        run = answered(platform, model_of(platform, f"model-{number}"), exam, ["an answer", "another"])
        with platform.transaction(ADMIN) as tx:
            reviews.open_review(tx, run.id, ReviewPlan(rubric=rubric, reviewers=("ann", "ben"), overlap=2))
        counts.append(tuple(_asked(platform, each) for each in ("names", "runs", "reviews", "again")))
    assert counts == counts[:1] * 3
    with platform.transaction(ADMIN) as tx:
        assert run_lists.name_pairs(tx) == [(f"model-{number}", "exam") for number in range(3)]
        again = run_lists.request_again(tx, "model-1", "exam")
        page = reviews.search(tx)
    assert (again.model_name, again.dataset_name) == ("model-1", "exam")
    assert [each.model for each in page.items] == ["model-2 1", "model-1 1", "model-0 1"]
    assert [[person.assigned for person in each.reviewers] for each in page.items] == [[2, 2]] * 3
    assert [(each.units, each.open_slots, each.scored) for each in page.items] == [(2, 0, 0)] * 3


def _asked(platform: Platform, what: str) -> int:
    with platform.transaction(ADMIN) as tx, statements(tx) as asked:
        if what == "names":
            assert run_lists.name_pairs(tx)
        elif what == "runs":
            assert run_lists.search(tx).items
        elif what == "reviews":
            assert reviews.search(tx).items
        else:
            run_lists.request_again(tx, "model-0", "exam")
        return len(asked)
