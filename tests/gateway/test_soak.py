"""The soak in small: calls while the model server, the database and the gateway are killed under them."""

from pathlib import Path

import pytest

from benchmarks import soak


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_is_killed_under_many_calls_each_answer_is_booked_once_and_each_refusal_is_an_envelope(
    tmp_path: Path,
) -> None:
    report = soak.run(tmp_path, requests=2000, restarts=8, connections=16, show=lambda _asked, _happens: None)

    assert report.faults == []
    assert set(report.restarts) == {
        "model server killed", "database stopped", "database killed", "gateway told to end", "gateway killed",
    }  # fmt: skip
    assert report.books.answered > 800
    assert report.books.records == report.books.answered + report.books.besides
    assert report.seen.said["429"] > 0, "the scarce budget never ran out"
