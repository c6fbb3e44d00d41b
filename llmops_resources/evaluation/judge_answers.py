"""What a judge said, read strictly: one JSON object in the form that was asked for, or a reason why there is none.

Nothing is guessed. A number somewhere in the text is no score, and two objects that differ are no answer: one of them
may be quoted from what was judged.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydantic import Field

from llmops_resources.errors import ValidationFailed
from llmops_resources.evaluation.review_rubrics import CriterionKind, Rubric, numbers
from llmops_resources.values import Value

LONGEST_ANSWER: Final = 100_000  # characters
MOST_BRACES: Final = 50  # each costs a reading of what follows it
_KEYS: Final = frozenset({"values", "reason", "confidence"})


class Verdict(Value):
    """A judgement: the number of each criterion as people's are kept, why, and how sure the judge says it is."""

    values: dict[str, float]
    reason: str = ""
    confidence: float | None = Field(default=None, ge=0, le=1)


class Unreadable(Value):
    """An answer that says nothing, and why, in words for the judge that gave it."""

    why: str


class _Refused(ValueError):
    """An object that is none of ours."""


def read(rubric: Rubric, text: str, *, swapped: bool = False) -> Verdict | Unreadable:
    """A judge's answer; `swapped`: it saw the second answer first. Prose and fences around the object are ignored."""
    try:
        return _verdict(rubric, _the_object(text), swapped=swapped)
    except _Refused as refused:
        return Unreadable(why=str(refused))
    except ValidationFailed as refused:
        wrong = (f"{problem['path']} {problem['problem']}. {problem['remedy']}" for problem in refused.details)
        return Unreadable(why="; ".join(wrong).rstrip("."))


def _the_object(text: str) -> dict[str, Any]:
    if len(text) > LONGEST_ANSWER:
        raise _Refused("it is longer than any judgement")
    try:
        objects = _distinct(_objects(_spoken(text)))
    except RecursionError:
        raise _Refused("its JSON is nested too deeply") from None
    if not objects:
        raise _Refused("there is no JSON object in it")
    if len(objects) > 1:
        raise _Refused("it has several JSON objects, and they differ")
    return objects[0]


def _verdict(rubric: Rubric, said: dict[str, Any], *, swapped: bool) -> Verdict:
    if unknown := sorted(set(said) - _KEYS):
        raise _Refused(f"the object has keys that were not asked for: {', '.join(key[:40] for key in unknown[:5])}")
    given = said.get("values")
    if not isinstance(given, dict):
        raise _Refused('the object has no "values" object')
    whole = {name: _whole(value) for name, value in given.items()}
    confidence = said.get("confidence")
    if confidence is not None and (
        isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1
    ):
        raise _Refused('"confidence" is no number from 0 to 1')
    reason = said.get("reason", "")
    if not isinstance(reason, str):
        raise _Refused('"reason" is no text')
    if rubric.reason_required and not reason.strip():
        raise _Refused('"reason" is missing')
    kept = numbers(rubric, {name: _word(rubric, name, value) for name, value in whole.items()}, swapped=swapped)
    return Verdict(values=kept, reason=reason[:2_000], confidence=confidence)


def _spoken(text: str) -> str:
    """What comes after a model's thoughts, where it begins with them."""
    begun = text.lstrip()
    if begun.startswith("<think>"):
        _thoughts, ended, rest = begun.partition("</think>")
        return rest if ended else ""
    return text


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects of a text; a brace that begins none is passed by."""
    decoder = json.JSONDecoder(object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    at, tried = text.find("{"), 0
    while at >= 0:
        tried += 1
        if tried > MOST_BRACES:
            raise _Refused("it has too many braces")
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            end = at + 1
        else:
            yield value
        at = text.find("{", end)


def _distinct(objects: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(value, sort_keys=True): value for value in objects}.values())


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _Refused("an object has a key twice")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise _Refused(f"{name} is no value")


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _word(rubric: Rubric, name: str, value: Any) -> Any:
    """Words are taken in any case."""
    kinds = {criterion.name: criterion.kind for criterion in rubric.criteria}
    plain = kinds.get(name) is CriterionKind.SCALE or not isinstance(value, str)
    return value if plain else value.strip().lower()
