"""What docs/serving-examples.md shows and what examples/ holds, run as it stands against a running platform.

The API is the real one; its agent serves one model of random weights in the real local runtime, at the route that the
demo has, and two versions of it at a provider, so that deployments and rollbacks need no further processes.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import openai
import pytest
import uvicorn

from llmops_assets.serving import local_agent
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.platform import open_platform
from llmops_resources.settings import Settings
from serving_api.app import create_app
from tests import factories
from tests.api.conftest import in_a_thread
from tests.conftest import cloned_database
from tests.gateway.conftest import eventually
from tests.providers.conftest import running_provider
from tests.providers.test_over_http import approved, described, registered
from tests.serving.node import ROOT, can_compile, compiled, run
from tests.serving.scripted_api import for_both_clients, scripted_api
from tests.tiny_model import write_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PAGE = ROOT / "docs/serving-examples.md"
EXAMPLES = ROOT / "examples"
SHOWN = "http://localhost:8000"
MODEL, ROUTE = "python_helper", "python-helper"
needs_node = pytest.mark.skipif(not can_compile(), reason="needs Node, the packages of the console and of these tests")


def snippets(language: str) -> str:
    """All snippets of the page in one language, in their order, as one program."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    return "\n".join(found)


def program(arguments: list[str], *, root: str, text: str = "") -> str:
    """What a program prints that gets a text on its input, in examples/; the platform's address is put in."""
    environment = {"PATH": os.environ["PATH"], "LLMOPS_URL": root, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        arguments, input=text.replace(SHOWN, root), cwd=EXAMPLES, env=environment, capture_output=True, text=True,
        check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def agent(settings: Settings) -> Iterator[None]:
    """The agent that looks after endpoints, in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=local_agent.run, args=(settings, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def root(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a platform in the state that the demo leaves behind."""
    home = tmp_path_factory.mktemp("examples")
    with running_provider() as provider, cloned_database(postgres_url) as database_url:
        settings = Settings(
            llmops_home=home / "home", database_url=database_url, secret_key="k" * 32,
            outbound_allowed_hosts=(provider.host,), _env_file=None,
        )  # fmt: skip
        with (
            open_platform(settings) as platform,
            in_a_thread(uvicorn.Server(uvicorn.Config(create_app(platform), log_config=None))) as (address, _thread),
            agent(settings),
            httpx.Client(base_url=f"{address}/llm-ops/v1", timeout=60) as api,
        ):
            folder = write_tiny_model(home / "model")
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            first = factories.approved(platform, Kind.MODEL, MODEL, files=files)
            wish = {"modelId": str(first.id), "environment": "dev", "route": ROUTE}
            assert api.post("/serving/endpoints", json=wish).status_code == 200
            for version, behind in {"2": "gpt-tiny", "3": "llama:latest"}.items():
                outside = described(provider, MODEL, modelName=behind)
                approved(api, registered(api, {**outside, "version": version}))
            eventually(lambda: api.get(f"/serve/{ROUTE}/health").status_code == 200, seconds=200)
            yield address


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TypeScript of examples/, of the page and of these tests, compiled under the strictest rules."""
    return compiled(tmp_path_factory.mktemp("typescript"), snippets=snippets("typescript"))


def test_every_snippet_of_the_page_is_in_a_language_that_is_run() -> None:
    fences = re.findall(r"^```(\w*)$", PAGE.read_text(), flags=re.MULTILINE)
    opened = fences[::2]
    assert set(opened) == {"", "bash", "python", "typescript"}
    assert opened.count("") == 1  # the two commands that the tests below run by their files
    assert min(opened.count(language) for language in ("bash", "python", "typescript")) >= 8


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_the_curl_snippets_work_as_they_stand(root: str) -> None:
    said = program(["bash", "-euo", "pipefail"], root=root, text=snippets("bash"))
    assert "healthy: python_helper 1" in said
    assert "by-curl\tpython_helper\t3\t1" in said
    assert "validation_failed" in said
    assert said.splitlines()[-2:] == ["success", "success"]


def test_the_python_snippets_work_as_they_stand(root: str) -> None:
    said = program([sys.executable, "-W", "error", "-"], root=root, text=snippets("python"))
    assert "by-python is healthy with python_helper 3" in said
    assert "422 validation_failed\ntemperature" in said


@needs_node
def test_the_typescript_snippets_work_as_they_stand(root: str, javascript: Path) -> None:
    source = javascript / "snippets.js"
    source.write_text(source.read_text().replace(SHOWN, root))
    done = run([str(source)], javascript)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "by-typescript is healthy with python_helper 3" in done.stdout
    assert "422 validation_failed\ntemperature" in done.stdout


def test_the_workflow_of_the_python_client_deploys_twice_goes_back_and_leaves_nothing(root: str) -> None:
    walked = ["--model", f"{MODEL}@2", "--then", f"{MODEL}@3", "--route", "walked"]
    said = program([sys.executable, "serving_client.py", "workflow", *walked], root=root)
    assert "walked serves python_helper 2: healthy" in said
    assert "walked now serves python_helper 3, revision 2" in said
    assert "rolled back: walked is healthy with python_helper 2" in said
    assert said.endswith("walked is taken away\n")
    assert httpx.get(f"{root}/llm-ops/v1/serving/endpoints", params={"route": "walked"}).json()["data"] == []


def test_a_workflow_that_is_refused_says_why_and_ends_with_1(root: str) -> None:
    done = subprocess.run(
        [sys.executable, "serving_client.py", "workflow", "--url", root, "--model", "nothing"],
        cwd=EXAMPLES, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "there is no approved model nothing\n")


@needs_node
def test_the_workflow_of_the_typescript_client_goes_the_whole_way(root: str, javascript: Path) -> None:
    done = run([str(javascript / "serving-workflow.js"), MODEL, root], javascript)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "serving-client-ts serves python_helper 3: healthy" in done.stdout
    assert done.stdout.endswith("rolled back: serving-client-ts is stopped\nserving-client-ts is taken away\n")


@needs_node
def test_the_typescript_client_repeats_only_what_is_safe_and_reads_every_stream(javascript: Path) -> None:
    with scripted_api() as api:
        for_both_clients(api)
        done = run([str(javascript / "client-checks.js"), api.url], javascript)
        assert done.returncode == 0, done.stdout + done.stderr
        assert api.count("POST /serving/endpoints/e1/rollback") == 1
        assert api.count("POST /serve/spent/chat") == 1
        keys = {each.headers.get("idempotency-key") for each in api.asked if each.path == "/serving/endpoints"}
        assert len(keys - {None}) == 1
        assert api.count("PATCH /serving/endpoints/e1") == 2
        assert api.count("PATCH /serving/endpoints/e2") == 1
        (redeployed,) = [each for each in api.asked if "/redeploy" in each.path]
        assert redeployed.path.endswith("?useGpu=false&memoryLimit=8Gi")
        assert [each.body for each in api.asked if each.path.endswith("/rollback")] == [{"to": None}, {"to": 2}]
        assert api.asked[0].headers["authorization"] == "Bearer sk-llmops-x"


@needs_node
def test_the_official_node_client_talks_to_a_model_served_here(root: str, javascript: Path) -> None:
    done = run([str(javascript / "openai-client.js"), f"{root}/openai/v1", ROUTE], javascript)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a wrong key is its AuthenticationError for a stream" in done.stdout


@pytest.fixture
def official(root: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{root}/openai/v1", api_key="sk-anything", max_retries=0) as client:
        yield client


ASK: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "What follows 3?"}]


def test_the_official_python_client_talks_to_a_model_served_here(official: openai.OpenAI) -> None:
    ask = partial(official.chat.completions.create, model=ROUTE, messages=ASK, max_tokens=12, temperature=0)
    whole = ask()
    text = whole.choices[0].message.content or ""
    chunks = list(ask(stream=True))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert ask(stop=text[3:5]).choices[0].message.content == text[: text.index(text[3:5])]
    assert ROUTE in [model.id for model in official.models.list()]
    with pytest.raises(openai.BadRequestError, match="tools"):
        ask(tools=[{"type": "function", "function": {"name": "f"}}])


async def _asynchronously(root: str) -> list[str]:
    async with openai.AsyncOpenAI(base_url=f"{root}/openai/v1", api_key="sk-anything") as client:
        stream = await client.chat.completions.create(model=ROUTE, messages=ASK, max_tokens=6, stream=True)
        return [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]


def test_the_official_asynchronous_client_streams(root: str) -> None:
    assert "".join(asyncio.run(_asynchronously(root)))
