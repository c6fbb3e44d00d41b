"""Ways to ask a judge: a provider over HTTP, or a program here that runs the model. Answers are told as they come."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from llmops_assets import programs
from llmops_assets.evaluation.completions import Chats, Hear, Reply
from llmops_resources.errors import InvalidInput, UpstreamFailed

PROGRAM: Final = "llmops_assets.evaluation.replies"
AT_ONCE: Final = 4  # requests to a provider


class Voice(Protocol):
    """A judge that can be asked."""

    def ask(self, chats: Chats, hear: Hear) -> None:
        """Ask each chat once, and call `hear` with its name and the reply, on the caller's thread, as they come.

        A chat that nobody could be asked about gets a reply without text; nothing is raised for what a judge does.
        """


@dataclass(frozen=True)
class Local:
    """A judge whose files lie in `folder/model`, run by a program of its own."""

    folder: Path
    max_tokens: int
    environment: Mapping[str, str]
    warm: Path | None = None

    def ask(self, chats: Chats, hear: Hear) -> None:
        """See `Voice`. A program that cannot run the model leaves every chat without an answer, and says why."""
        lines = (
            json.dumps({"name": name, "chat": [each.json_dict() for each in chat]}) for name, chat in chats.items()
        )
        (self.folder / "chats.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        left = set(chats)

        def on_event(event: programs.Event) -> None:
            if event.get("event") == "reply" and event.get("name") in left:
                left.discard(event["name"])
                hear(event["name"], Reply(event["text"], event["problem"], event["inputTokens"], event["outputTokens"]))

        why = "its program ended without an answer"
        try:
            programs.run(
                PROGRAM,
                self.folder,
                environment={**self.environment, "MAX_TOKENS": str(self.max_tokens)},
                on_event=on_event,
                should_stop=lambda: False,
                warm=self.warm,
            )
        except (InvalidInput, UpstreamFailed) as error:
            why = error.told
        for name in sorted(left):
            hear(name, Reply(None, why))


def elapsed(began: float) -> float:
    """Seconds since, to the thousandth."""
    return round(time.monotonic() - began, 3)
