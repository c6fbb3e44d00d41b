"""An evaluation whose answers come over HTTP: from the provider of an external model, or from a deployed endpoint.

Each answer is on the disk before the next is counted, so that an attempt that follows a killed one asks, and pays, for
what is missing only. What was asked is booked in the ledger under the run, each answer once however often it is booked.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal
from uuid import uuid5

from yarl import URL

from llmops_assets.claims import ACTOR
from llmops_assets.evaluation import scored
from llmops_assets.evaluation.completions import Asking, Reply, Server
from llmops_assets.evaluation.partial import PARTIAL, Partial
from llmops_resources.catalog import providers
from llmops_resources.catalog.lifecycle import ModelType
from llmops_resources.catalog.versions import Version
from llmops_resources.cost import ledger, prices
from llmops_resources.cost.ledger import Entry
from llmops_resources.cost.prices import INTERNAL, Price, PriceList
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, PlatformError, Unavailable, UpstreamFailed
from llmops_resources.evaluation.judge_prompts import Message
from llmops_resources.evaluation.runs import Evaluation, EvaluationTask, Result
from llmops_resources.evaluation.suite import Suite
from llmops_resources.evaluation.through import Generation, Through
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import EndpointStatus
from llmops_resources.values import sha256_of

BOOKED_AT_ONCE: Final = 25
ROUTE: Final = "evaluation"  # of the ledger's entries: no route was called
UNPRICED: Final = "USD"
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Origin:
    """Who is asked: the server, under which provider and model it has its price, and which revision of an endpoint."""

    server: Server
    by: Literal["provider", "endpoint"]
    priced_as: tuple[str, str]
    revision: int | None = None


def evaluate(platform: Platform, task: EvaluationTask, through: Through, work: Path, progress: Progress) -> Result:
    """Ask, score, and say what it took; `work` is the run's own folder with the benchmark in `data`.

    Raises:
        UpstreamFailed: nobody answered, or the server failed so often in a row that the rest was not asked.
        Conflict, Unavailable: the model or the endpoint cannot be asked, or the endpoint changed meanwhile.
        InvalidInput, ValidationFailed: the benchmark cannot be read.
    """
    began = time.monotonic()
    run, suite = task.evaluation, task.evaluation.suite
    with platform.transaction(ACTOR) as tx:
        origin = _origin(tx, platform, task.model, through)
        book = _Book(platform, run, task.model, origin, prices.load(tx))
    chosen = scored.sampled(work, suite)
    prompts = {str(number): prompt for number, (prompt, _) in chosen if prompt}
    identity = sha256_of([suite.json_dict(), through.json_dict(), task.model.digest, origin.revision, prompts])
    with Partial(work / PARTIAL, identity) as kept:
        _ask(origin, suite, through, prompts, kept, book, progress)
        replies = {name: _kept(kept, name) for name in prompts if name in kept}
    if origin.by == "endpoint":
        with platform.transaction(ACTOR) as tx:
            now = _origin(tx, platform, task.model, through)
        if now.revision != origin.revision:
            raise Conflict("the endpoint changed while it was asked", remedy="Request the evaluation again.")
    texts = [replies[str(number)].text if str(number) in replies else None for number, _ in chosen]
    progress(0.85, "scoring")
    found = scored.scored(work, suite, chosen, texts, [], progress)
    found["generation"] = _generation(origin, prompts, replies, book).json_dict()
    found["protocol"] = _protocol(suite, origin) | {"seconds": round(time.monotonic() - began, 3)}
    return Result.model_validate(found)


def _ask(
    origin: Origin, suite: Suite, through: Through, prompts: dict[str, str], kept: Partial, book: "_Book",
    progress: Progress,
) -> None:  # fmt: skip
    new = {name: [Message(role="user", content=text)] for name, text in prompts.items() if name not in kept}
    done, problems = len(prompts) - len(new), list[str]()
    book.add((name, _kept(kept, name)) for name in prompts if name in kept)

    def hear(name: str, reply: Reply) -> None:
        nonlocal done
        done += 1
        if reply.text is None:
            problems.append(reply.problem)
        else:
            at = reply.at.isoformat() if reply.at else None
            kept(name, lambda: [reply.text, reply.input_tokens, reply.output_tokens, at])
            book.add([(name, reply)])
        progress(0.1 + 0.7 * done / len(prompts), f"{done} of {len(prompts)} asked")

    try:
        asking = Asking(origin.server, max_tokens=suite.max_new_tokens, seed=suite.seed, at_once=through.at_once)
        asking.ask(new, hear)
    finally:
        book.write()
    if any(problem.startswith("not asked") for problem in problems) or (problems and len(problems) == len(prompts)):
        raise UpstreamFailed(f"the model was not asked to the end: {problems[0]}", remedy="Test it, then try again.")


def _kept(kept: Partial, name: str) -> Reply:
    text, inputs, outputs, at = kept(name, _never)
    return Reply(str(text), "", inputs, outputs, datetime.fromisoformat(at) if at else None)


def _never() -> Any:
    raise AssertionError("an answer that was kept is there")


def _origin(tx: Transaction, platform: Platform, model: Version, through: Through) -> Origin:
    hosts = frozenset(platform.settings.outbound_allowed_hosts)
    by: Literal["provider", "endpoint"] = "provider"
    revision = None
    if through.endpoint_id is not None:
        endpoint = endpoints.get(tx, through.endpoint_id)
        revision, by = endpoint.revision, "endpoint"
        if endpoint.model_digest != model.digest:
            raise Conflict(f"{endpoint.route} serves another model by now", remedy="Request the evaluation again.")
        if model.type is not ModelType.EXTERNAL:
            if not endpoint.base_url or endpoint.status is not EndpointStatus.HEALTHY:
                raise Unavailable(f"{endpoint.route} is {endpoint.status}", remedy="Wait until it is healthy.")
            inside = frozenset({URL(endpoint.base_url).authority})
            server = Server(f"{endpoint.base_url}/v1", endpoint.route, inside)
            return Origin(server, "endpoint", (INTERNAL, model.name), revision)
    connection = providers.connect(tx, platform.settings, model)
    priced_as = connection.config.provider.value, connection.config.model_name
    return Origin(Server.of(connection, hosts), by, priced_as, revision)


class _Book:
    """What answers cost: an entry of the ledger for each, written some at a time."""

    def __init__(self, platform: Platform, run: Evaluation, model: Version, origin: Origin, known: PriceList) -> None:
        self._platform, self._run, self._model = platform, run, model
        self._origin, self._known = origin, known
        self._waiting: list[Entry] = []

    def price(self, reply: Reply) -> Price | None:
        """What held when it was asked."""
        return self._known.at(*self._origin.priced_as, reply.at) if reply.at else None

    def add(self, replies: Iterable[tuple[str, Reply]]) -> None:
        """Answers to book; the same answer is the same entry."""
        self._waiting += [self._entry(name, reply) for name, reply in replies]
        if len(self._waiting) >= BOOKED_AT_ONCE:
            self.write()

    def write(self) -> None:
        """Book what waits. A database that is away now is asked again with the next answers."""
        with suppress(PlatformError), self._platform.transaction(ACTOR) as tx:
            ledger.append(tx, self._waiting)
            self._waiting = []

    def _entry(self, name: str, reply: Reply) -> Entry:
        price, run = self.price(reply), self._run
        inputs, outputs = reply.input_tokens or 0, reply.output_tokens or 0
        return Entry(
            id=uuid5(run.id, f"answer/{name}"),
            at=reply.at or run.state.requested_at,
            team=self._model.owner_team,
            key_id=None,
            actor_id=run.state.requested_by,
            route=ROUTE,
            model_id=run.model_id,
            model=f"{run.model_name} {run.model_version}",
            prompt_tokens=inputs,
            completion_tokens=outputs,
            amount=price.of(inputs, outputs) if price else Decimal(0),
            currency=price.currency if price else UNPRICED,
            price_id=price.id if price else None,
        )


def _generation(origin: Origin, prompts: dict[str, str], replies: dict[str, Reply], book: _Book) -> Generation:
    inputs = [reply.input_tokens for reply in replies.values()]
    outputs = [reply.output_tokens for reply in replies.values()]
    cost, currency = _cost(list(replies.values()), book)
    return Generation(
        by=origin.by, asked=len(prompts), answered=len(replies), unanswered=len(prompts) - len(replies),
        input_tokens=_total(inputs), output_tokens=_total(outputs), cost=cost, currency=currency,
    )  # fmt: skip


def _cost(replies: list[Reply], book: _Book) -> tuple[Decimal | None, str | None]:
    total, currencies = Decimal(0), set[str]()
    for reply in replies:
        price = book.price(reply)
        if price is None or reply.input_tokens is None or reply.output_tokens is None:
            return None, None
        total += price.of(reply.input_tokens, reply.output_tokens)
        currencies.add(price.currency)
    return (total, currencies.pop()) if len(currencies) == 1 else (None, None)


def _total(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _protocol(suite: Suite, origin: Origin) -> dict[str, Any]:
    return {
        **scored.protocol(suite),
        "asked": f"as a chat of one turn, through the {origin.by}",
        "model": origin.server.model,
        "revision": origin.revision,
        "decoding": {
            "method": "temperature 0",
            "maxNewTokens": suite.max_new_tokens,
            "seed": suite.seed,
            "repeatable": False,
        },
        "precision": f"the {origin.by}'s",
    }
