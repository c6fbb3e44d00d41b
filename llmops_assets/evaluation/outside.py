"""An evaluation whose answers come over HTTP: from the provider of an external model, or from a deployed endpoint.

Each answer is on the disk before the next is counted, so that an attempt that follows a killed one, or one that ended
because the team's budget was used up, asks and pays for what is missing only.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from yarl import URL

from llmops_assets.claims import ACTOR
from llmops_assets.evaluation import scored
from llmops_assets.evaluation.completions import Asking, Reply, Server, total
from llmops_assets.evaluation.partial import PARTIAL, Partial
from llmops_assets.evaluation.paying import Answering, Book
from llmops_resources.catalog import providers
from llmops_resources.catalog.lifecycle import ModelType
from llmops_resources.catalog.versions import Version
from llmops_resources.cost import prices
from llmops_resources.cost.holding import Holding
from llmops_resources.cost.prices import INTERNAL
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, Unavailable, UpstreamFailed
from llmops_resources.evaluation.judge_prompts import Message
from llmops_resources.evaluation.runs import EvaluationTask, Result
from llmops_resources.evaluation.suite import Suite
from llmops_resources.evaluation.through import Generation, Through
from llmops_resources.platform import Platform
from llmops_resources.serving import endpoints
from llmops_resources.serving.endpoints import EndpointStatus
from llmops_resources.values import sha256_of

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
        Conflict, Unavailable: the model or the endpoint cannot be asked, the endpoint changed meanwhile, or the budget
            of the model's team is used up: what was answered until then is kept.
        InvalidInput, ValidationFailed: the benchmark cannot be read.
    """
    began = time.monotonic()
    run, suite = task.evaluation, task.evaluation.suite
    with platform.transaction(ACTOR) as tx:
        origin, known = _origin(tx, platform, task.model, through), prices.load(tx)
    chosen = scored.sampled(work, suite)
    prompts = {str(number): prompt for number, (prompt, _) in chosen if prompt}
    identity = sha256_of([suite.json_dict(), through.json_dict(), task.model.digest, origin.revision, prompts])
    with (
        Partial(work / PARTIAL, identity) as kept,
        Holding(lambda: platform.transaction(ACTOR), run.id, task.model.owner_team) as holding,
    ):
        name = f"{run.model_name} {run.model_version}"
        answering = Answering(run.model_id, name, origin.priced_as, suite.max_new_tokens)
        book = Book(platform, run, answering, known, holding)
        _ask(origin, suite, through, prompts, kept, book, progress)
        replies = {name: Reply.of(kept[name]) for name in prompts if name in kept}
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
    origin: Origin, suite: Suite, through: Through, prompts: dict[str, str], kept: Partial, book: Book,
    progress: Progress,
) -> None:  # fmt: skip
    chats = {name: [Message(role="user", content=text)] for name, text in prompts.items()}
    new = {name: chat for name, chat in chats.items() if name not in kept}
    done, problems = len(chats) - len(new), list[str]()
    book.again((name, chat, Reply.of(kept[name])) for name, chat in chats.items() if name in kept)

    def hear(name: str, reply: Reply) -> None:
        nonlocal done
        done += 1
        if reply.text is None:
            problems.append(reply.problem)
        else:
            kept(name, reply.kept)
        progress(0.1 + 0.7 * done / len(prompts), f"{done} of {len(prompts)} asked")

    try:
        asking = Asking(origin.server, book, max_tokens=suite.max_new_tokens, seed=suite.seed, at_once=through.at_once)
        asking.ask(new, hear)
    finally:
        book.write()
    if any(problem.startswith("not asked") for problem in problems) or (problems and len(problems) == len(prompts)):
        raise UpstreamFailed(f"the model was not asked to the end: {problems[0]}", remedy="Test it, then try again.")


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


def _generation(origin: Origin, prompts: dict[str, str], replies: dict[str, Reply], book: Book) -> Generation:
    inputs = total(reply.input_tokens for reply in replies.values())
    outputs = total(reply.output_tokens for reply in replies.values())
    cost, currency = book.cost(replies.values())
    return Generation(
        by=origin.by, asked=len(prompts), answered=len(replies), unanswered=len(prompts) - len(replies),
        input_tokens=inputs, output_tokens=outputs, cost=cost, currency=currency,
    )  # fmt: skip


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
