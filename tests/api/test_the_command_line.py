"""What the console can do with versions, the command line can do too: each act through `llmops` and the real API."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from llmops_cli.api import Refused
from llmops_resources.catalog import lineage
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.lineage import Role
from llmops_resources.database import Actor
from llmops_resources.errors import InvalidInput
from llmops_resources.platform import Platform
from tests.api.shell import Shell
from tests.factories import approved, uploaded, validated


def test_a_model_is_registered_described_withdrawn_reviewed_and_deprecated(
    platform: Platform, llmops: Shell, tmp_path: Path
) -> None:
    data = uploaded(platform, Kind.DATASET, "corpus")
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"purpose": "answers", "tags": ["small"]}))
    llmops("models", "create", "tiny", "1", "--team", "research", "--card", str(card), "--trained-on", "corpus")
    llmops("models", "describe", "tiny", "--set", "purpose=answers questions")
    [shown] = llmops.json("models", "list", "--status", "draft", "--type", "base", "--team", "research")
    assert shown["metadata"] == {"purpose": "answers questions", "tags": ["small"]}
    assert "trained_on" in llmops("models", "lineage", "tiny")
    assert [node["id"] for node in llmops.json("datasets", "impact", str(data.id))["models"]] == [shown["id"]]
    with pytest.raises(Refused) as refused:
        llmops("models", "submit", "tiny")
    assert {detail["path"] for detail in refused.value.details} >= {"files", "metadata.scope"}

    uploaded(platform, Kind.MODEL, "tiny", version="2")
    assert "under_review" in llmops("models", "submit", "tiny@2")
    assert [task["name"] for task in llmops.json("approvals", "--kind", "model")] == ["tiny"]
    assert "draft" in llmops("models", "reopen", "tiny@2")
    llmops("models", "submit", "tiny@2")
    assert "draft" in llmops("models", "approve", "tiny@2", "--request-changes", "--notes", "more on its scope")
    assert "more on its scope" in llmops("models", "history", "tiny@2")
    assert "rejected" in llmops("models", "approve", "tiny@2", "--reject")
    llmops("models", "reopen", "tiny@2")
    assert "approved" in llmops("models", "approve", "tiny@2")
    assert "deprecated" in llmops("models", "deprecate", "tiny@2", "--notes", "superseded")
    with pytest.raises(InvalidInput):
        llmops("models", "approve", "tiny@2", "--reject", "--request-changes")


def test_an_earlier_version_is_current_again_and_a_recall_asks_before_it_acts(
    platform: Platform, llmops: Shell
) -> None:
    corpus, model = approved(platform, Kind.DATASET, "corpus"), approved(platform, Kind.MODEL, "tiny")
    approved(platform, Kind.MODEL, "tiny", version="2")
    with platform.transaction(Actor("system:test")) as tx:
        lineage.record(tx, parent=corpus.id, child=model.id, role=Role.TRAINED_ON)
    assert "tiny 1 is the current version" in llmops("models", "rollback", "tiny", "--to", "1")
    reason = ("--reason", "licence withdrawn")
    assert "tiny" in llmops("datasets", "recall", "corpus", *reason, "--dry-run")
    with pytest.raises(AssertionError):  # not confirmed: exit code 1
        llmops("datasets", "recall", "corpus", *reason, answer="n\n")
    assert llmops.json("models", "show", str(model.id))["quarantinedAt"] is None
    assert "2 version(s) are recalled" in llmops("datasets", "recall", "corpus", *reason, answer="y\n")
    assert "recalled" in llmops("models", "history", str(model.id))
    assert "licence withdrawn" in llmops("datasets", "lift-recall", "corpus")
    with pytest.raises(Refused) as refused:
        llmops("datasets", "delete", "corpus", "--yes")
    assert [detail["problem"] for detail in refused.value.details] == ["tiny 1 was made from it"]
    assert "is deleted" in llmops("models", "delete", "tiny@2", "--yes")
    assert "dataset.recall" in llmops("audit", "list", "--resource", str(corpus.id))
    assert "intact" in llmops("audit", "verify")
    assert "intact" in llmops("audit", "verify", "--noted", llmops("audit", "verify").rpartition(" ")[2].strip(" .\n"))
    with pytest.raises(AssertionError):  # a hash that is not in it: exit code 1
        llmops("audit", "verify", "--noted", "0" * 63 + "1")


def test_a_data_set_is_described_previewed_and_found_by_its_figures(
    platform: Platform, llmops: Shell, tmp_path: Path
) -> None:
    schema = tmp_path / "schema.toml"
    schema.write_text('columns = [{name = "question"}, {name = "answer"}]')
    llmops("datasets", "create", "pairs", "1", "--schema", str(schema), "--team", "support")
    llmops("datasets", "describe", "pairs", "--set", 'source={"system": "tickets"}', "--change-log", "first")
    shown = llmops.json("datasets", "show", "pairs")
    assert shown["metadata"] == {"source": {"system": "tickets"}}
    assert (shown["changeLog"], len(shown["expectedSchema"]["columns"])) == ("first", 2)
    rows = tmp_path / "rows.csv"
    rows.write_text("question,answer\nq1,a1\nq2,a2\n")
    llmops("datasets", "upload", "pairs", str(rows), "--no-wait")
    assert "q2" in llmops("datasets", "preview", "pairs", "--offset", "1")
    other = uploaded(platform, Kind.DATASET, "checked")
    validated(platform, other)
    found = llmops.json("datasets", "list", "--pii", "clean", "--min-quality", "80", "--max-quality", "95")
    assert [entry["name"] for entry in found] == ["checked"]
    assert llmops.json("datasets", "list", "--version", "2") == []


def test_a_prompt_draft_is_written_again(llmops: Shell, tmp_path: Path) -> None:
    file = tmp_path / "greeting.json"
    file.write_text(json.dumps({"messages": [{"role": "user", "content": "Hello."}], "variables": []}))
    llmops("prompts", "create", "greeting", str(file), "--purpose", "greets")
    file.write_text(json.dumps({"messages": [{"role": "user", "content": "Hello there."}], "variables": []}))
    llmops("prompts", "edit", "greeting", str(file))
    assert "Hello there." in llmops("prompts", "show", "greeting")
    assert "approved" in llmops("prompts", "approve", "greeting")
    assert [entry["name"] for entry in llmops.json("prompts", "list", "--status", "approved")] == ["greeting"]
    assert "is deleted" in llmops("prompts", "delete", "greeting", "--yes")


def test_the_lineage_of_a_prompt_is_shown_in_both_directions(
    platform: Platform, llmops: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "greeting.json"
    file.write_text(json.dumps({"messages": [{"role": "user", "content": "Hello."}], "variables": []}))
    for name in ("greeting", "welcome"):
        llmops("prompts", "create", name, str(file), "--purpose", "greets")
    first, second = (llmops.json("prompts", "show", name)["id"] for name in ("greeting", "welcome"))
    with platform.transaction(Actor("system:test")) as tx:
        lineage.record(tx, parent=UUID(first), child=UUID(second), role=Role.INITIALIZED_FROM)
    for name in ("greeting", "welcome"):
        [row] = [line for line in llmops("prompts", "lineage", name).splitlines() if "initialized_from" in line]
        assert row.index("greeting") < row.index("initialized_from") < row.index("welcome")
    below = llmops.json("prompts", "lineage", "greeting", "--direction", "down")
    assert [(edge["parentId"], edge["childId"]) for edge in below["edges"]] == [(first, second)]
    assert llmops.json("prompts", "lineage", "greeting", "--direction", "up")["edges"] == []


def test_an_evaluation_measures_what_was_asked_for(platform: Platform, llmops: Shell) -> None:
    uploaded(platform, Kind.MODEL, "tiny")
    approved(platform, Kind.DATASET, "facts")
    asked = ("evaluations", "create", "tiny", "facts", "--no-wait")
    usual = llmops.json(*asked)["suite"]
    assert (usual["metrics"], usual["tokenization"]) == (["exact_match", "f1", "bleu", "perplexity"], "words")
    chosen = llmops.json(*asked, "--metric", "rougeL", "--metric", "chrf", "--tokenization", "characters")["suite"]
    assert (chosen["metrics"], chosen["tokenization"]) == (["rougeL", "chrf"], "characters")
    with pytest.raises(Refused) as refused:
        llmops(*asked, "--metric", "beauty")
    assert refused.value.details[0]["path"] == "metrics"
