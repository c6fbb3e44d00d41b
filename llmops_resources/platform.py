"""The composition root: Settings → Platform, opened once per process and handed to everything that needs a door."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine

from llmops_resources import database, work
from llmops_resources.blobs import Blobs, open_blobs
from llmops_resources.checks.options import CheckOptions, CustomRecognizer
from llmops_resources.cluster import Cluster, open_cluster
from llmops_resources.database import Actor, Transaction
from llmops_resources.governance import audit
from llmops_resources.settings import Settings


@dataclass(frozen=True)
class Platform:
    """The doors of one process."""

    settings: Settings
    engine: Engine
    blobs: Blobs

    def transaction(self, actor: Actor) -> AbstractContextManager[Transaction]:
        """One unit of work: rows, audit entries and requests commit together, or nothing does."""
        return database.unit_of_work(
            self.engine,
            actor,
            audit.append,
            single_user=self.settings.single_user,
            channels=self.settings.channels,
        )

    def check_options(self) -> CheckOptions:
        """What the settings ask of every data check. Raises InvalidInput for a bad PII_RECOGNIZERS_FILE."""
        described = self.settings.pii_recognizers_file
        return CheckOptions(
            custom_recognizers=_recognizers(described) if described else (),
            quality_threshold=float(self.settings.quality_threshold),
            blocking_types=self.settings.pii_blocking_types,
            ner_sample_rows=self.settings.pii_ner_sample_rows,
            spacy_model=self.settings.pii_spacy_model,
            max_row_bytes=self.settings.max_row_bytes,
        )

    def cluster(self) -> AbstractContextManager[Cluster]:
        """The Kubernetes cluster of TRAINING_BACKEND=kubernetes. Raises Unavailable when there is none to be found."""
        return open_cluster(
            namespace=self.settings.kubernetes_namespace,
            server=self.settings.kubernetes_server,
            kubeconfig=self.settings.kubeconfig_file,
            context=self.settings.kubernetes_context,
        )

    def lease(self, row_id: UUID) -> AbstractContextManager[None]:
        """Hold a work row's lease while the block runs. Raises Conflict when another process holds it."""
        return work.lease(self.engine, row_id)


@contextmanager
def open_platform(settings: Settings, *, application: str = "llmops") -> Iterator[Platform]:
    """Open the doors, and close them at the end.

    Raises InvalidInput for unsafe settings, Unavailable when there is no database to be found.
    """
    settings.check()
    engine = database.connect(database_url(settings), application=application)
    try:
        yield Platform(settings=settings, engine=engine, blobs=open_blobs_of(settings))
    finally:
        engine.dispose()


def database_url(settings: Settings) -> str:
    """DATABASE_URL, or the address of the embedded server of this home. Raises Unavailable when it is not running."""
    if settings.database_url:
        return settings.database_url
    from llmops_resources import postgres  # noqa: PLC0415  what looks after servers is not for who is given one

    return postgres.url(settings.home / "postgres")


def open_blobs_of(settings: Settings) -> Blobs:
    """The object store the settings name."""
    return open_blobs(
        settings.objects,
        endpoint=settings.object_store_endpoint,
        access_key=settings.aws_access_key_id,
        secret_key=settings.aws_secret_access_key,
        region=settings.aws_region,
    )


def _recognizers(path: Path) -> tuple[CustomRecognizer, ...]:
    from llmops_resources.checks.custom import read_recognizers  # noqa: PLC0415 - imports Presidio: seconds

    return read_recognizers(path)
