"""The evaluation program, run as the platform runs it: a subprocess over a work folder."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmops_assets.evaluation import figures
from llmops_assets.evaluation import score as program
from llmops_assets.evaluation.generate import answer_losses, answers, chat_prompt
from llmops_resources.errors import InvalidInput
from llmops_resources.evaluation.suite import MetricName, Suite
from tests.tiny_model import write_tiny_model

QUIET = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
ROWS: list[dict[str, str | None]] = [
    *({"question": f"What follows {n}?", "answer": f"It is {n + 1}."} for n in range(40)),
    {"question": "No reference", "answer": None},
    {"question": "far too long " * 100, "answer": "No room."},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def prepare(work: Path, model: Path, suite: dict[str, Any]) -> Path:
    (work / "data").mkdir(parents=True)
    pl.DataFrame(ROWS).write_csv(work / "data/rows.csv")
    (work / "model").symlink_to(model)
    (work / "suite.json").write_text(json.dumps(suite))
    return work


def score(work: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "llmops_assets.evaluation.score", str(work)]
    return subprocess.run(command, env=os.environ | QUIET, capture_output=True, text=True, check=False, timeout=280)


@pytest.fixture(scope="module")
def result(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    work = tmp_path_factory.mktemp("score") / "w"
    done = score(prepare(work, model, {"max_new_tokens": 12}))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"event": "done"}
    read: dict[str, Any] = json.loads((work / "result.json").read_text())
    return read


def test_samples_that_cannot_be_scored_are_counted_and_stay_out_of_every_mean(result: dict[str, Any]) -> None:
    assert result["counts"] == {"total": 42, "scored": 41, "unscored": 1}
    answered = dict.fromkeys(["exact_match", "f1", "bleu"], 40)
    # what leaves no room for an answer can still be read in windows
    assert {name: metric["n"] for name, metric in result["metrics"].items()} == answered | {"perplexity": 41}
    assert [sorted(sample["scores"]) for sample in result["samples"][40:]] == [[], ["perplexity"]]


def test_every_metric_has_an_interval_and_the_protocol_names_what_made_it(result: dict[str, Any]) -> None:
    assert all(metric["low"] <= metric["value"] <= metric["high"] for metric in result["metrics"].values())
    protocol = result["protocol"]
    assert protocol["prompt"] == "<|user|>{prompt}<|end|><|assistant|>"
    assert protocol["decoding"]["method"] == "greedy"
    assert {"torch", "transformers", "sacrebleu"} <= set(protocol["versions"])


def test_perplexity_is_that_of_the_answers_tokens_alone(model: Path, result: dict[str, Any]) -> None:
    network, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    total, count = 0.0, 0
    for sample in result["samples"][:40]:
        row = ROWS[sample["index"]]
        prompt = tokenizer(chat_prompt(tokenizer, str(row["question"])), return_tensors="pt")["input_ids"]
        answer = tokenizer(f"{row['answer']}<|end|>", return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logits = network(input_ids=torch.cat([prompt, answer], dim=1)).logits[0, prompt.size(1) - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits, answer[0], reduction="sum").item()
        assert sample["scores"]["perplexity"] == pytest.approx(math.exp(loss / answer.size(1)), rel=1e-4)
        total, count = total + loss, count + answer.size(1)
    alone = figures.perplexity(total, count)
    low, high = (result["metrics"]["perplexity"][bound] for bound in ("low", "high"))
    assert low < alone < high


def test_what_exceeds_the_context_is_read_in_windows_and_each_token_once(model: Path) -> None:
    network, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    prompt, answer = "What follows? ", "It is " + " ".join(map(str, range(150)))
    ((loss, count),) = filter(None, answer_losses(network, tokenizer, [prompt], [answer]))
    ids = tokenizer(f"{chat_prompt(tokenizer, prompt)}{answer}<|end|>")["input_ids"]
    first = len(tokenizer(chat_prompt(tokenizer, prompt))["input_ids"])
    assert len(ids) > 2 * 128
    assert count == len(ids) - first
    expected = 0.0
    for at in range(first, len(ids)):  # one token at a time, in the window that reads it first
        begin = 0 if at < 128 else 64 * -((127 - at) // 64)
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([ids[begin:at]])).logits[0, -1]
        expected -= torch.log_softmax(logits, dim=-1)[ids[at]].item()
    assert loss == pytest.approx(expected, rel=1e-4)


def test_perplexity_by_bytes_is_the_same_loss_over_the_answers_bytes() -> None:
    rows = [(0, ("q", "Grüße")), (1, ("q", "안녕 ")), (2, ("q", "no loss"))]
    suite = Suite(metrics=(MetricName.PERPLEXITY, MetricName.BYTE_PERPLEXITY))
    found = figures.result(suite, rows, [None] * 3, [(7.0, 3), (6.0, 2), None])
    assert found["metrics"]["byte_perplexity"]["value"] == pytest.approx(math.exp(13.0 / (7 + 6)))
    assert found["metrics"]["perplexity"]["value"] == pytest.approx(math.exp(13.0 / 5))
    assert found["counts"] == {"total": 3, "scored": 2, "unscored": 1}


def test_batched_answers_are_those_of_one_prompt_at_a_time(model: Path) -> None:
    network, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    prompts = [f"What {'really ' * (n % 5)}follows {n}?" for n in range(20)]
    together = answers(network, tokenizer, prompts, 10, lambda _: None)
    alone = [answers(network, tokenizer, [prompt], 10, lambda _: None)[0] for prompt in prompts]
    assert together == alone
    assert len({answer.text for answer in together}) > 10


def test_a_sample_size_draws_the_same_rows_for_the_same_seed(model: Path, tmp_path: Path) -> None:
    suite = {"sampleSize": 5, "seed": 4, "maxNewTokens": 4, "metrics": ["exact_match"]}
    drawn = []
    for name in ("one", "two"):
        program.main(prepare(tmp_path / name, model, suite))
        drawn.append(json.loads((tmp_path / name / "result.json").read_text()))
    one, two = ([sample["index"] for sample in each["samples"]] for each in drawn)
    assert one == two == sorted(one)
    assert drawn[0]["metrics"] == drawn[1]["metrics"]
    assert drawn[0]["counts"]["total"] == 5


def test_an_unknown_metric_is_refused_with_the_known_ones(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="exact_match"):
        program.main(prepare(tmp_path / "w", model, {"metrics": ["vibes"]}))
    assert not (tmp_path / "w/result.json").exists()
