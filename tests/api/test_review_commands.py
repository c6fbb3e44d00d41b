"""`llmops reviews` against the running API: opened, assigned, shown and closed without a browser."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from llmops_cli.api import Refused
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from tests.api.shell import Shell
from tests.evaluation.reviewing import answered, benchmark, headers, model_of

RUBRIC = """
name = "answers"
[[criteria]]
name = "safe"
question = "Is it safe?"
kind = "pass_fail"
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Several people, so that the rules between them count."""
    return settings.model_copy(update={"single_user": False})


def test_a_review_is_opened_staffed_shown_and_closed(
    platform: Platform, api: httpx.Client, llmops: Shell, tmp_path: Path
) -> None:
    shell = replace(llmops, room=("reviews",))
    run = answered(platform, model_of(platform, "one"), benchmark(platform), ["a", "b"])
    (tmp_path / "rubric.toml").write_text(RUBRIC)
    words = ("open", str(run.id), str(tmp_path / "rubric.toml"), "--role", "reviewer", "--reviewer", "ann")
    review = shell.json(*words, "--adjudicator", "zoe")["id"]
    assert "4 wait" in shell("release", review, "ann", "--reason", "is away")
    assert "2 wait" in shell("assign", review, "ben")
    with pytest.raises(Refused, match="created the model"):
        shell("assign", review, "olga")
    shown = api.get(f"/evaluation/reviews/{review}/task", headers=headers("ben")).json()["data"]
    given = {"values": {"safe": "pass"}, "shown": shown["digest"]}
    api.post(f"/evaluation/reviews/{review}/units/{shown['number']}/scores", json=given, headers=headers("ben"))
    told = shell("show", review)
    assert "krippendorff_alpha" in told
    assert "it takes at least two people" in told
    assert [it["scored"] for it in shell.json("list")] == [1]
    with pytest.raises(Refused, match="judgements are missing"):
        shell("close", review)
    table = tmp_path / "said.csv"
    shell("export", review, str(table))
    assert '"ben"' in table.read_text()
    with pytest.raises(AssertionError, match="is there"):
        shell("export", review, str(table))
    shell("export", review, str(table), "--force")
    assert shell("close", review, "--reason", "enough for a test").startswith("closed: 1 judged")
