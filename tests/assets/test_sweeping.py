"""The sweep: what was abandoned goes, what is alive or published stays."""

from llmops_assets.sweeping import sweep
from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.uploads import sessions
from llmops_resources.catalog.uploads.values import AnnouncedFile, ReceivedChunk, UploadStatus
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from tests.factories import uploaded


def test_the_sweep_ends_old_uploads_with_their_bytes_and_touches_nothing_else(platform: Platform, admin: Actor) -> None:
    published = uploaded(platform, Kind.DATASET, "published")
    with platform.transaction(admin) as tx:
        draft = versions.create(tx, Kind.DATASET, name="draft", version="1", owner_team="tests")
        files = [AnnouncedFile(name="a.csv", size=10)]
        upload = sessions.begin(tx, draft.id, Kind.DATASET, files, chunk_size=1 << 20, max_bytes=100)
    where = (draft.id, Kind.DATASET, upload.id)
    with platform.transaction(admin) as tx:
        assert sessions.expect(tx, *where, file=1, offset=0, sha256="0" * 64)
    key = f"{sessions.folder(upload.id)}/chunk"
    platform.blobs.write(key, [b"12345"])
    with platform.transaction(admin) as tx:
        sessions.advance(tx, *where, ReceivedChunk(file=1, offset=0, size=5, sha256="0" * 64), key=key)

    assert sweep(platform) == (0, 0)
    assert platform.blobs.exists(key)

    platform.settings.upload_keep_hours = -2
    assert sweep(platform) == (1, 1)
    assert not platform.blobs.exists(key)
    assert platform.blobs.manifest(f"datasets/{published.id}/1") is not None
    with platform.transaction(admin) as tx:
        assert sessions.outline(tx, *where).status is UploadStatus.ABANDONED
