"""The training program, run as the platform runs it: a subprocess over a work folder."""

import hashlib
import http.server
import json
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from llmops_assets.training import sft
from llmops_assets.training.metrics import Reporter
from llmops_assets.training.muon import orthogonalize
from llmops_assets.training.tokens import IGNORED, padded, pair, prepare_for_chat, train_tokenizer
from llmops_resources.errors import Conflict, InvalidInput, Unavailable
from tests.training.programs import ARCHITECTURE, PAIRS, QUIET, TEXTS, command, events, prepare, train

WANTED = {
    "model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "README.md", "training_summary.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A pre-trained model folder, and what its training printed."""
    rows = [{"text": text} for text in TEXTS]
    work = prepare(tmp_path_factory.mktemp("pretrain") / "work", "pretrain", rows, architecture=ARCHITECTURE, epochs=6)
    done = train(work)
    assert done.returncode == 0, done.stderr
    return work / "output", done.stdout


@pytest.fixture(scope="module")
def tuned(base: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned model folder."""
    work = tmp_path_factory.mktemp("finetune") / "work"
    done = train(prepare(work, "finetune", PAIRS, base[0], epochs=2))
    assert done.returncode == 0, done.stderr
    return work / "output"


def test_pretraining_lowers_the_loss_and_says_so_while_it_goes(base: tuple[Path, str]) -> None:
    losses = [event["value"] for event in events(base[1], "metric") if event["name"] == "loss"]
    assert losses[-1] < losses[0] - 1
    fractions = [event["fraction"] for event in events(base[1], "progress")]
    assert fractions == sorted(fractions)
    measured = {"loss", "eval_loss", "perplexity", "learning_rate", "gradient_norm", "tokens_per_second"}
    assert measured | {"system/cpu_percent", "system/memory_bytes"} == {
        event["name"] for event in events(base[1], "metric")
    }
    assert json.loads(base[1].splitlines()[-1]) == {"event": "done"}


def test_the_output_has_every_file_and_others_may_read_them(base: tuple[Path, str]) -> None:
    files = list(base[0].iterdir())
    assert {path.name for path in files} == WANTED
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
    summary = json.loads((base[0] / "training_summary.json").read_text())
    assert summary["rows"] == {"train": 196, "evaluation": 4, "skipped": 0}
    assert summary["recipe_digest"] in (base[0] / "README.md").read_text()
    assert not list(base[0].parent.glob("*.part"))


def test_fine_tuning_changes_the_weights_and_saves_a_chat_template(base: tuple[Path, str], tuned: Path) -> None:
    before, after = (load_file(folder / "model.safetensors") for folder in (base[0], tuned))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert "chat_template" in json.loads((tuned / "tokenizer_config.json").read_text())
    assert "chat_template" not in json.loads((base[0] / "tokenizer_config.json").read_text())
    end = AutoTokenizer.from_pretrained(tuned).eos_token_id
    assert json.loads((tuned / "generation_config.json").read_text())["eos_token_id"] == end


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(base: tuple[Path, str], tmp_path: Path) -> None:
    digests = []
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        work = prepare(tmp_path / name, "finetune", PAIRS, base[0], epochs=1, seed=seed, batch_size=8)
        sft.main(work)
        digests.append(hashlib.sha256((work / "output/model.safetensors").read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_a_missing_column_is_refused_with_the_columns_that_exist(tmp_path: Path) -> None:
    done = train(prepare(tmp_path / "w", "pretrain", [{"body": "x"}], architecture=ARCHITECTURE))
    assert done.returncode == 2
    assert "no column text" in done.stderr
    assert "body" in done.stderr
    assert not (tmp_path / "w/output").exists()


def test_a_missing_base_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no base model"):
        sft.main(prepare(tmp_path / "w", "finetune", PAIRS))


def test_too_few_usable_rows_are_refused(tmp_path: Path, base: tuple[Path, str]) -> None:
    rows = [{"question": "What?", "answer": "word " * 200}, {"question": "", "answer": "x"}]
    with pytest.raises(InvalidInput, match="0 usable rows"):
        sft.main(prepare(tmp_path / "w", "finetune", rows, base[0]))


def test_a_finished_output_is_never_overwritten(tmp_path: Path) -> None:
    work = prepare(tmp_path / "w", "finetune", PAIRS)
    (work / "output").mkdir()
    with pytest.raises(Conflict, match="exists already"):
        sft.main(work)


def test_sigterm_ends_the_run_with_a_checkpoint_and_without_output(tmp_path: Path) -> None:
    rows = [{"text": text} for text in TEXTS]
    work = prepare(tmp_path / "w", "pretrain", rows, architecture=ARCHITECTURE, epochs=900)
    with subprocess.Popen(command(work), env=os.environ | QUIET, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if '"loss"' in line)
        process.send_signal(signal.SIGTERM)
        (saved,) = events(process.stdout.read(), "checkpoint")
        assert process.wait(20) == 143
    assert saved["folder"] == str(work / f"checkpoints/step-{saved['step']}")
    assert json.loads((work / f"checkpoints/step-{saved['step']}/progress.json").read_text())["step"] == saved["step"]
    assert {path.name for path in work.iterdir()} == {"data", "recipe.json", "tokens", "checkpoints"}


class MetricsApi:
    """A real HTTP server that takes metrics, once it feels like it."""

    def __init__(self, failures: int) -> None:
        self.received: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.failures = failures
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.tokens.add(f"{self.path} {self.headers['Authorization']}")
                outer.failures -= 1
                if outer.failures < 0:
                    outer.received += body
                self.send_response(503 if outer.failures >= 0 else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/llm-ops/v1"


@pytest.fixture
def metrics_api(request: pytest.FixtureRequest) -> Iterator[MetricsApi]:
    api = MetricsApi(failures=request.param)
    thread = threading.Thread(target=api.server.serve_forever)
    thread.start()
    yield api
    api.server.shutdown()
    api.server.server_close()
    thread.join()


@pytest.mark.parametrize("metrics_api", [2], indirect=True)
def test_every_metric_reaches_the_api_even_when_it_is_away_at_first(
    metrics_api: MetricsApi, base: tuple[Path, str], tmp_path: Path
) -> None:
    work = prepare(tmp_path / "w", "finetune", PAIRS, base[0], epochs=2)
    done = train(work, API_BASE_URL=metrics_api.url, JOB_ID="j1", JOB_TOKEN="secret")
    assert done.returncode == 0, done.stderr
    printed = [(event["name"], event["step"], event["value"]) for event in events(done.stdout, "metric")]
    assert [(metric["name"], metric["step"], metric["value"]) for metric in metrics_api.received] == printed
    assert metrics_api.tokens == {"/llm-ops/v1/training/jobs/j1/metrics Bearer secret"}


def test_an_api_that_is_away_neither_delays_the_work_nor_the_end_for_long() -> None:
    environment = {"API_BASE_URL": "http://127.0.0.1:9", "JOB_ID": "j1", "JOB_TOKEN": "secret"}
    with Reporter(environment) as reporter:
        began = time.monotonic()
        for step in range(1_000):
            reporter.metric("loss", step, 1.0)
        assert time.monotonic() - began < 5
    assert time.monotonic() - began < 15


def test_only_the_answer_and_its_end_are_learned() -> None:
    tokenizer = train_tokenizer(TEXTS, 300, 64)
    prepare_for_chat(tokenizer)
    example = pair(tokenizer, "What follows 3?", "It is 4.")
    batch = padded([example, pair(tokenizer, "And?", "5")], tokenizer.pad_token_id)
    learned = [token for token in batch.labels[0].tolist() if token != IGNORED]
    assert tokenizer.decode(learned) == "It is 4.<|end|>"
    assert tokenizer.decode(example.ids[: example.prompt]) == "<|user|>What follows 3?<|end|><|assistant|>"


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 24, 8), (2, 8, 24)])
def test_newton_schulz_brings_all_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
    assert values.min() > 0.3
    assert values.max() < 1.3
