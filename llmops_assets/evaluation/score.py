"""The program that scores a model on a benchmark: `python -m llmops_assets.evaluation.score WORK_DIR`.

Reads `suite.json`, `model/` and `data/`; writes `result.json`, which exists only when it is complete. Until then
`partial.jsonl` keeps every batch that is done: started again after it was killed, the program goes on behind the last
one and comes to the same result. A sample that cannot be scored (an empty reference, a prompt that leaves no room for
an answer in the context) is counted and stays out of means.
Exit status: 0 done, 2 the input is at fault (the reason is on stderr), 143 ended by SIGTERM.
"""

import importlib.metadata
import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmops_assets.evaluation import scored
from llmops_assets.evaluation.generate import (
    BATCH,
    Answer,
    answer_losses,
    answers,
    chat_prompt,
    context,
    load,
    stride,
)
from llmops_assets.evaluation.partial import PARTIAL, Partial
from llmops_assets.training.metrics import Reporter
from llmops_resources.errors import InvalidInput, PlatformError
from llmops_resources.evaluation.suite import LOSSES, Suite
from llmops_resources.values import sha256_of

_CUTTING = ("normalizer", "pre_tokenizer", "model")


def main(work: Path) -> None:
    """Scores `work/model` as `work/suite.json` says.

    Raises:
        InvalidInput, ValidationFailed, Unavailable: with what is wrong in the work folder.
    """
    began = time.monotonic()
    with Reporter(os.environ) as reporter:
        reporter.progress(0.0, "reading the benchmark")
        suite = _suite(work / "suite.json")
        chosen = scored.sampled(work, suite)
        model, tokenizer = load(work / "model")
        prompts = [prompt or "" for _, (prompt, _) in chosen]
        expected = [answer or "" for _, (_, answer) in chosen]
        with Partial(work / PARTIAL, _identity(work, suite, prompts, expected)) as once:
            already = f", going on after {len(once)} batches" if len(once) else ""
            reporter.progress(0.1, f"answering {len(chosen)} prompts{already}")
            got: list[Answer] = [Answer(None, 0, False)] * len(chosen)
            if set(suite.metrics) - LOSSES:
                got = answers(
                    model,
                    tokenizer,
                    prompts,
                    suite.max_new_tokens,
                    lambda part: reporter.progress(0.1 + 0.7 * part, "answering"),
                    once,
                )
            reporter.progress(0.85, "scoring")
            reads = LOSSES & set(suite.metrics)
            losses = answer_losses(model, tokenizer, prompts, expected, once) if reads else []
        result = scored.scored(work, suite, chosen, [answer.text for answer in got], losses, reporter.progress)
        result["protocol"] = _protocol(suite, model, tokenizer) | {"seconds": round(time.monotonic() - began, 3)}
        for name, estimate in result["metrics"].items():
            reporter.metric(name, 0, estimate["value"])
        part = work / "result.json.part"
        part.write_text(json.dumps(result, ensure_ascii=False, indent=1), encoding="utf-8")
        part.rename(work / "result.json")
        reporter.done()


def _suite(path: Path) -> Suite:
    try:
        return Suite.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InvalidInput(f"the suite cannot be read: {error}", remedy="write suite.json as a Suite") from error


def _identity(work: Path, suite: Suite, prompts: list[str], expected: list[str]) -> str:
    """Of the work whose parts are kept. The weights count by name and size: whoever fills the folder checks digests."""
    files = [(path.name, path.stat().st_size) for path in sorted((work / "model").iterdir()) if path.is_file()]
    return sha256_of([suite.json_dict(), BATCH, _versions(), files, prompts, expected])


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("torch", "transformers", "tokenizers", "sacrebleu")}


def _protocol(suite: Suite, model: Any, tokenizer: Any) -> dict[str, Any]:
    """Everything that another program needs to know to get the same figures."""
    limit = context(model)
    return {
        "prompt": chat_prompt(tokenizer, "{prompt}"),
        "asked": "through the model's chat template" if tokenizer.chat_template else "as it is",
        "tokenizer": _digest(tokenizer),
        "window": None if math.isinf(limit) else {"tokens": int(limit), "stride": stride(limit)},
        "decoding": {"method": "greedy", "maxNewTokens": suite.max_new_tokens, "batchSize": BATCH},
        **scored.protocol(suite),
        "precision": str(model.dtype).removeprefix("torch."),
        "versions": _versions(),
    }


def _digest(tokenizer: Any) -> str:
    """Of what the tokenizer does. Losses a token compare only between models that cut text into the same tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    cut = {key: json.loads(backend.to_str())[key] for key in _CUTTING} if backend else sorted(tokenizer.get_vocab())
    return sha256_of(cut)


def _end(*_: object) -> None:
    sys.exit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    if len(sys.argv) != 2:
        sys.exit("usage: python -m llmops_assets.evaluation.score WORK_DIR")
    try:
        main(Path(sys.argv[1]))
    except PlatformError as error:
        print(f"{error}\n{error.remedy}".strip(), file=sys.stderr)
        sys.exit(2)
