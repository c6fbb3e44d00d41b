"""What every page of the evaluation room must be, in a browser of its own."""

import os

from tests.journeys.accessibility import in_light, serious
from tests.journeys.browser import Console

NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
#: A message that has no words shows its key.
KEYS = r"() => document.body.innerText.match(/\b(evaluation|kit|shell|catalog)\.[a-z]\w*/g) ?? []"


def is_sound(visitor: Console, name: str) -> None:
    """For axe in both themes, and on a phone; SHOTS is the folder for its picture under `name`."""
    page = visitor.page
    assert serious(page, iframes=False) == [], page.url
    in_light(page)
    for size in (NARROW, WIDE):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert page.evaluate("document.scrollingElement.scrollWidth") <= size["width"], page.url
        assert page.evaluate(KEYS) == []
        if shots := os.environ.get("SHOTS"):
            page.screenshot(path=f"{shots}/{name}-{size['width']}.png", full_page=True)
