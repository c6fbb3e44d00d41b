"""Small verbs that bring a platform into a state a test starts from, through the platform's own verbs."""

from collections.abc import Iterator
from uuid import UUID

from llmops_resources.blobs import StoredFile
from llmops_resources.catalog import approvals, evidence, versions
from llmops_resources.catalog.airlock import AirlockReport
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.catalog.lifecycle import Decision, Kind, ModelType, PiiStatus
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Actor
from llmops_resources.platform import Platform

CARD = {"purpose": "answers", "scope": "tests", "contact": "team@internal", "license": "PSF-2.0"}
ADMIN = Actor("local-admin", frozenset({"admin"}))


def stored(platform: Platform, prefix: str, files: dict[str, bytes]) -> list[StoredFile]:
    """Write files into a staging folder and publish them as `prefix`."""
    staged = platform.blobs.stage(prefix)
    written = [platform.blobs.write(f"{staged}/{name}", _one(content)) for name, content in files.items()]
    platform.blobs.publish(prefix, written, staged=staged)
    return written


def uploaded(
    platform: Platform,
    kind: Kind,
    name: str,
    *,
    version: str = "1",
    files: dict[str, bytes] | None = None,
    actor: Actor = ADMIN,
    benchmark: bool = False,
) -> Version:
    """A draft with files."""
    with platform.transaction(actor) as tx:
        entry = versions.create(
            tx,
            kind,
            name=name,
            version=version,
            owner_team="research",
            type=ModelType.BASE if kind is Kind.MODEL else None,
            metadata=CARD,
            benchmark=benchmark,
        )
    prefix = f"{kind}s/{entry.id}/{version}"
    stored(platform, prefix, files or {"part-0001.csv": b"question,answer\nq,a\n"})
    manifest = platform.blobs.manifest(prefix)
    assert manifest is not None
    with platform.transaction(actor) as tx:
        stored_entry = versions.attach_files(tx, entry.id, manifest, prefix=prefix, uri=platform.blobs.uri(prefix))
        if kind is Kind.MODEL:
            passed = AirlockReport(accepted=True, needs_conversion=False, problems=(), summary={})
            evidence.attach_airlock(tx, stored_entry, passed, source_id="test")
        return stored_entry


def validated(platform: Platform, dataset: Version, *, passed: bool = True) -> None:
    """Attach a validation's evidence, as the checks room does."""
    with platform.transaction(Actor("system:test")) as tx:
        status = PiiStatus.CLEAN if passed else PiiStatus.FAILED
        evidence.record_validation(tx, dataset.id, pii_status=status, quality_score=90.0, row_count=1)
        evidence.attach(
            tx,
            dataset.id,
            EvidenceKind.VALIDATION,
            digest=dataset.manifest.digest,
            source_id="test",
            passed=passed,
            summary={"reasons": [] if passed else ["PII was found"]},
        )


def approved(platform: Platform, kind: Kind, name: str, **details: object) -> Version:
    """An approved version with files."""
    entry = uploaded(platform, kind, name, **details)  # type: ignore[arg-type]
    if kind is Kind.DATASET:
        validated(platform, entry)
    return approve(platform, entry.id)


def approve(platform: Platform, version_id: UUID, actor: Actor = ADMIN) -> Version:
    """Submit and approve."""
    with platform.transaction(actor) as tx:
        approvals.submit(tx, version_id)
        return approvals.decide(tx, version_id, Decision.APPROVE)


def _one(content: bytes) -> Iterator[bytes]:
    yield content
