"""Prompt versions: created, edited while they are drafts, read, compared. Their review is the catalog's."""

from typing import Any
from uuid import UUID

from llmops_resources.catalog import approvals, versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.versions import Version
from llmops_resources.database import Transaction
from llmops_resources.errors import Conflict
from llmops_resources.prompts import templates
from llmops_resources.prompts.content import PromptContent, digest_of
from llmops_resources.prompts.diff import PromptDifference, difference
from llmops_resources.prompts.tables import ContentRow
from llmops_resources.values import Value


class StoredContent(Value):
    """The content of a version as it was hashed."""

    name: str
    version: str
    canonical: str


class Prompt(Version):
    """A prompt version with its content; `digest` names that content."""

    content: PromptContent
    current: bool


def create(
    tx: Transaction,
    *,
    name: str,
    content: PromptContent,
    owner_team: str,
    version: str | None = None,
    change_log: str = "",
    metadata: dict[str, Any] | None = None,
) -> Prompt:
    """A new draft; without `version` it gets the next number of its name.

    Raises ValidationFailed for content that cannot be rendered, Conflict when the version exists.
    """
    templates.check(content)
    made = versions.create(
        tx,
        Kind.PROMPT,
        name=name,
        version=version or versions.next_version(tx, Kind.PROMPT, name),
        owner_team=owner_team,
        change_log=change_log,
        metadata=metadata,
    )
    canonical = content.canonical()
    tx.session.add(ContentRow(version_id=made.id, content=canonical))
    named = versions.rewrite(tx, made.id, digest=digest_of(canonical), size_bytes=len(canonical.encode()))
    return _prompt(tx, named, content)


def revise(
    tx: Transaction,
    prompt_id: UUID | str,
    content: PromptContent,
    *,
    seen: str | None = None,
    change_log: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Prompt:
    """Write a draft again. `seen` is the digest the editor started from.

    Raises Conflict when somebody changed the draft meanwhile or it is no draft, ValidationFailed for bad content.
    """
    templates.check(content)
    row = tx.session.get(ContentRow, versions.get(tx, prompt_id, Kind.PROMPT).id, with_for_update=True)
    assert row is not None  # noqa: S101  every prompt version is created with its content
    if seen is not None and seen != digest_of(row.content):
        raise Conflict("somebody changed the draft meanwhile", remedy="Reload it, then make your changes again.")
    row.content = content.canonical()
    named = versions.rewrite(
        tx,
        row.version_id,
        digest=digest_of(row.content),
        size_bytes=len(row.content.encode()),
        change_log=change_log,
        metadata=metadata,
    )
    return _prompt(tx, named, content)


def read(tx: Transaction, prompt_id: UUID | str) -> Prompt:
    """A version with its content. Raises NotFound; Conflict when the stored content is not what its digest names."""
    version = versions.get(tx, prompt_id, Kind.PROMPT)
    return _prompt(tx, version, _content(tx, version))


def read_content(tx: Transaction, prompt_id: UUID | str) -> StoredContent:
    """A version's content, for whoever renders it. Raises as `read`."""
    version = versions.get(tx, prompt_id, Kind.PROMPT)
    return StoredContent(name=version.name, version=version.version, canonical=_canonical(tx, version))


def compare(tx: Transaction, prompt_id: UUID | str, other: str) -> PromptDifference:
    """What changed from `other`, an id or a version of the same name, to this version. Raises NotFound."""
    after = read(tx, prompt_id)
    before = read(tx, _other(tx, after, other).id)
    return difference(
        before.content, after.content, before=f"{before.name} {before.version}", after=f"{after.name} {after.version}"
    )


def _other(tx: Transaction, prompt: Prompt, other: str) -> Version:
    try:
        return versions.get(tx, UUID(other), Kind.PROMPT)
    except ValueError:
        return versions.of_entry(tx, prompt.id, Kind.PROMPT, other)


def _content(tx: Transaction, version: Version) -> PromptContent:
    return PromptContent.model_validate_json(_canonical(tx, version))


def _canonical(tx: Transaction, version: Version) -> str:
    row = tx.session.get(ContentRow, version.id)
    if row is None or digest_of(row.content) != version.digest:
        raise Conflict(
            f"the content of {version.name} {version.version} is not what its digest names",
            remedy="Create a new version from the intended content; tell whoever runs the database.",
        )
    return row.content


def _prompt(tx: Transaction, version: Version, content: PromptContent) -> Prompt:
    current = approvals.current(tx, Kind.PROMPT, version.name)
    return Prompt(**dict(version), content=content, current=current is not None and current.id == version.id)
