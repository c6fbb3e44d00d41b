"""The airlock: what a model's files must pass before they become a version.

Formats are on an allow-list and their headers are parsed here, in plain Python and within bounds, before any library
that loads models meets them. Nothing is executed, unpickled or unpacked.
"""

from llmops_resources.catalog.airlock.inspection import inspect
from llmops_resources.catalog.airlock.report import AirlockProblem, AirlockReport, shown

__all__ = ["AirlockProblem", "AirlockReport", "inspect", "shown"]
