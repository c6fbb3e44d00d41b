"""Which files of a model's folder or repository are brought in: one set of weights, and what runs with it."""

import re
from collections.abc import Iterable
from typing import Final

from llmops_resources.catalog.airlock.names import INDEX, SINGLE, Role, is_top, role_of

_SHARD: Final = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")


def select(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """(brought in, left out), each sorted. Code, pictures, archives and further copies of the weights are left out.

    Pickled weights are brought in only where there are no safetensors.
    """
    everything = sorted(set(paths))
    roles = {path: role for path in everything if is_top(path) and (role := role_of(path)) is not None}
    weights = {path for path, role in roles.items() if role is Role.WEIGHTS}
    if weights:
        wanted = _one_set(weights, indexed=INDEX in roles)
        unwanted = weights - wanted | {path for path, role in roles.items() if role is Role.PICKLED_WEIGHTS}
        unwanted |= {path for path in roles if path.endswith((".bin.index.json", ".pt.index.json"))}
        if wanted == {SINGLE}:
            unwanted.add(INDEX)
        roles = {path: role for path, role in roles.items() if path not in unwanted}
    return [path for path in everything if path in roles], [path for path in everything if path not in roles]


def _one_set(weights: set[str], *, indexed: bool) -> set[str]:
    shards = {path for path in weights if _SHARD.fullmatch(path)}
    if indexed and shards:
        return shards
    return {SINGLE} if SINGLE in weights else weights
