"""The page in a headless browser: Debian's chromium, steered by playwright.

As a script it makes the picture of ``docs/web_page.md``:

    python tests/app/page_in_browser.py docs/images/web_page.png
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import ROOT
from served_page import served

SCENE = ROOT / 'demo' / 'scene.png'
WORDS = 'sky; grass; water; red star; purple kite, kite; heart; mushroom; flower; ball; fish'
DESKTOP, PHONE = (1180, 940), (390, 844)


@contextmanager
def browser() -> Iterator[Any]:
    """A browser of playwright's."""
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is missing')
    program = shutil.which('chromium') or shutil.which('chromium-browser')
    if program is None:
        pytest.skip('there is no chromium: apt-get install chromium')
    with sync_api.sync_playwright() as playwright:
        # Its sandbox wants rights that containers do not give; it sees our own page alone.
        shown = playwright.chromium.launch(executable_path=program, args=['--no-sandbox'])
        yield shown
        shown.close()


def open_page(shown: Any, url: str, size: tuple[int, int]) -> Any:
    """The page in a tab of (width, height) pixels."""
    page = shown.new_page(viewport={'width': size[0], 'height': size[1]})
    page.goto(url)
    page.wait_for_selector('.ov-drop')
    return page


def upload(page: Any) -> None:
    """Drops the scene and waits until it is shown."""
    page.set_input_files('.ov-file', str(SCENE))
    page.wait_for_selector('.ov-shown:not([hidden])')


def ask(page: Any, words: str) -> None:
    """Types words, and waits until their first one is in the legend."""
    page.fill('#ov-words textarea', words)
    page.click('#ov-find')
    first = words.split(';')[0].split(',')[0]
    page.wait_for_selector(f'.ov-legend tbody tr:has-text("{first}")')


def click(page: Any, row: int, column: int) -> None:
    """Clicks a pixel of the picture, and waits for the words that competed for it."""
    right, down = place_of(page, row, column)
    page.mouse.click(right, down)
    page.wait_for_selector('#ov-why tbody tr')


def place_of(page: Any, row: int, column: int) -> tuple[float, float]:
    """Where a pixel of the scene is in the tab."""
    page.locator('.ov-canvas').scroll_into_view_if_needed()
    box = page.locator('.ov-canvas').bounding_box()
    height, width = 384, 512
    return (
        box['x'] + (column + 0.5) * box['width'] / width,
        box['y'] + (row + 0.5) * box['height'] / height,
    )


def picture_of_page(path: Path) -> None:
    """Writes what the page looks like with an answer, a hovered class and a clicked pixel."""
    with served('trident-tiny', 'maskclip-tiny', 'maskclip-vit-b16') as url, browser() as shown:
        page = open_page(shown, url, DESKTOP)
        upload(page)
        ask(page, WORDS)
        click(page, 100, 270)
        page.mouse.move(*place_of(page, 60, 420))
        page.wait_for_selector('.ov-tip:not([hidden])')
        page.screenshot(path=str(path), full_page=True)


if __name__ == '__main__':
    picture_of_page(Path(sys.argv[1]))
