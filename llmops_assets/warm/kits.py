"""What each warm server has imported, and the programs it may become.

Polars, pyarrow and, where runs come from, NumPy are not among it: their threads would be missing after a fork.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Kit:
    """What it becomes: the beginnings of commands, and what `ps -o comm` shows of each (15 bytes at most).

    `environment` is what imports read. `ended` names a function, `module:name`, that is told the name and the exit
    status of a lasting program that ended badly.
    """

    loaded: tuple[str, ...]
    programs: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ended: str = ""

    def name_of(self, module: str, arguments: Sequence[str]) -> str | None:
        """What `python -m module arguments…` is called; None when it is no program of this kit."""
        words = [module, *arguments]
        starts = ((start.split(), name) for start, name in self.programs.items())
        return next((name for start, name in starts if words[: len(start)] == start), None)


TRAINER: Final = Kit(
    loaded=(
        "torch", "transformers", "accelerate", "transformers.models.llama.modeling_llama",
        *(f"llmops_assets.training.{name}" for name in ("models", "tokens", "checkpoints", "system", "sources")),
        *(f"llmops_assets.training.{name}" for name in ("muon", "environment", "metrics", "card")),
        "transformers.models.auto.modeling_auto", "llmops_assets.evaluation.generate",
        "llmops_resources.evaluation.suite",
    ),
    programs={
        "llmops_assets.training.sft": "llmops-train",
        "llmops_assets.evaluation.score": "llmops-score",
        "llmops_assets.evaluation.replies": "llmops-judge",
    },
    environment={"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},  # programs are told the same
)  # fmt: skip

#: The first is the command that Dagster's other launchers start for a run, the second serves the definitions.
LAUNCHER: Final = Kit(
    loaded=(
        "dagster", "dagster._cli.api", "dagster_postgres", "dagster_postgres.storage", "psycopg2.extras",
        *(f"dagster._core.{name}" for name in ("instance.factory", "storage.root", "storage.sqlite_storage")),
        *(f"dagster._core.{name}" for name in ("executor.in_process", "storage.local_compute_log_manager")),
        "dagster._core.definitions.repository_definition.repository_data_builder", "upath.implementations.local",
        "alembic.command", "sqlalchemy.dialects.postgresql.psycopg", "aiohttp", "lxml.etree", "regex",
        *(f"llmops_assets.{name}" for name in ("catalog.assets", "training.assets", "serving.assets")),
        *(f"llmops_assets.{name}" for name in ("launching.ends", "admission", "code_server", "sensors")),
        *(f"llmops_resources.{name}" for name in ("dagster", "prompts.library", "prompts.bindings", "cost.holding")),
        *(f"llmops_resources.{name}" for name in ("catalog.recalls", "catalog.delivery", "catalog.uploads.sessions")),
        *(f"llmops_resources.{name}" for name in ("gateway.external", "gateway.policies", "gateway.retention")),
        *(f"llmops_resources.{name}" for name in ("evaluation.contamination", "evaluation.through")),
        *(f"llmops_resources.{name}" for name in ("training.queueing", "training.mirroring", "training.retention")),
        *(f"llmops_resources.{name}" for name in ("serving.deployments", "serving.events", "impact.graph")),
        *(f"llmops_resources.checks.{name}" for name in ("bytes", "tables", "formats", "problems", "display")),
    ),
    programs={"dagster api execute_run": "llmops-run", "dagster api grpc": "llmops-code"},
    ended="llmops_assets.launching.ends:report",
)  # fmt: skip

KITS: Final[Mapping[str, Kit]] = {"trainer": TRAINER, "launcher": LAUNCHER}
