"""Judging as a run does it: every judge is asked about every unit, and nobody twice about the same.

Each reply is on the disk before the next is counted (`partial.jsonl`), so an attempt that follows a killed one asks
only for what is missing. A reply that never came is not kept: the next attempt asks again. What providers are asked is
paid by the team whose model is judged, as its answers are.
"""

import time
from collections.abc import Callable
from pathlib import Path

from llmops_assets import scratch
from llmops_assets.claims import ACTOR
from llmops_assets.evaluation.completions import Asking, Reply, Server, total
from llmops_assets.evaluation.partial import PARTIAL, Partial
from llmops_assets.evaluation.paying import Answering, Book
from llmops_assets.evaluation.voices import AT_ONCE, Local, Voice, elapsed
from llmops_resources.cost import prices
from llmops_resources.cost.holding import Holding
from llmops_resources.cost.prices import PriceList
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
    """Have all judges judge; `work` is the run's own folder.

    Raises Conflict for a judge that may not be used any more, and where the budget of the team whose model is judged is
    used up: what was said until then is kept.
    """
    began = time.monotonic()
    with platform.transaction(ACTOR) as tx:
        task, known = judge_runs.task(tx, platform.settings, evaluation), prices.load(tx)
    identity = sha256_of([task.suite.digest, task.secret.hex(), [unit.json_dict() for unit in task.units]])
    with (
        Partial(work / PARTIAL, identity) as kept,
        Holding(lambda: platform.transaction(ACTOR), evaluation.id, task.team) as holding,
    ):
        heard = []
        for at, asked in enumerate(task.judges):
            book = _book(platform, evaluation, asked, known, holding)
            voice = _voice(platform, task, asked, book, work / f"judge-{at}")
            heard.append(Judge(task, at, voice, book, kept, _part(progress, task, at)).hear())
    protocol = {"judged": str(evaluation.judged_id), "seconds": elapsed(began)}
    return judging.result(task.suite, task.units, heard, protocol)


class Judge:
    """One judge at work on all units: asked once, and again about what could not be read."""

    def __init__(
        self, task: JudgeTask, number: int, voice: Voice, book: Book | None, kept: Partial, progress: Progress
    ) -> None:
        self._task, self._number, self._voice, self._book = task, number, voice, book
        self._kept, self._progress = kept, progress
        self._units = {unit.index: unit for unit in task.units}
        self._replies: list[Reply] = []
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
        inputs = total(reply.input_tokens for reply in self._replies)
        outputs = total(reply.output_tokens for reply in self._replies)
        return Heard(answers, repaired, inputs, outputs, *(self._book.cost(self._replies) if self._book else ()))

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
                self._kept(name, reply.kept)
            self._progress(done / len(names), f"{done} of {len(names)} asked" + (" again" if turn else ""))

        if self._book:
            kept = ((name, chats[key]) for name, key in names.items() if name in self._kept)
            self._book.again((name, chat, Reply.of(self._kept[name])) for name, chat in kept)
        try:
            if new:
                self._voice.ask(new, hear)
        finally:
            if self._book:
                self._book.write()
        return {key: self._text(name) for name, key in names.items()}

    def _text(self, name: str) -> str | None:
        if name in self._silent:
            return None
        reply = Reply.of(self._kept[name])
        self._replies.append(reply)
        return reply.text

    def _name(self, key: tuple[int, bool], turn: int) -> str:
        return f"{self._number}/{key[0]}/{'second' if key[1] else 'first'}/{turn}"


def _book(
    platform: Platform, evaluation: Evaluation, asked: Asked, known: PriceList, holding: Holding
) -> Book | None:
    """Who pays for a judge at a provider; one that runs here, from its files, is not paid for by tokens."""
    if asked.connection is None:
        return None
    config, judge = asked.connection.config, asked.judge
    answering = Answering(judge.model_id, judge.name, (config.provider.value, config.model_name), judge.max_tokens)
    return Book(platform, evaluation, answering, known, holding)


def _voice(platform: Platform, task: JudgeTask, asked: Asked, book: Book | None, folder: Path) -> Voice:
    settings = platform.settings
    if asked.connection is not None and book is not None:
        hosts = frozenset(settings.outbound_allowed_hosts)
        server = Server.of(asked.connection, hosts)
        return Asking(server, book, max_tokens=asked.judge.max_tokens, seed=task.suite.seed, at_once=AT_ONCE)
    scratch.fetch(platform, asked.version, folder / "model")
    threads = str(settings.training_threads)
    environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return Local(folder, asked.judge.max_tokens, environment, settings.trainer)


def _part(progress: Progress, task: JudgeTask, at: int) -> Progress:
    name, count = task.judges[at].judge.name, len(task.judges)
    return lambda fraction, message: progress((at + fraction) / count, f"{name}: {message}")
