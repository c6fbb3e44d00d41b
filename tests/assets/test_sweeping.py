"""The sweep: what was abandoned goes, what is alive or published stays."""

import os
from uuid import uuid4

from llmops_assets import scratch
from llmops_assets.sweeping import sweep
from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.uploads import sessions
from llmops_resources.catalog.uploads.values import AnnouncedFile, ReceivedChunk, UploadStatus
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.training import checkpoints, moves, submission
from llmops_resources.training.recipe import Recipe
from tests.factories import approved, stored, uploaded


def test_the_sweep_ends_old_uploads_with_their_bytes_and_touches_nothing_else(platform: Platform, admin: Actor) -> None:
    published = uploaded(platform, Kind.DATASET, "published")
    with platform.transaction(admin) as tx:
        draft = versions.create(tx, Kind.DATASET, name="draft", version="1", owner_team="tests")
        files = [AnnouncedFile(name="a.csv", size=10)]
        upload = sessions.begin(tx, draft.id, Kind.DATASET, files, chunk_size=1 << 20, max_bytes=100)
    where = (draft.id, Kind.DATASET, upload.id)
    with platform.transaction(admin) as tx:
        key = sessions.expect(tx, *where, file=1, offset=0, sha256="0" * 64)
    assert key is not None
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


def test_the_sweep_keeps_the_checkpoints_of_jobs_that_may_go_on_and_removes_all_others(
    platform: Platform, admin: Actor
) -> None:
    dataset = approved(platform, Kind.DATASET, "facts")
    recipe = Recipe.from_hyperparameters("pretrain", {"architecture": {"hiddenSize": 16, "layers": 1}}, use_gpu=False)
    with platform.transaction(admin) as tx:
        ids = [
            submission.submit(tx, recipe=recipe, dataset_id=dataset.id, output_model_name=name).id
            for name in ("waits", "stopped")
        ]
        moves.cancel(tx, ids[1])
    for job_id in (*ids, uuid4()):
        stored(platform, f"{checkpoints.folder(job_id)}/7", {"progress.json": b"{}"})

    sweep(platform)
    assert _jobs_with_checkpoints(platform) == set(map(str, ids))
    platform.settings.checkpoint_keep_hours = 1e-9
    sweep(platform)
    assert _jobs_with_checkpoints(platform) == {str(ids[0])}  # the other one was cancelled


def _jobs_with_checkpoints(platform: Platform) -> set[str]:
    return {entry.key.split("/")[1] for entry in platform.blobs.list(checkpoints.ROOT)}


def test_the_sweep_clears_old_work_folders_that_nobody_works_in(platform: Platform) -> None:
    held, left = uuid4(), uuid4()
    for row_id in (held, left):
        folder = platform.settings.home / "cache/work" / str(row_id)
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
    with platform.lease(held):
        sweep(platform)
    assert [path.name for path in scratch.folders(platform)] == [str(held)]
