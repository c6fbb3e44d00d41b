"""Models brought in by the real run: from a folder, from pickles, from the Hub; and what must never come in."""

import json
import os
from pathlib import Path
from uuid import UUID

import pytest
import torch
from safetensors.torch import load_file

from llmops_resources.catalog import evidence, imports, versions
from llmops_resources.catalog.evidence import EvidenceKind
from llmops_resources.catalog.imports import ModelImport, Origin, Source
from llmops_resources.catalog.lifecycle import Kind
from llmops_resources.database import Actor
from llmops_resources.platform import Platform
from llmops_resources.settings import Settings
from llmops_resources.work import WorkStatus
from tests.assets.conftest import Materialize
from tests.tiny_model import write_tiny_model

README = "---\nlicense: apache-2.0\ntags: [a]\n---\n# A tiny model\n"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as save_pretrained writes it, with a README."""
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny"))
    (folder / "README.md").write_text(README)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder below which models may be imported."""
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(settings: Settings, root: Path) -> Settings:
    """Settings that allow importing from `root`."""
    return settings.model_copy(update={"model_import_root": root})


def _copy(tiny: Path, target: Path) -> Path:
    target.mkdir(parents=True)
    for file in tiny.iterdir():
        if file.is_file():
            (target / file.name).write_bytes(file.read_bytes())
    return target


def _asked(platform: Platform, admin: Actor, folder: str, name: str = "tiny") -> ModelImport:
    origin = Origin(source=Source.DIRECTORY, location=folder)
    origin = imports.check_origin(origin, root=platform.settings.model_import_root, offline=True)
    with platform.transaction(admin) as tx:
        return imports.request(tx, origin, name=name, version="1", owner_team="research")


def _now(platform: Platform, admin: Actor, model_id: UUID) -> ModelImport:
    with platform.transaction(admin) as tx:
        return imports.latest(tx, model_id)


def test_a_model_is_imported_from_a_folder_and_again_by_hand(
    platform: Platform, admin: Actor, materialize: Materialize, tiny: Path, root: Path
) -> None:
    _copy(tiny, root / "org" / "tiny")
    (root / "org" / "tiny" / "modeling_tiny.py").write_text("raise SystemExit")
    asked = _asked(platform, admin, "org/tiny")
    done = materialize(("models", "tiny"), row=f"{asked.id}:1", room="imports")
    assert done.success
    with platform.transaction(admin) as tx:
        model = versions.get(tx, asked.model_id)
        (found,) = evidence.of_version(tx, model.id, EvidenceKind.AIRLOCK)
    assert {file.path for file in model.files} == {file.name for file in tiny.iterdir() if file.is_file()}
    assert found.passed is True
    assert found.digest == model.digest
    assert found.summary["leftOut"] == ["modeling_tiny.py"]
    assert found.summary["parameters"] == 30240
    assert model.metadata["license"] == "apache-2.0"
    assert platform.blobs.manifest(f"models/{model.id}/1") is not None
    (event,) = done.asset_materializations_for_node("models_0_tiny")
    assert (event.tags or {})["dagster/data_version"] == model.digest

    assert materialize(("models", "tiny")).success  # by hand: the same origin once more
    with platform.transaction(admin) as tx:
        assert [(v.version, v.digest) for v in versions.of_name(tx, Kind.MODEL, "tiny")] == [
            ("2", model.digest),
            ("1", model.digest),
        ]


def test_a_folder_with_broken_weights_fails_with_the_airlocks_words_and_stores_nothing(
    platform: Platform, admin: Actor, materialize: Materialize, tiny: Path, root: Path
) -> None:
    folder = _copy(tiny, root / "broken")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-4])
    asked = _asked(platform, admin, "broken")
    assert not materialize(("models", "tiny"), row=f"{asked.id}:1", room="imports").success
    now = _now(platform, admin, asked.model_id)
    assert now.state.status is WorkStatus.FAILED
    assert "reach beyond its end" in (now.state.error or "")
    assert now.report is not None
    assert not now.report.accepted
    assert list(platform.blobs.list("models")) == []
    assert list(platform.blobs.list("staging")) == []

    (folder / "model.safetensors").write_bytes(weights)
    with platform.transaction(admin) as tx:
        again = imports.again(tx, asked.model_id)
    assert materialize(("models", "tiny"), row=f"{again.id}:1", room="imports").success


def test_a_link_that_leads_out_of_the_root_is_not_read(
    platform: Platform, admin: Actor, materialize: Materialize, tiny: Path, root: Path, tmp_path: Path
) -> None:
    folder = _copy(tiny, root / "linked")
    secret = tmp_path / "secret.txt"
    secret.write_text("the signing key")
    (folder / "notes.txt").symlink_to(secret)
    asked = _asked(platform, admin, "linked")
    assert not materialize(("models", "tiny"), row=f"{asked.id}:1", room="imports").success
    error = _now(platform, admin, asked.model_id).state.error or ""
    assert "notes.txt is not a file below MODEL_IMPORT_ROOT" in error


def test_a_named_pipe_in_the_folder_does_not_hold_the_run_up(
    platform: Platform, admin: Actor, materialize: Materialize, tiny: Path, root: Path
) -> None:
    folder = _copy(tiny, root / "piped")
    os.mkfifo(folder / "notes.txt")
    asked = _asked(platform, admin, "piped")
    assert not materialize(("models", "tiny"), row=f"{asked.id}:1", room="imports").success


def test_an_attempt_that_died_after_publishing_is_finished_by_the_next_one(
    platform: Platform, admin: Actor, materialize: Materialize, tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _copy(tiny, root / "tiny")
    asked = _asked(platform, admin, "tiny")
    with monkeypatch.context() as patch:
        patch.setattr(imports, "finish", _die)
        patch.setattr(imports, "fail", lambda *_args, **_names: None)  # the process was killed: it says nothing
        assert not materialize(("models", "tiny"), row=f"{asked.id}:1", room="imports").success
    with platform.transaction(admin) as tx:
        assert imports.retry_dead(tx, asked.id, attempt=1, reason="its process died")
    (root / "tiny" / "config.json").unlink()  # what was published is finished, not read again
    assert materialize(("models", "tiny"), row=f"{asked.id}:2", room="imports").success
    with platform.transaction(admin) as tx:
        assert versions.get(tx, asked.model_id).digest


def test_uploaded_pickles_become_the_same_tensors_as_safetensors(
    platform: Platform, admin: Actor, materialize: Materialize, tiny: Path, tmp_path: Path
) -> None:
    weights = load_file(tiny / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]  # tied: both names share their memory
    asked, staged = _staged_conversion(platform, admin, tiny, tmp_path, weights)
    assert materialize(("models", "tiny"), row=f"{asked.id}:1", room="imports").success
    with platform.transaction(admin) as tx:
        model = versions.get(tx, asked.model_id)
        (found,) = evidence.of_version(tx, model.id, EvidenceKind.AIRLOCK)
    platform.blobs.download(f"models/{model.id}/1", model.manifest, tmp_path / "back")
    assert not [file.path for file in model.files if file.path.endswith(".bin")]
    assert found.summary["convertedFrom"] == ["pytorch_model.bin"]
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)
    assert list(platform.blobs.list(staged)) == []  # the pickle is gone


def test_a_pickle_that_runs_a_program_is_refused_and_does_not_run(
    platform: Platform, admin: Actor, materialize: Materialize, tiny: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "it-ran"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {trace}",)

    asked, staged = _staged_conversion(platform, admin, tiny, tmp_path, {"model.embed_tokens.weight": Payload()})
    assert not materialize(("models", "tiny"), row=f"{asked.id}:1", room="imports").success
    now = _now(platform, admin, asked.model_id)
    assert "was not opened" in (now.state.error or "")
    assert "system" in (now.state.error or "")
    assert not trace.exists()
    assert list(platform.blobs.list(staged)) == []
    with platform.transaction(admin) as tx:
        assert versions.get(tx, asked.model_id).digest is None


def test_two_pickles_become_shards_with_an_index(
    platform: Platform, admin: Actor, materialize: Materialize, tiny: Path, root: Path
) -> None:
    folder = _copy(tiny, root / "sharded")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    torch.save({name: weights[name] for name in names[:9]}, folder / "pytorch_model-00001-of-00002.bin")
    torch.save({name: weights[name] for name in names[9:]}, folder / "pytorch_model-00002-of-00002.bin")
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {}}))
    asked = _asked(platform, admin, "sharded")
    assert materialize(("models", "tiny"), row=f"{asked.id}:1", room="imports").success
    now = _now(platform, admin, asked.model_id)
    assert now.report is not None
    assert now.report.summary["weightFiles"] == 2
    assert now.report.summary["tensors"] == len(weights)


def test_a_cancelled_import_ends_cancelled_and_leaves_nothing(
    platform: Platform, admin: Actor, materialize: Materialize, tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _copy(tiny, root / "tiny")
    asked = _asked(platform, admin, "tiny")
    claim = imports.claim

    def claimed_and_cancelled(tx, import_id, *, attempt, run_id):  # type: ignore[no-untyped-def]
        task = claim(tx, import_id, attempt=attempt, run_id=run_id)
        imports.cancel(tx, asked.model_id)
        return task

    monkeypatch.setattr(imports, "claim", claimed_and_cancelled)
    assert not materialize(("models", "tiny"), row=f"{asked.id}:1", room="imports").success
    assert _now(platform, admin, asked.model_id).state.status is WorkStatus.CANCELLED
    assert list(platform.blobs.list("staging")) == []


def _die(*_args: object, **_names: object) -> None:
    raise KeyboardInterrupt


def _staged_conversion(
    platform: Platform, admin: Actor, tiny: Path, tmp_path: Path, weights: dict[str, object]
) -> tuple[ModelImport, str]:
    pickled = tmp_path / "pytorch_model.bin"
    torch.save(weights, pickled)
    with platform.transaction(admin) as tx:
        model = versions.create(tx, Kind.MODEL, name="tiny", version="1", owner_team="research")
    staged = platform.blobs.stage(f"models/{model.id}/1")
    others = [file for file in tiny.iterdir() if file.is_file() and file.name != "model.safetensors"]
    files = [platform.blobs.write(f"{staged}/{path.name}", iter([path.read_bytes()])) for path in (pickled, *others)]
    with platform.transaction(admin) as tx:
        return imports.request_conversion(tx, model.id, staged, files), staged
