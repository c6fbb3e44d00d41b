"""Prompts on routes, and experiments over them, on the command line."""

import json
from pathlib import Path

import pytest

from llmops_cli.api import Refused
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import Environment
from tests import factories
from tests.api.conftest import api as api  # noqa: PLC0414  a fixture
from tests.api.conftest import llmops as llmops  # noqa: PLC0414  a fixture
from tests.api.shell import Shell
from tests.prompts.prompts import approved_prompt, content


def test_an_experiment_is_planned_run_and_concluded_and_its_winner_rolled_back(
    llmops: Shell, platform: Platform, tmp_path: Path
) -> None:
    model = factories.approved(platform, Kind.MODEL, "m", files={"model.safetensors": b"weights"})
    with platform.transaction(factories.ADMIN) as tx:
        endpoints.deploy(tx, model_id=model.id, environment=Environment.DEV, backend="local", route="support")
    first, second = (str(approved_prompt(platform, "answers", content(f"Way {n}:")).id) for n in (1, 2))

    assert "support has answers 1 now" in llmops("prompts", "routes", "bind", "support", first, "--reason", "to begin")
    variants = [{"name": "old", "promptId": first}, {"name": "new", "promptId": second}]
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"name": "kinder", "route": "support", "variants": variants}))
    made = llmops.json("prompts", "experiments", "plan", str(file))["id"]
    assert "has not started" in llmops("prompts", "experiments", "look", made)
    assert "kinder runs" in llmops("prompts", "experiments", "start", made)
    assert "Advice: wait." in llmops("prompts", "experiments", "look", made)
    with pytest.raises(Refused, match="runs at support"):
        llmops("prompts", "routes", "unbind", "support")
    assert "stopped" in llmops("prompts", "experiments", "stop", made, "--reason", "enough")
    told = llmops("prompts", "experiments", "conclude", made, "--winner", "new", "--notes", "I like it.")
    assert "kinder is concluded: new" in told
    assert "new" in llmops("prompts", "experiments", "list", "--state", "concluded")
    assert "answers" in llmops("prompts", "routes", "list")
    assert "support has answers 1 now" in llmops("prompts", "routes", "rollback", "support")
    assert "No prompt is bound to support" in llmops("prompts", "routes", "unbind", "support")
    assert llmops.json("prompts", "routes", "list") == []
