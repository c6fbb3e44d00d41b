"""The rules of the house, kept by tests: who imports whom, who may call what, what is documented."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI

from llmops_resources.governance.permissions import ROLES, Permission
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from llmops_resources.training import reference
from serving_api import openapi
from serving_api.app import create_api, unprotected
from serving_api.chat import description
from serving_api.chat.app import RULES, ChatGateway
from serving_api.dagster_proxy import DagsterProxy

ROOT = Path(__file__).parents[2]
FLOORS = ("llmops_resources", "llmops_assets", "serving_api", "llmops_cli")
DOCUMENTS = ("env.example", "docs/ENV_SETUP.md")
#: Each takes megabytes of every process that has it, of which there may be many.
NOT_IN_THE_GATEWAY = (
    "numpy", "pandas", "polars", "pyarrow", "torch", "transformers", "spacy", "presidio_analyzer", "boto3",
    "botocore.client", "cryptography", "jwt", "aiohttp", "fastapi", "dagster", "kubernetes", "structlog",
    "rich", "psutil",
)  # fmt: skip


def _setting_names() -> list[str]:
    return [name.upper() for name in Settings.model_fields]


def _modules() -> list[Path]:
    return [path for floor in FLOORS for path in (ROOT / floor).rglob("*.py") if "migrations/versions" not in str(path)]


def test_the_import_rule_holds() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_route_asks_for_a_permission(platform: Platform) -> None:
    api = create_api(platform, ChatGateway(platform), DagsterProxy(platform))
    open_on_purpose = {"/llm-ops/v1/{path:path}", ""}  # the 404 of the base path, and the console's files
    assert set(unprotected(api.routes)) == open_on_purpose


def test_a_route_without_a_permission_is_found_however_deep_it_is_included() -> None:
    api, outer, inner = FastAPI(docs_url=None, redoc_url=None), APIRouter(prefix="/a"), APIRouter(prefix="/b")
    inner.add_api_route("/naked", lambda: None)
    outer.include_router(inner)
    api.include_router(outer)
    assert [path for path in unprotected(api.routes) if "naked" in path]


def test_every_route_of_the_gateway_is_described_and_asks_for_a_permission() -> None:
    described = {
        (method.upper(), path.replace("{route}", "name"))
        for path, methods in description.paths().items()
        for method in methods
    }
    unmatched = [(m, p) for m, p in described if not any(r.method == m and r.path.fullmatch(p) for r in RULES)]
    unused = [r for r in RULES if not any(r.method == m and r.path.fullmatch(p) for m, p in described)]
    assert (unmatched, unused) == ([], [])
    assert all(isinstance(rule.permission, Permission) for rule in RULES)


def test_every_permission_is_granted_to_somebody_and_always_to_the_admin() -> None:
    assert set(ROLES) == set(Permission)
    assert all("admin" in roles for roles in ROLES.values())


def test_the_checked_in_api_description_is_fresh() -> None:
    assert openapi.FILE.read_bytes() == openapi.rendered(), "run: .venv/bin/python -m serving_api.openapi"


def test_the_reference_of_the_training_recipe_is_what_the_models_say() -> None:
    stale = "run: python -m llmops_resources.training.reference, after giving each new dial its sentence there"
    assert reference.FILE.read_text() == reference.rendered(), stale


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_setting_is_documented(document: str) -> None:
    text = (ROOT / document).read_text()
    missing = [name for name in _setting_names() if not re.search(rf"\b{name}\b", text)]
    assert missing == []


def test_the_example_environment_names_no_setting_that_does_not_exist() -> None:
    named = re.findall(r"^#?\s?([A-Z][A-Z0-9_]+)=", (ROOT / "env.example").read_text(), flags=re.MULTILINE)
    assert set(named) <= set(_setting_names())
    assert named


def test_the_example_environment_is_accepted_as_it_stands(tmp_path: Path) -> None:
    example = (ROOT / "env.example").read_text().replace("\n# ", "\n")
    lines = [line for line in example.splitlines() if re.fullmatch(r"[A-Z_0-9]+=.*", line)]
    (tmp_path / ".env").write_text("\n".join(lines))
    Settings(_env_file=tmp_path / ".env")


def _loaded(program: str, among: Sequence[str]) -> list[str]:
    """Which of the modules are there after a program, in a process of its own."""
    code = f"{program}\nimport sys\nprint(*[name for name in {among!r} if name in sys.modules], sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}, cwd=ROOT
    )
    return done.stdout.split()


def test_nothing_heavy_is_imported_by_the_api_or_by_the_definitions_floor() -> None:
    program = "import serving_api.app, llmops_assets.definitions, llmops_cli.main"
    assert _loaded(program, ("torch", "transformers", "spacy", "presidio_analyzer", "kserve")) == []


def test_the_gateway_starts_with_nothing_that_answering_calls_does_not_need(settings: Settings) -> None:
    program = f"""
import asyncio
from llmops_resources.platform import open_platform
from llmops_resources.settings import Settings
from serving_api.chat.app import ChatGateway
from serving_api.gateway import create_gateway

async def started(gateway):
    await gateway.start()
    await gateway.stop()

settings = Settings(llmops_home={str(settings.home)!r}, database_url={settings.database_url!r}, _env_file=None)
with open_platform(settings) as platform:
    create_gateway(platform)
    asyncio.run(started(ChatGateway(platform)))
"""
    assert _loaded(program, ("sqlalchemy", *NOT_IN_THE_GATEWAY)) == ["sqlalchemy"]


def test_no_middleware_that_slows_every_request_is_installed(platform: Platform) -> None:
    api = create_api(platform, ChatGateway(platform), DagsterProxy(platform))
    assert not api.user_middleware


def test_what_is_said_to_be_proved_has_its_tests() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/proof.md").read_text()))
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 50
    assert named - set(re.findall(r"def (test_\w+)\(", sources)) == set()


def test_every_scenario_and_requirement_of_serving_has_a_row_with_tests() -> None:
    proof = (ROOT / "docs/proof.md").read_text()
    section = proof[proof.index("\n## User story 3") : proof.index("\n## Threats")]
    rows = re.findall(r"^\| (FR-\d+[a-z]?|\d+) [^|]*\|.*`test_\w+`.*\|$", section, flags=re.MULTILINE)
    requirements = [f"FR-006{letter}" for letter in ("", *"abcdefghijklmnopqrst")] + ["FR-007", "FR-008"]
    assert [row for row in rows if row.isdigit()] == [str(number) for number in range(1, 13)]
    assert set(requirements) == {row for row in rows if not row.isdigit()}


def test_no_module_outgrows_a_reader() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in _modules()}
    assert {path: lines for path, lines in sizes.items() if lines > 400} == {}


def test_no_module_is_called_by_a_name_that_means_nothing() -> None:
    empty_words = {"utils", "util", "common", "helpers", "misc", "manager", "service", "repository"}
    assert [path for path in _modules() if path.stem in empty_words] == []


def test_importing_every_module_of_the_light_floors_reads_no_environment_and_opens_nothing(tmp_path: Path) -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in _modules()
        if path.parts[len(ROOT.parts)] in {"llmops_resources", "serving_api"}
        and path.name not in {"env.py", "__main__.py"}
    ]
    environment = {"PATH": os.environ["PATH"], "API_PORT": "not a number", "LLMOPS_HOME": str(tmp_path / "untouched")}
    code = "import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in names)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=ROOT)
    assert not (tmp_path / "untouched").exists()
