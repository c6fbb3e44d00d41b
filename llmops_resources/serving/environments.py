"""The environments, from the one that is tried in to the one that counts."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Environment(StrEnum):
    DEV = "dev"
    STG = "stg"
    PROD = "prod"


#: Where a route is looked for before it is promoted to an environment; the first that has it is the one compared with.
BELOW: Final[Mapping[Environment, tuple[Environment, ...]]] = {
    Environment.DEV: (),
    Environment.STG: (Environment.DEV,),
    Environment.PROD: (Environment.STG, Environment.DEV),
}
#: Where an endpoint must say how it is taken back.
NEED_A_PLAN: Final = frozenset({Environment.STG, Environment.PROD})
