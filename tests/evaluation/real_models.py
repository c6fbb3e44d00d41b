"""Two versions of a model that really answers, and a benchmark on which the second is right three times of four."""

import json
from pathlib import Path
from typing import NamedTuple

from transformers import AutoModelForCausalLM, AutoTokenizer

from llmops_assets.evaluation.generate import answers
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.platform import Platform
from tests.factories import approved, uploaded
from tests.tiny_model import write_tiny_model

ROWS, RIGHT, TOKENS = 40, 30, 12
ASSET = ("evaluations", "tiny", "exam")


class Exam(NamedTuple):
    first: Version
    second: Version
    benchmark: Version


def exam(platform: Platform, folder: Path) -> Exam:
    """The models are drafts with random weights; the benchmark is approved, and says what the second one answers."""
    written = [write_tiny_model(folder / str(seed), seed=seed) for seed in (3, 4)]
    models = [
        uploaded(platform, Kind.MODEL, "tiny", version=str(number), files=_contents(each))
        for number, each in enumerate(written, start=1)
    ]
    questions = [f"What follows {number}?" for number in range(ROWS)]
    network, tokenizer = (kind.from_pretrained(written[1]) for kind in (AutoModelForCausalLM, AutoTokenizer))
    said = [answer.text for answer in answers(network, tokenizer, questions, TOKENS, lambda _: None)]
    rows = [
        json.dumps({"question": question, "answer": words if at < RIGHT else f"another answer {at}"})
        for at, (question, words) in enumerate(zip(questions, said, strict=True))
    ]
    files = {"part-0001.jsonl": "\n".join(rows).encode()}
    return Exam(*models, approved(platform, Kind.DATASET, "exam", files=files, benchmark=True))


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}
