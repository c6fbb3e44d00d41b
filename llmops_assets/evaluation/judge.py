"""Judging as a run does it: every judge is asked about every unit, and nobody twice about the same.

Each reply is on the disk before the next is counted (`partial.jsonl`), so an attempt that follows a killed one asks
only for what is missing. A reply that never came is not kept: the next attempt asks again.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmops_assets import scratch
from llmops_assets.claims import ACTOR
from llmops_assets.evaluation.completions import Asking, Reply, Server
from llmops_assets.evaluation.partial import PARTIAL, Partial
from llmops_assets.evaluation.voices import AT_ONCE, Local, Voice, elapsed
from llmops_resources.evaluation import judge_prompts, judge_runs, judging
from llmops_resources.evaluation.judge_answers import Unreadable, Verdict, read
from llmops_resources.evaluation.judge_prompts import Message
from llmops_resources.evaluation.judge_runs import Asked, JudgeTask
from llmops_resources.evaluation.judging import Heard, Silent
from llmops_resources.evaluation.runs import Evaluation, Result
from llmops_resources.platform import Platform
from llmops_resources.values import sha256_of

Progress = Callable[[float, str], None]
Answer = Verdict | Unreadable | Silent


def judge(platform: Platform, evaluation: Evaluation, work: Path, progress: Progress) -> Result:
    """Have all judges judge; `work` is the run's own folder."""
    began = time.monotonic()
    with platform.transaction(ACTOR) as tx:
        task = judge_runs.task(tx, platform.settings, evaluation)
    identity = sha256_of([task.suite.digest, task.secret.hex(), [unit.json_dict() for unit in task.units]])
    with Partial(work / PARTIAL, identity) as kept:
        heard = [
            Judge(task, at, _voice(platform, task, asked, work / f"judge-{at}"), kept, _part(progress, task, at)).hear()
            for at, asked in enumerate(task.judges)
        ]
    protocol = {"judged": str(evaluation.judged_id), "seconds": elapsed(began)}
    return judging.result(task.suite, task.units, heard, protocol)


class Judge:
    """One judge at work on all units: asked once, and again about what could not be read."""

    def __init__(self, task: JudgeTask, number: int, voice: Voice, kept: Partial, progress: Progress) -> None:
        self._task, self._number, self._voice, self._kept, self._progress = task, number, voice, kept, progress
        self._units = {unit.index: unit for unit in task.units}
        self._counted: list[tuple[int | None, int | None]] = []
        self._silent: dict[str, str] = {}

    def hear(self) -> Heard:
        """Everything that the judge says of everything."""
        suite = self._task.suite
        chats = {
            (index, swapped): judge_prompts.messages(suite, unit, secret=self._task.secret, swapped=swapped)
            for index, unit in self._units.items()
            for swapped in judging.orders(suite)
        }
        answers: dict[tuple[int, bool], Answer] = {}
        repaired = 0
        for turn in range(suite.repairs + 1):
            texts = self._ask(turn, chats)
            again: dict[tuple[int, bool], list[Message]] = {}
            for key, text in texts.items():
                before = answers.get(key)
                answers[key] = self._read(key, text, turn)
                repaired += isinstance(before, Unreadable) and isinstance(answers[key], Verdict)
                if isinstance(before, Unreadable) and isinstance(answers[key], Silent):
                    answers[key] = before
                if isinstance(found := answers[key], Unreadable) and text is not None:
                    again[key] = judge_prompts.repair(chats[key], text, found.why, suite.rubric)
            chats = again
        inputs, outputs = ([each[side] for each in self._counted] for side in (0, 1))
        return Heard(answers, repaired, _total(inputs), _total(outputs))

    def _read(self, key: tuple[int, bool], text: str | None, turn: int) -> Answer:
        if text is None:
            return Silent(self._silent[self._name(key, turn)])
        return read(self._task.suite.rubric, text, swapped=key[1])

    def _ask(self, turn: int, chats: dict[tuple[int, bool], list[Message]]) -> dict[tuple[int, bool], str | None]:
        """The texts of the replies; what was answered to an earlier attempt is not asked again."""
        names = {self._name(key, turn): key for key in chats}
        new = {name: chats[key] for name, key in names.items() if name not in self._kept}
        done = len(names) - len(new)

        def hear(name: str, reply: Reply) -> None:
            nonlocal done
            done += 1
            if reply.text is None:
                self._silent[name] = reply.problem
            else:
                self._kept(name, lambda: [reply.text, reply.input_tokens, reply.output_tokens])
            self._progress(done / len(names), f"{done} of {len(names)} asked" + (" again" if turn else ""))

        if new:
            self._voice.ask(new, hear)
        return {key: self._text(name) for name, key in names.items()}

    def _text(self, name: str) -> str | None:
        if name in self._silent:
            return None
        text, inputs, outputs = self._kept(name, _never)
        self._counted.append((inputs, outputs))
        return str(text)

    def _name(self, key: tuple[int, bool], turn: int) -> str:
        return f"{self._number}/{key[0]}/{'second' if key[1] else 'first'}/{turn}"


def _voice(platform: Platform, task: JudgeTask, asked: Asked, folder: Path) -> Voice:
    settings = platform.settings
    if asked.connection is not None:
        hosts = frozenset(settings.outbound_allowed_hosts)
        server = Server.of(asked.connection, hosts)
        return Asking(server, max_tokens=asked.judge.max_tokens, seed=task.suite.seed, at_once=AT_ONCE)
    scratch.fetch(platform, asked.version, folder / "model")
    threads = str(settings.training_threads)
    environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return Local(folder, asked.judge.max_tokens, environment)


def _part(progress: Progress, task: JudgeTask, at: int) -> Progress:
    name, count = task.judges[at].judge.name, len(task.judges)
    return lambda fraction, message: progress((at + fraction) / count, f"{name}: {message}")


def _total(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _never() -> Any:
    raise AssertionError("a reply that was kept is there")
