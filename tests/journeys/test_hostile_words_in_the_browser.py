"""Threat 36: whatever words strangers store, the console shows them as words. Nothing of theirs runs or is fetched."""

import json
import re
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.journeys.browser import Console
from tests.journeys.running import RunningPlatform
from tests.model_files import model_files

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]
Walked = tuple[RunningPlatform, dict[str, Any]]

RUN = "globalThis.ran=(globalThis.ran||0)+1"
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{RUN}"><script>{RUN}</script></svg>'
HOSTILE = (
    f'"><img src=x onerror="{RUN}">{SVG}<script>{RUN}</script><iframe srcdoc="<script>parent.{RUN}</script>"></iframe>'
    f"<a href=\"javascript:{RUN}\">x</a>{{{{constructor.constructor('{RUN}')()}}}}${{{RUN}}}<style>body{{display:none}}"
)
CARD = f"""# {HOSTILE}

[click](javascript:{RUN}) [data](data:text/html,<script>{RUN}</script>) ![i](x" onerror="{RUN})

| {HOSTILE} | b |
|---|---|
| [x](https://a.example/"onmouseover="{RUN}) | `{HOSTILE}` |

```html
{HOSTILE}
```
- {HOSTILE}
<https://a.example> **{HOSTILE}**
"""
#: Elements and attributes that only a stranger could have brought in, and addresses that run.
FOREIGN = """() => [...document.querySelectorAll('*')].flatMap((it) => {
  const runs = [...it.attributes].some((each) =>
    each.name.startsWith('on') || each.name === 'href' && /^\\s*(javascript|data|vbscript):/i.test(each.value));
  const foreign = it.matches('iframe, object, embed, base, body style, body script, main img, form[action]');
  return runs || foreign ? [it.outerHTML.slice(0, 200)] : [];
})"""


@pytest.fixture
def poisoned(walked: Walked) -> dict[str, str]:
    """Entries in which every field a stranger may fill holds markup; their pages, by what they are."""
    platform = walked[0]
    card = dict.fromkeys(("purpose", "scope", "contact", "license"), HOSTILE)
    named = {"name": f"hostile_{uuid4().hex[:8]}", "ownerTeam": HOSTILE[:100]}
    about = {**named, "metadata": {**card, HOSTILE: [{HOSTILE: HOSTILE}]}}
    model = platform.post("/catalog/models", {"version": "1", "type": "base", **about})
    about["changeLog"] = HOSTILE
    files = [("files", item) for item in {**model_files(), "README.md": CARD.encode()}.items()]
    platform._send("POST", f"/catalog/models/{model['id']}/upload", files=files)
    rows = json.dumps({"id": 1, HOSTILE[:250]: HOSTILE}) + "\n"  # longer names of columns are refused
    sets = []
    for version, content in (("1", rows), ("2", rows.replace("ran", "run"))):
        dataset = platform.post("/catalog/datasets", {"version": version, **about})
        sets.append(f"/catalog/datasets/{dataset['id']}")
        upload = {"files": ("<svg onload=alert(1)>.jsonl", content.encode())}
        platform._send("POST", f"{sets[-1]}/upload", files=upload)
        platform.finished(f"{sets[-1]}/validation")
    platform.post(f"{sets[0]}/recall", {"reason": HOSTILE})
    words = HOSTILE.replace("{{", "{ {").replace("{%", "{ %")
    content = {"messages": [{"role": "user", "content": words}], "variables": []}
    prompt = platform.post("/prompts/templates", {"content": content, **about})
    platform.post(f"/prompts/templates/{prompt['id']}/submit")
    note = {"decision": "request_changes", "notes": HOSTILE}
    platform.post(f"/prompts/templates/{prompt['id']}/versions/1/approve", note)
    platform.post(f"/prompts/templates/{prompt['id']}/submit")
    return {
        "model": f"/catalog/models/{model['id']}", "recalled": sets[0], "dataset": sets[1],
        "compare": f"{sets[1]}/compare?with={sets[0].rsplit('/', 1)[1]}",
        "prompt": f"/prompts/templates/{prompt['id']}", "edit": f"/prompts/templates/new?from={prompt['id']}",
    }  # fmt: skip


def test_markup_in_any_field_is_shown_and_never_runs(visitor: Console, poisoned: dict[str, str]) -> None:
    asked: list[str] = []
    visitor.page.on("request", lambda sent: asked.append(sent.url))
    filtered = f"/catalog/models?name={HOSTILE.replace('#', '')[:200].replace('&', '')}"
    lists = ["/", "/catalog/datasets?name=hostile", "/catalog/models?name=hostile", filtered, "/prompts/templates"]
    for path in [*poisoned.values(), *lists, "/governance/approvals", "/governance/audit"]:
        visitor.open(path)
        visitor.page.wait_for_load_state("networkidle")
        assert visitor.page.evaluate("() => globalThis.ran ?? 0") == 0, path
        assert visitor.page.evaluate(FOREIGN) == [], path
    assert [url for url in asked if not url.startswith((visitor.root, "data:"))] == []
    visitor.open(poisoned["model"])
    main = visitor.page.get_by_role("main")
    expect(main).to_contain_text("onerror=")
    expect(main.get_by_role("region", name="Metadata (JSON)")).to_contain_text("<script>")
    assert re.search(r"<script>", main.get_by_role("region", name="Model card", exact=True).inner_text())


def test_the_policy_stops_what_a_mistake_of_ours_would_let_through(visitor: Console) -> None:
    page = visitor.page
    answer = page.goto(visitor.root + "/catalog/models")
    assert answer is not None
    policy = dict(part.split(None, 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy.get("script-src", policy["default-src"]) == "'self'"
    assert policy["object-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|javascript:", answer.text()) == []
    expect(visitor.heading("Models")).to_be_visible()
    for attempt in (
        f"const it = document.createElement('script'); it.textContent = '{RUN}'; document.body.append(it)",
        f"document.body.insertAdjacentHTML('beforeend', '<img src=\"/none\" onerror=\"{RUN}\">')",
        f"const it = document.createElement('a'); it.href = 'javascript:{RUN}'; document.body.append(it); it.click()",
        "const it = document.createElement('script'); it.src = 'https://a.example/x.js'; document.body.append(it)",
    ):
        page.evaluate(f"() => {{ {attempt} }}")
    page.wait_for_timeout(300)
    assert page.evaluate("() => globalThis.ran ?? 0") == 0
    refused = [it for it in visitor.complaints if "Content Security Policy" in it]
    assert len(refused) >= 4
    visitor.complaints.clear()  # these were wanted


def test_hostile_words_in_the_browsers_storage_do_no_harm(visitor: Console) -> None:
    visitor.open("/catalog/models")
    kept = visitor.page.evaluate("() => Object.keys(localStorage)")
    for key in {*kept, "vueuse-color-scheme", "llmops-locale", "__proto__", "constructor"}:
        visitor.page.evaluate("([key, value]) => localStorage.setItem(key, value)", [key, HOSTILE])
    visitor.open("/catalog/models")
    expect(visitor.page.locator("html")).to_have_attribute("lang", "en")
    assert visitor.page.evaluate("() => globalThis.ran ?? 0") == 0
    assert visitor.page.evaluate(FOREIGN) == []

