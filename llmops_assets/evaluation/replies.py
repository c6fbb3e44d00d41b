"""The program that runs a judge whose files lie here: `python -m llmops_assets.evaluation.replies WORK_DIR`.

Reads `model/` and `chats.jsonl`; tells each answer as a line `{"event": "reply", "name", "text", "problem",
"inputTokens", "outputTokens"}` on stdout. Greedy, in batches of chats of like length. A chat that leaves no room for an
answer in the model's context has a problem and no text. Exit status: 0 done, 2 the input is at fault.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from llmops_assets.evaluation.generate import Turns, answers, encoded, load
from llmops_resources.errors import PlatformError

BATCH = 16  # answers between two that are told


def main(work: Path) -> None:
    """Answers every chat. Raises Unavailable when there is no model in the folder."""
    asked = [json.loads(line) for line in (work / "chats.jsonl").read_text(encoding="utf-8").splitlines() if line]
    model, tokenizer = load(work / "model")
    chats = [_turns(tokenizer, each["chat"]) for each in asked]
    lengths = [len(encoded(tokenizer, chat)) for chat in chats]
    order = sorted(range(len(chats)), key=lambda at: (lengths[at], at))
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        got = answers(model, tokenizer, [chats[at] for at in part], int(os.environ["MAX_TOKENS"]), lambda _part: None)
        for at, answer in zip(part, got, strict=True):
            _tell(asked[at]["name"], answer.text, lengths[at], answer.tokens)


def _tell(name: str, text: str | None, prompt: int, tokens: int) -> None:
    problem = "" if text is not None else f"its {prompt} tokens leave no room for an answer in the model's context"
    line = {"event": "reply", "name": name, "text": text, "problem": problem}
    counted = {"inputTokens": prompt if text is not None else 0, "outputTokens": tokens}
    print(json.dumps({**line, **counted}), flush=True)


def _turns(tokenizer: Any, chat: list[dict[str, str]]) -> Turns:
    """The chat as the model's template takes it: one that knows no system turn gets those words with the first."""
    if not tokenizer.chat_template:
        return chat
    try:
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    except Exception:  # noqa: BLE001  a template raises what it likes
        system, first, *rest = chat
        return [{"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"}, *rest]
    return chat


def _end(*_: object) -> None:
    sys.exit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    if len(sys.argv) != 2:
        sys.exit("usage: python -m llmops_assets.evaluation.replies WORK_DIR")
    try:
        main(Path(sys.argv[1]))
    except PlatformError as error:
        print(f"{error}\n{error.remedy}".strip(), file=sys.stderr)
        sys.exit(2)
