"""What every test of a page's accessibility asks of it: nothing serious to axe, and Tab reaches everything."""

from pathlib import Path
from typing import Final

from playwright.sync_api import Page

import tests

THEMES: Final = ("light", "dark")
MOST_STOPS: Final = 300
_AXE = Path(tests.__file__).parents[1] / "ui_extensions/node_modules/axe-core/axe.min.js"
_SERIOUS = """async (iframes) => {
  const found = await axe.run(document, { resultTypes: ['violations'], iframes });
  return found.violations.filter((each) => ['serious', 'critical'].includes(each.impact))
    .flatMap((each) => each.nodes.map((node) => `${each.id}: ${node.html.slice(0, 200)} ${node.failureSummary}`));
}"""
_DRESS = """(theme) => {
  document.documentElement.classList.toggle('dark', theme === 'dark');
  const frame = () => new Promise((drawn) => requestAnimationFrame(drawn));
  return frame().then(frame).then(() => {
    // however busy the machine is, no color is measured on its way to another
    for (const moving of document.getAnimations()) {
      if (Number.isFinite(moving.effect?.getComputedTiming().endTime)) moving.finish();
    }
    return frame();
  });
}"""
_BEGIN = "() => { document.activeElement?.blur(); globalThis.reached = new Set(); }"
_STEP = "() => { reached.add(document.activeElement); return document.activeElement === document.body; }"
#: What a visitor sees, could use, and never came to.
_MISSED = """() => {
  const usable = 'a[href], button, input, select, textarea, [tabindex="0"]';
  return [...document.querySelectorAll(usable)]
    .filter((it) => !it.matches(':disabled, [tabindex="-1"]') && it.checkVisibility() && !reached.has(it))
    .map((it) => it.outerHTML.slice(0, 200));
}"""


def serious(page: Page, *, iframes: bool) -> list[str]:
    """What axe calls serious or critical in either theme. The page must move nothing (`reduced_motion`)."""
    page.evaluate(_AXE.read_text())
    found = []
    for theme in THEMES:
        page.evaluate(_DRESS, theme)
        found += [f"{theme}: {violation}" for violation in page.evaluate(_SERIOUS, iframes)]
    return found


def in_light(page: Page) -> None:
    """Dress the page as it was."""
    page.evaluate(_DRESS, "light")


def missed_by_tab(page: Page) -> list[str]:
    """What Tab never comes to on its way through the page and out again."""
    page.evaluate(_BEGIN)
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if page.evaluate(_STEP):
            break
    else:
        raise AssertionError(f"{page.url}: the focus never leaves the page")
    return list(page.evaluate(_MISSED))
