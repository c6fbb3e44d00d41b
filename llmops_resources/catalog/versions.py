"""Versions of models and data sets: created, filled with files once, read, listed."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from llmops_resources import pages
from llmops_resources.blobs import Manifest, StoredFile
from llmops_resources.catalog.lifecycle import Kind, ModelType, PiiStatus, Status
from llmops_resources.catalog.tables import VersionRow
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict, NotFound, ValidationFailed, field_problem
from llmops_resources.pages import Page, Position
from llmops_resources.values import Value

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


class Version(Value):
    """A version of a model or data set. `digest` is `sha256:<hex>` over its files, None until they are there."""

    id: UUID
    kind: Kind
    name: str
    version: str
    type: ModelType | None
    status: Status
    owner_team: str
    created_by: str
    created_at: datetime
    submitted_by: str | None
    change_log: str
    metadata: dict[str, Any]
    expected_schema: dict[str, Any] | None
    benchmark: bool
    digest: str | None
    storage_uri: str | None
    files: tuple[StoredFile, ...]
    size_bytes: int
    pii_status: PiiStatus | None
    quality_score: float | None
    row_count: int | None
    dagster_asset_key: tuple[str, ...]

    @property
    def manifest(self) -> Manifest:
        """The files and their digest. Raises Conflict while nothing has been uploaded."""
        if self.digest is None:
            raise Conflict(f"{self.name} {self.version} has no files yet", remedy="Upload its files first.")
        return Manifest(files=self.files, digest=self.digest)


def create(
    tx: Transaction,
    kind: Kind,
    *,
    name: str,
    version: str,
    owner_team: str,
    type: ModelType | None = None,  # noqa: A002  the specification's name
    change_log: str = "",
    metadata: dict[str, Any] | None = None,
    expected_schema: dict[str, Any] | None = None,
    benchmark: bool = False,
    id: UUID | None = None,  # noqa: A002  the column's name
) -> Version:
    """A new version in `draft`. Raises ValidationFailed for bad names, Conflict when the version exists."""
    _check_names(name, version, owner_team)
    row = VersionRow(
        id=id or uuid4(),
        kind=kind,
        name=name,
        version=version,
        type=type,
        status=Status.DRAFT,
        owner_team=owner_team.strip(),
        created_by=tx.actor.id,
        change_log=change_log,
        card=metadata or {},
        expected_schema=expected_schema,
        benchmark=benchmark,
        pii_status=PiiStatus.PENDING if kind is Kind.DATASET else None,
    )
    try:
        with tx.session.begin_nested():
            tx.session.add(row)
    except IntegrityError:
        raise Conflict(
            f"{kind} {name} {version} exists already", remedy="Versions are immutable: choose another version."
        ) from None
    tx.audit(f"{kind}.create", kind, row.id, name=name, version=version)
    return value(row)


def attach_files(tx: Transaction, version_id: UUID, manifest: Manifest, *, prefix: str, uri: str) -> Version:
    """Give a draft its files. The same files again change nothing; other bytes are refused with Conflict."""
    row = load(tx, version_id)
    if row.digest == manifest.digest:
        return value(row)
    if row.digest is not None:
        raise Conflict(
            f"{row.kind} {row.name} {row.version} already has files, with another content",
            remedy="A version is immutable: create a new version for the new files.",
        )
    if row.status != Status.DRAFT:
        raise Conflict(f"{row.name} {row.version} is {row.status}", remedy="Files can be added to drafts only.")
    row.digest, row.storage_uri, row.storage_prefix = manifest.digest, uri, prefix
    row.files = [file.json_dict() for file in manifest.files]
    row.size_bytes = sum(file.size for file in manifest.files)
    tx.audit(f"{row.kind}.upload", row.kind, row.id, digest=manifest.digest, bytes=row.size_bytes)
    return value(row)


def change_card(tx: Transaction, version_id: UUID, metadata: dict[str, Any]) -> Version:
    """Replace the metadata of a draft. Raises Conflict once it is under review."""
    row = load(tx, version_id)
    if row.status not in {Status.DRAFT, Status.REJECTED}:
        raise Conflict(f"{row.name} {row.version} is {row.status}", remedy="Only a draft's card can be changed.")
    row.card = metadata
    tx.audit(f"{row.kind}.card", row.kind, row.id, fields=sorted(metadata))
    return value(row)


def get(tx: Transaction, version_id: UUID | str, kind: Kind | None = None) -> Version:
    """One version. Raises NotFound."""
    try:
        row = tx.session.get(VersionRow, UUID(str(version_id)))
    except ValueError:
        row = None
    if row is None or (kind is not None and row.kind != kind):
        noun = kind or "version"
        raise NotFound(f"there is no {noun} {version_id}", remedy=f"List the {noun}s of the catalog to find its id.")
    return value(row)


def of_entry(tx: Transaction, version_id: UUID | str, kind: Kind, version: str) -> Version:
    """The version so called of the entry that `version_id` is one version of. Raises NotFound."""
    entry = get(tx, version_id, kind)
    found = entry if entry.version == version else find(tx, kind, entry.name, version)
    if found is None:
        raise NotFound(f"{entry.name} has no version {version}", remedy="List its versions.")
    return found


def find(tx: Transaction, kind: Kind, name: str, version: str) -> Version | None:
    """The version with this name, if there is one."""
    row = tx.session.scalar(select(VersionRow).filter_by(kind=kind, name=name, version=version))
    return value(row) if row else None


def of_name(tx: Transaction, kind: Kind, name: str) -> list[Version]:
    """All versions of a name, newest first."""
    query = select(VersionRow).filter_by(kind=kind, name=name).order_by(VersionRow.created_at.desc(), VersionRow.id)
    return [value(row) for row in tx.session.scalars(query)]


def search(
    tx: Transaction,
    kind: Kind,
    *,
    filters: dict[str, Any],
    name_contains: str | None = None,
    min_quality: float | None = None,
    max_quality: float | None = None,
    after: Position | None = None,
    limit: int = 50,
) -> Page[Version]:
    """Versions matching every filter (exact column values), newest first, after the given position."""
    query = select(VersionRow).filter_by(kind=kind, **{k: v for k, v in filters.items() if v is not None})
    if name_contains:
        query = query.where(VersionRow.name.contains(name_contains, autoescape=True))
    if min_quality is not None:
        query = query.where(VersionRow.quality_score >= min_quality)
    if max_quality is not None:
        query = query.where(VersionRow.quality_score <= max_quality)
    order = (VersionRow.created_at, VersionRow.id)
    return pages.fetch(tx, query, order, after=after, limit=limit, value=value)


def next_version(tx: Transaction, kind: Kind, name: str) -> str:
    """The next whole number that no version of this name uses yet."""
    numbers = [int(v.version) for v in of_name(tx, kind, name) if v.version.isdecimal()]
    return str(max(numbers, default=0) + 1)


def load(tx: Transaction, version_id: UUID | str) -> VersionRow:
    """The row, locked until the transaction ends; for the catalog's own verbs. Raises NotFound."""
    get(tx, version_id)
    row = tx.session.get(VersionRow, UUID(str(version_id)), with_for_update=True)
    assert row is not None  # noqa: S101  get() found it in this transaction
    return row


def value(row: VersionRow) -> Version:
    """The public value of a row."""
    files: Sequence[dict[str, Any]] = row.files
    return Version(
        id=row.id,
        kind=Kind(row.kind),
        name=row.name,
        version=row.version,
        type=ModelType(row.type) if row.type else None,
        status=Status(row.status),
        owner_team=row.owner_team,
        created_by=row.created_by,
        created_at=row.created_at,
        submitted_by=row.submitted_by,
        change_log=row.change_log,
        metadata=row.card,
        expected_schema=row.expected_schema,
        benchmark=row.benchmark,
        digest=row.digest,
        storage_uri=row.storage_uri,
        files=tuple(StoredFile.model_validate(file) for file in files),
        size_bytes=row.size_bytes,
        pii_status=PiiStatus(row.pii_status) if row.pii_status else None,
        quality_score=row.quality_score,
        row_count=row.row_count,
        dagster_asset_key=(f"{row.kind}s", row.name),
    )


def _check_names(name: str, version: str, owner_team: str) -> None:
    problems = []
    if not NAME.fullmatch(name):
        remedy = "Use 1–100 lower-case letters, digits, '-' or '_', starting with a letter or digit."
        problems.append(field_problem("name", f"{name!r} is not a catalog name", remedy))
    if not VERSION.fullmatch(version):
        remedy = "Use up to 64 letters, digits, '.', '_', '+' or '-', such as 1 or 2026.11-rc1."
        problems.append(field_problem("version", f"{version!r} is not a version", remedy))
    if not owner_team.strip():
        problems.append(field_problem("ownerTeam", "is empty", "Name the team that answers for it."))
    if problems:
        raise ValidationFailed("the entry's names are not usable", details=problems)
