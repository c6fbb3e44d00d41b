"""What questions over HTTP cost: set aside in the team's budgets before they are asked, booked in the ledger after."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID, uuid5

from llmops_assets.claims import ACTOR
from llmops_assets.evaluation.completions import Reply
from llmops_resources.cost import ledger
from llmops_resources.cost.budgets import check_priced
from llmops_resources.cost.holding import Held, Holding
from llmops_resources.cost.ledger import Entry
from llmops_resources.cost.prices import Price, PriceList
from llmops_resources.errors import PlatformError
from llmops_resources.evaluation.judge_prompts import Message
from llmops_resources.evaluation.runs import Evaluation
from llmops_resources.gateway.asks import bounds_of
from llmops_resources.platform import Platform
from llmops_resources.values import utc_now

BOOKED_AT_ONCE: Final = 25
ROUTE: Final = "evaluation"  # of the ledger's entries: no route was called
UNPRICED: Final = "USD"
Chat = Sequence[Message]


@dataclass(frozen=True)
class Answering:
    """The catalog's model that is asked, under which provider and model it has its price, and its longest answer."""

    model_id: UUID
    name: str
    priced_as: tuple[str, str]
    max_tokens: int


class Book:
    """The spending of a run on one model: an entry of the ledger for each answer, written some at a time.

    The holding's team pays. Each entry is named by the run, the question and when it was asked, so an answer is booked
    once however often it comes, and one that was lost and asked for again twice. Where its server did not count, its
    tokens are by the gateway's rule of thumb.
    """

    def __init__(
        self, platform: Platform, run: Evaluation, answering: Answering, known: PriceList, holding: Holding
    ) -> None:
        self._platform, self._run, self._answering = platform, run, answering
        self._known, self._holding = known, holding
        self._held: dict[str, Held] = {}
        self._waiting: list[Entry] = []

    def reserve(self, name: str, chat: Chat) -> None:
        """Set aside the most that a question can cost, where the team has a budget.

        Raises Conflict when a budget has no such amount left or cannot be kept without a price, and Unavailable.
        """
        budgets = self._holding.budgets()
        if not budgets:
            return
        now = check_priced(self._price_now(), self._answering.priced_as, budgets)
        bounds = bounds_of((each.content for each in chat), self._answering.max_tokens)
        self._held[name] = self._holding.reserve(now.of(bounds.prompt, bounds.completion))

    def settle(self, name: str, chat: Chat, reply: Reply) -> None:
        """Give back what was set aside for a question, but for what its answer took, which is booked."""
        entry = None if reply.text is None else self._entry(name, chat, reply)
        if held := self._held.pop(name, None):
            self._holding.settle(held, entry.amount if entry else Decimal(0))
        if entry:
            self._add([entry])

    def again(self, kept: Iterable[tuple[str, Chat, Reply]]) -> None:
        """Book answers that an earlier attempt kept, and perhaps could not book."""
        self._add([self._entry(name, chat, reply) for name, chat, reply in kept])
        self.write()

    def write(self) -> None:
        """Book what waits. A database that is away now is asked again with the next answers."""
        with suppress(PlatformError), self._platform.transaction(ACTOR) as tx:
            ledger.append(tx, self._waiting)
            self._waiting = []

    def cost(self, replies: Iterable[Reply]) -> tuple[Decimal | None, str | None]:
        """What answers cost and in which currency; (None, None) where a price or a count is missing."""
        total, currencies = Decimal(0), set[str]()
        for reply in replies:
            price = self._price(reply)
            if price is None or reply.input_tokens is None or reply.output_tokens is None:
                return None, None
            total += price.of(reply.input_tokens, reply.output_tokens)
            currencies.add(price.currency)
        return (total, currencies.pop()) if len(currencies) == 1 else (None, None)

    def _price(self, reply: Reply) -> Price | None:
        """What held when it was asked."""
        return self._known.at(*self._answering.priced_as, reply.at) if reply.at else None

    def _price_now(self) -> Price | None:
        return self._known.at(*self._answering.priced_as, utc_now())

    def _add(self, entries: Sequence[Entry]) -> None:
        self._waiting += entries
        if len(self._waiting) >= BOOKED_AT_ONCE:
            self.write()

    def _entry(self, name: str, chat: Chat, reply: Reply) -> Entry:
        price, run = self._price(reply), self._run
        inputs, outputs = _tokens(chat, reply)
        at = reply.at or run.state.requested_at
        return Entry(
            id=uuid5(run.id, f"answer/{name}/{at.isoformat()}"),
            at=at,
            team=self._holding.team,
            key_id=None,
            actor_id=run.state.requested_by,
            route=ROUTE,
            model_id=self._answering.model_id,
            model=self._answering.name,
            prompt_tokens=inputs,
            completion_tokens=outputs,
            amount=price.of(inputs, outputs) if price else Decimal(0),
            currency=price.currency if price else UNPRICED,
            price_id=price.id if price else None,
            holder=self._holding.holder,
        )


def _tokens(chat: Chat, reply: Reply) -> tuple[int, int]:
    """As the server counted them, or by the rule of thumb: an answer that nobody counted is not free."""
    if reply.input_tokens is not None and reply.output_tokens is not None:
        return reply.input_tokens, reply.output_tokens
    texts = (each.content for each in chat), (reply.text or "",)
    prompt, answer = (bounds_of(each, 0).expected_prompt for each in texts)
    return prompt, answer
