"""Uploading in the console: a model that is paused under way, survives a reload, and ends with its digest."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.journeys.browser import Console
from tests.journeys.running import RunningPlatform
from tests.model_files import write_model

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
FIELD = "Drop files here or choose them"


def _new_model(walked: tuple[RunningPlatform, dict[str, Any]], name: str) -> dict[str, Any]:
    body = {"name": name, "version": "1", "type": "base", "ownerTeam": "tests"}
    model: dict[str, Any] = walked[0].post("/catalog/models", body)
    return model


def test_a_large_model_is_paused_taken_up_after_a_reload_and_stored(
    walked: tuple[RunningPlatform, dict[str, Any]], visitor: Console, tmp_path: Path
) -> None:
    model = _new_model(walked, "web_uploaded")
    path, files = f"/catalog/models/{model['id']}", write_model(tmp_path / "model", 48 * 1024**2)

    def hold_the_second_chunk(route: Route) -> None:
        if "offset=16777216" in route.request.url:
            held.append(route)
        else:
            route.continue_()

    held: list[Route] = []
    visitor.page.route(re.compile(r"/uploads/.*/files/"), hold_the_second_chunk)
    visitor.open(path)
    visitor.page.get_by_label(FIELD).set_input_files(files)
    visitor.button("Upload").click()
    expect(visitor.page.get_by_role("progressbar", name="Uploading…")).to_be_visible()
    visitor.page.wait_for_function("() => Number(document.querySelector('[role=progressbar]')?.ariaValueNow) >= 33")
    visitor.button("Pause").click()
    expect(visitor.page.get_by_text(re.compile(r"Paused at \d+"))).to_be_visible()
    expect(visitor.button("Resume upload")).to_be_enabled()

    visitor.page.unroute_all(behavior="ignoreErrors")
    visitor.open(path)
    [upload] = walked[0].get(f"{path}/uploads")
    assert sum(file["offset"] for file in upload["files"]) >= 16 * 1024**2
    visitor.page.get_by_label(FIELD).set_input_files(files)
    visitor.button("Upload").click()
    expect(visitor.page.get_by_label(FIELD)).to_have_count(0, timeout=120_000)
    expect(visitor.page.get_by_role("region", name="Files", exact=True)).to_contain_text("model.safetensors")
    assert walked[0].get(path)["digest"].startswith("sha256:")
    assert walked[0].get(f"{path}/uploads") == []


def test_a_model_without_its_tokenizer_is_refused_with_the_reason_and_takes_the_mended_files(
    walked: tuple[RunningPlatform, dict[str, Any]], visitor: Console, tmp_path: Path
) -> None:
    model = _new_model(walked, "web_incomplete")
    files = write_model(tmp_path / "model")
    visitor.open(f"/catalog/models/{model['id']}")
    visitor.page.get_by_label(FIELD).set_input_files([file for file in files if file.name != "tokenizer.json"])
    visitor.button("Upload").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("there is no tokenizer")
    visitor.page.get_by_label(FIELD).set_input_files([file for file in files if file.name == "tokenizer.json"])
    visitor.button("Upload").click()
    expect(visitor.page.get_by_label(FIELD)).to_have_count(0)
    expect(visitor.page.get_by_role("region", name="Files", exact=True)).to_contain_text("tokenizer.json")
    assert walked[0].get(f"/catalog/models/{model['id']}")["digest"].startswith("sha256:")
