"""The sweep: what was abandoned goes, what is alive or published stays."""

import os
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from sqlalchemy import select, text

from llmops_assets import scratch
from llmops_assets.sweeping import forget, sweep
from llmops_resources.catalog import versions
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.catalog.uploads import sessions
from llmops_resources.catalog.uploads.values import AnnouncedFile, ReceivedChunk, UploadStatus
from llmops_resources.cost import ledger
from llmops_resources.cost.ledger import Dimension
from llmops_resources.database import Actor
from llmops_resources.gateway import usage
from llmops_resources.gateway.tables import FeedbackRow
from llmops_resources.platform import Platform
from llmops_resources.training import (
    checkpoints,
    comparing,
    experiments,
    logs,
    moves,
    records,
    retention,
    submission,
)
from llmops_resources.training.recipe import Recipe
from llmops_resources.values import utc_now
from tests.factories import approved, stored, uploaded
from tests.gateway.records import a_record, book


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


def test_metrics_and_logs_of_jobs_that_ended_long_ago_go_in_batches_and_what_they_came_to_stays(
    platform: Platform, admin: Actor
) -> None:
    dataset = approved(platform, Kind.DATASET, "facts")
    recipe = Recipe.from_hyperparameters("pretrain", {"architecture": {"hiddenSize": 16, "layers": 1}}, use_gpu=False)
    names = ("old", "retried", "new", "waits")
    with platform.transaction(admin) as tx:
        old, retried, new, waits = (
            submission.submit(tx, recipe=recipe, dataset_id=dataset.id, output_model_name=name).id for name in names
        )
        for job_id in (old, retried, new, waits):
            metrics = [experiments.Metric(name=name, value=step, step=step) for name in "ab" for step in range(10)]
            experiments.record(tx, job_id, metrics)
            logs.append(tx, job_id, 1, [logs.Said(text=f"line {number}") for number in range(15)])
        for job_id in (old, retried, new):
            moves.cancel(tx, job_id)
    _ended_days_ago(platform, old, 366)
    _ended_days_ago(platform, retried, 366)
    with platform.transaction(admin) as tx:
        moves.retry(tx, retried)
    assert forget(platform, seconds=0) == 0
    with platform.transaction(admin) as tx:
        assert retention.outlived(tx, timedelta(days=365)) == [old]
        assert retention.forget(tx, retried, timedelta(days=365)) == 0
        assert retention.forget(tx, old, timedelta(days=365), batch=7) == 7
    assert forget(platform, seconds=60, batch=7) == 13 + 15
    assert forget(platform) == 0
    with platform.transaction(admin) as tx:
        record = records.of_job(tx, old)
        assert (record.points, logs.of_job(tx, old).lines) == (0, ())
        assert [(each.name, each.value) for each in record.metrics] == [("a", 9), ("b", 9)]
        compared = comparing.compare(tx, [old, new])
        assert [len(each.curves) for each in compared.metrics] == [1, 1]
        for job_id in (retried, new, waits):
            assert (records.of_job(tx, job_id).points, len(logs.of_job(tx, job_id).lines)) == (20, 15)


def test_calls_and_what_users_said_of_them_go_when_they_are_old_and_their_cost_stays(
    platform: Platform, admin: Actor
) -> None:
    long_ago = utc_now() - timedelta(days=366)
    old = [a_record(id=uuid4(), at=long_ago, amount=Decimal("0.5"), currency="USD") for _ in range(5)]
    new = a_record(id=uuid4(), at=utc_now(), amount=Decimal("0.25"), currency="USD")
    with platform.transaction(admin) as tx:
        book(tx, [*old, new])
        said = {"route": "support", "kind": "thumbs", "value": 1.0, "given_by": "somebody"}
        tx.session.add_all([
            FeedbackRow(exchange_id=old[0].id, given_at=long_ago, **said),
            FeedbackRow(exchange_id=new.id, given_at=utc_now(), **said),
        ])  # fmt: skip
    assert forget(platform, seconds=60, batch=2) == 5 + 1
    assert forget(platform) == 0
    with platform.transaction(admin) as tx:
        assert [record.id for record in usage.search(tx).items] == [new.id]
        assert list(tx.session.scalars(select(FeedbackRow.exchange_id))) == [new.id]
        assert sum(each.amount for each in ledger.spending(tx, [Dimension.ROUTE])) == Decimal("2.75")


def _ended_days_ago(platform: Platform, job_id: UUID, days: int) -> None:
    with platform.engine.begin() as connection:
        sql = "UPDATE training_jobs SET finished_at = now() - make_interval(days => :days) WHERE id = :id"
        connection.execute(text(sql), {"days": days, "id": job_id})
