"""A person at the command line of a running platform."""

import json
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from llmops_cli.main import app


@dataclass(frozen=True)
class Shell:
    """Runs `llmops` with the words of a command, after `room` if one is given."""

    room: tuple[str, ...] = ()

    def __call__(self, *words: str, answer: str | None = None) -> str:
        """What the command printed; `answer` is typed in. Raises what it raises."""
        done = CliRunner().invoke(app, [*self.room, *words], input=answer)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    def json(self, *words: str) -> Any:
        """The command's answer as data."""
        return json.loads(self(*words, "--json"))
