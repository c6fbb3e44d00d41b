"""Versions of models, data sets and prompts: created, filled with content, read, listed."""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Subquery, select
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
TEAM_LENGTH: Final = 128


class Version(Value):
    """A version of a model or data set. `digest` is `sha256:<hex>` over its files, None until they are there.

    Of the approved versions of a name that are not in quarantine, the one with the latest `published_at` is current.
    """

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
    submitted_at: datetime | None
    published_at: datetime | None
    quarantined_at: datetime | None
    quarantine_reason: str | None
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
            f"{kind} {name} {version} exists already or was deleted",
            remedy="Versions are immutable and never used twice: choose another version.",
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


def rewrite(
    tx: Transaction,
    version_id: UUID,
    *,
    digest: str,
    size_bytes: int,
    change_log: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Version:
    """Name the content of a draft that consists of rows instead of files; until review it may be written again.

    The caller stores the content in this transaction. Raises Conflict for anything but a draft.
    """
    row = load(tx, version_id)
    if row.status != Status.DRAFT:
        raise Conflict(f"{row.name} {row.version} is {row.status}", remedy="Create a new version for other content.")
    row.digest, row.size_bytes = digest, size_bytes
    row.change_log = row.change_log if change_log is None else change_log
    row.card = row.card if metadata is None else metadata
    tx.audit(f"{row.kind}.content", row.kind, row.id, digest=digest, bytes=size_bytes)
    return value(row)


def change_card(tx: Transaction, version_id: UUID, metadata: dict[str, Any]) -> Version:
    """Replace the metadata of a draft. Raises Conflict once it is under review."""
    return describe(tx, version_id, metadata=metadata)


def describe(
    tx: Transaction, version_id: UUID, *, metadata: dict[str, Any] | None = None, change_log: str | None = None
) -> Version:
    """Replace what a draft says about itself; None leaves a part as it is. Raises Conflict once it is under review."""
    row = load(tx, version_id)
    if row.status not in {Status.DRAFT, Status.REJECTED}:
        raise Conflict(f"{row.name} {row.version} is {row.status}", remedy="Only a draft's card can be changed.")
    if metadata is not None:
        row.card = metadata
    if change_log is not None:
        row.change_log = change_log
    tx.audit(f"{row.kind}.card", row.kind, row.id, fields=sorted(metadata or {}), change_log=change_log)
    return value(row)


def get(tx: Transaction, version_id: UUID | str, kind: Kind | None = None) -> Version:
    """One version. Raises NotFound, also for one that was deleted."""
    row = _read(tx, version_id)
    noun = kind or "version"
    if row is None or (kind is not None and row.kind != kind):
        raise NotFound(f"there is no {noun} {version_id}", remedy=f"List the {noun}s of the catalog to find its id.")
    if row.deleted_at is not None:
        raise NotFound(f"{row.name} {row.version} was deleted", remedy="The audit log tells when and by whom.")
    return value(row)


def remembered(tx: Transaction, version_id: UUID) -> Version:
    """One version, deleted or not, for records that outlive it. Raises NotFound."""
    row = _read(tx, version_id)
    if row is None:
        raise NotFound(f"there never was a version {version_id}", remedy="List the catalog to find its id.")
    return value(row)


def of_entry(tx: Transaction, version_id: UUID | str, kind: Kind, version: str) -> Version:
    """The version so called of the entry that `version_id` is one version of. Raises NotFound."""
    entry = get(tx, version_id, kind)
    found = entry if entry.version == version else find(tx, kind, entry.name, version)
    if found is None:
        raise NotFound(f"{entry.name} has no version {version}", remedy="List its versions.")
    return found


def find(tx: Transaction, kind: Kind, name: str, version: str) -> Version | None:
    """The version with this name, if there is one that was not deleted."""
    row = tx.session.scalar(select(VersionRow).filter_by(kind=kind, name=name, version=version, deleted_at=None))
    return value(row) if row else None


def of_name(tx: Transaction, kind: Kind, name: str) -> list[Version]:
    """All versions of a name that were not deleted, newest first."""
    query = select(VersionRow).filter_by(kind=kind, name=name, deleted_at=None)
    return [value(row) for row in tx.session.scalars(query.order_by(VersionRow.created_at.desc(), VersionRow.id))]


def names(tx: Transaction, kind: Kind) -> list[str]:
    """Every name that has a version, in alphabetical order."""
    query = select(VersionRow.name).filter_by(kind=kind, deleted_at=None).distinct()
    return sorted(tx.session.scalars(query))


def labels(name: str = "labels") -> Subquery:
    """`id`, `name` and `version` of every version, for rooms that join on them; `name` tells two in a query apart."""
    return select(VersionRow.id, VersionRow.name, VersionRow.version).subquery(name)


class Named(NamedTuple):
    """What a version is called."""

    name: str
    version: str


def named(tx: Transaction, ids: Collection[UUID]) -> dict[UUID, Named]:
    """What versions are called, deleted or not, asked for at once."""
    query = select(VersionRow.id, VersionRow.name, VersionRow.version).where(VersionRow.id.in_(ids))
    return {id_: Named(name, version) for id_, name, version in tx.session.execute(query)}


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
    exact = {name: wanted for name, wanted in filters.items() if wanted is not None}
    keys = select(VersionRow.created_at, VersionRow.id).filter_by(kind=kind, deleted_at=None, **exact)
    if name_contains:
        keys = keys.where(VersionRow.name.contains(name_contains, autoescape=True))
    if min_quality is not None:
        keys = keys.where(VersionRow.quality_score >= _exact(min_quality))
    if max_quality is not None:
        keys = keys.where(VersionRow.quality_score <= _exact(max_quality))
    order = (VersionRow.created_at, VersionRow.id)
    return pages.fetch_by_key(tx, keys, VersionRow, order, after=after, limit=limit, value=value)


def _exact(score: float) -> Decimal:
    """The bound as the column's own type: beside a float, PostgreSQL would convert every row and use no index."""
    return Decimal(str(score))


def waiting(
    tx: Transaction,
    *,
    filters: dict[str, Any],
    submitted_by: str | None = None,
    not_submitted_by: str | None = None,
    after: Position | None = None,
    limit: int = 50,
) -> Page[Version]:
    """Versions of every kind under review that match the filters, the last submitted first."""
    exact = {name: wanted for name, wanted in filters.items() if wanted is not None}
    query = select(VersionRow).filter_by(status=Status.UNDER_REVIEW, deleted_at=None, **exact)
    if submitted_by is not None:
        query = query.where(VersionRow.submitted_by == submitted_by)
    if not_submitted_by is not None:
        query = query.where(VersionRow.submitted_by != not_submitted_by)
    order = (VersionRow.submitted_at, VersionRow.id)
    return pages.fetch(tx, query, order, after=after, limit=limit, value=value)


def next_version(tx: Transaction, kind: Kind, name: str) -> str:
    """The next whole number that no version of this name uses yet."""
    taken = tx.session.scalars(select(VersionRow.version).filter_by(kind=kind, name=name))  # deleted ones too
    return str(max((int(version) for version in taken if version.isdecimal()), default=0) + 1)


def load(tx: Transaction, version_id: UUID | str) -> VersionRow:
    """The row, locked until the transaction ends; for the catalog's own verbs. Raises NotFound."""
    get(tx, version_id)
    row = tx.session.get(VersionRow, UUID(str(version_id)), with_for_update=True)
    assert row is not None  # noqa: S101  get() found it in this transaction
    return row


def _read(tx: Transaction, version_id: UUID | str) -> VersionRow | None:
    try:
        return tx.session.get(VersionRow, UUID(str(version_id)))
    except ValueError:
        return None


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
        submitted_at=row.submitted_at,
        published_at=row.published_at,
        quarantined_at=row.quarantined_at,
        quarantine_reason=row.quarantine_reason,
        dagster_asset_key=() if row.kind == Kind.PROMPT else (f"{row.kind}s", row.name),
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
    elif len(owner_team.strip()) > TEAM_LENGTH:
        told = f"has {len(owner_team.strip())} characters"
        problems.append(field_problem("ownerTeam", told, f"Use a name of up to {TEAM_LENGTH} characters."))
    if problems:
        raise ValidationFailed("the entry's names are not usable", details=problems)
