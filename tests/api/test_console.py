"""The console's files, and what stands in for them before they are built."""

import asyncio
from pathlib import Path

import httpx

from serving_api.console import Console


def _get(folder: Path, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Console(folder))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_a_console_that_is_not_built_says_how_it_is(tmp_path: Path) -> None:
    for path in ("/", "/serving/endpoints", "//llm-ops/v1/audit/logs"):
        answer = _get(tmp_path / "nothing", path)
        assert answer.status_code == 503
        assert "make console" in answer.text


def test_every_page_of_the_console_is_its_first_and_no_file_beside_it_is_given_out(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("secret")
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<p>first</p>")
    (dist / "assets/a.js").write_text("1")
    (dist / "link").symlink_to(tmp_path / "secret.key")

    assert _get(dist, "/assets/a.js").headers["cache-control"].endswith("immutable")
    assert _get(dist, "/assets/b.js").status_code == 404
    for path in ("/", "/serving/chat", "/..%2fsecret.key", "/%2e%2e/secret.key", "/..%5csecret.key", "/link"):
        assert _get(dist, path).text == "<p>first</p>", path
