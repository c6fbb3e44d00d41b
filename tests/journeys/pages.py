"""The pages of the catalog's rooms on a platform where the journey was walked, with something to show on each."""

from typing import Any

from tests.journeys.running import RunningPlatform

LISTS = [
    "/", "/catalog/datasets", "/catalog/datasets/new", "/catalog/models", "/catalog/models/new", "/prompts/templates",
    "/prompts/templates/new", "/governance/approvals", "/governance/audit",
]  # fmt: skip
CONTENT = {
    "messages": [{"role": "user", "content": "Greet {{ person }}."}],
    "variables": [{"name": "person", "type": "string", "required": True}],
}


def catalog_pages(walked: tuple[RunningPlatform, dict[str, Any]]) -> list[str]:
    """Addresses of every kind of page: lists, forms, a version of each kind in several states, a comparison."""
    platform, made = walked
    card = {"name": "pages_card", "version": "1", "ownerTeam": "tests", "type": "base", "metadata": {"tags": ["a"]}}
    draft = platform.post("/catalog/models", card, headers={"Idempotency-Key": "pages-model"})
    prompt = {"name": "pages_prompt", "ownerTeam": "tests", "content": CONTENT}
    first = platform.post("/prompts/templates", prompt, headers={"Idempotency-Key": "pages-prompt"})
    older, newer = (_rows(platform, version, f"id,text\n1,one\n2,{version}\n") for version in ("1", "2"))
    return [
        *LISTS,
        f"/catalog/datasets/{made['datasets']['pairs']['id']}",
        f"/catalog/datasets/{newer}",
        f"/catalog/datasets/{newer}/compare?with={older}&key=id",
        f"/catalog/datasets/new?from={newer}",
        f"/catalog/models/{made['tuned']['id']}",
        f"/catalog/models/{draft['id']}",
        f"/prompts/templates/{first['id']}",
        f"/prompts/templates/{first['id']}/edit",
    ]


def _rows(platform: RunningPlatform, version: str, content: str) -> str:
    body = {"name": "pages_rows", "version": version, "ownerTeam": "tests", "changeLog": "more"}
    entry = platform.post("/catalog/datasets", body, headers={"Idempotency-Key": f"pages-rows-{version}"})
    path = f"/catalog/datasets/{entry['id']}"
    platform._send("POST", f"{path}/upload", files={"files": ("rows.csv", content.encode())})
    return str(entry["id"])
