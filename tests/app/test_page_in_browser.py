"""A visit in a real browser: upload, words, pixels of the picture, legend, clicks, downloads."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from page_in_browser import DESKTOP, PHONE, SCENE, ask, browser, click, open_page, place_of, upload
from PIL import Image
from served_page import served

from ovseg import OpenVocabSegmenter

WORDS = 'sky; grass; water; red star'
PIXELS = "() => document.querySelector('.ov-canvas').toDataURL('image/png')"
FILE = """([name, data, zeros]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes, new Uint8Array(zeros)], name, { type: 'image/png' }));
  return transfer;
}"""
# Bytes of JPEG and the browser's own mixing of colours, in mean and at 99 of 100 pixels.
MEAN, MOST = 3, 24


def pixels(page):
    data = base64.b64decode(page.evaluate(PIXELS).split(',')[1])
    return np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))


def assert_alike(shown, wanted):
    difference = np.abs(shown.astype(int) - wanted.astype(int)).max(-1)
    assert difference.mean() < MEAN and np.percentile(difference, 99) < MOST


def downloaded(page, kind):
    with page.expect_download() as waiting:
        page.click(f'[data-file="{kind}"]')
    path = waiting.value.path()
    return waiting.value.suggested_filename, path.read_bytes()


def drop(page, name, data=b'', zeros=0):
    """Drops a file of a name and content, with so many zeros behind it, on the page."""
    made = page.evaluate_handle(FILE, [name, base64.b64encode(data).decode(), zeros])
    page.dispatch_event('body', 'drop', {'dataTransfer': made})


def legend(page):
    rows = page.locator('.ov-legend tbody tr').all()
    return [tuple(cell.inner_text() for cell in row.locator('td').all()[1:]) for row in rows]


@pytest.fixture(scope='module')
def result():
    segment = OpenVocabSegmenter(device='cpu', precision='float32')
    return segment(SCENE, WORDS)


def test_a_visit(result, tmp_path):
    asked_for, complaints = [], []
    with served('maskclip-tiny') as url, browser() as shown:
        page = open_page(shown, url, DESKTOP)
        page.on('request', lambda request: asked_for.append(request.url))
        page.on('pageerror', lambda error: complaints.append(str(error)))
        page.on('console', lambda said: said.type == 'error' and complaints.append(said.text))
        page.reload()
        page.wait_for_selector('.ov-drop')

        upload(page)  # without words yet: the picture alone
        assert_alike(pixels(page), result.image)
        assert 'Now type what to look for' in page.inner_text('#ov-notes')
        ask(page, WORDS)
        areas = result.areas()
        assert legend(page) == [
            (each.name, f'{100 * each.share:.1f} %', f'{each.score:.2f}') for each in areas
        ]
        assert_alike(pixels(page), result.overlay(0.5, legend=False))

        right, down = place_of(page, 20, 480)  # the sky
        page.mouse.move(right, down)
        assert page.inner_text('.ov-tip') == 'sky'
        assert page.inner_text('tr.ov-hover .ov-name') == 'sky'
        click(page, 20, 480)
        assert page.inner_text('#ov-why tbody tr:first-child td').strip() == 'sky'
        place = re.search(r'Why row (\d+), column (\d+)\?', page.inner_text('#ov-why'))
        assert abs(int(place[1]) - 20) <= 1 and abs(int(place[2]) - 480) <= 1

        page.uncheck('.ov-legend tr:has-text("sky") input')
        sky = result.labels == 0
        partly = np.where(sky[..., None], result.image, result.overlay(0.5, legend=False))
        assert_alike(pixels(page), partly)

        page.fill('#ov-words textarea', 'sky;;')
        page.click('#ov-find')
        page.wait_for_selector('#ov-notes .ov-error')
        assert 'class 2' in page.inner_text('#ov-notes')
        assert_alike(pixels(page), partly)  # what was there stays

        name, data = downloaded(page, 'labels')
        assert name == 'scene_labels.png'
        assert (np.asarray(Image.open(io.BytesIO(data))) == result.labels).all()
        name, data = downloaded(page, 'overlay')
        overlay = np.asarray(Image.open(io.BytesIO(data)))
        assert name == 'scene_overlay.png' and (overlay[:384, :512][sky] == result.image[sky]).all()
        name, data = downloaded(page, 'json')
        assert name == 'scene.json' and json.loads(data)['vocabulary'] == list(result.names)

        page.evaluate("document.querySelector('.ov-opacity').value = 0")
        page.dispatch_event('.ov-opacity', 'input')
        assert_alike(pixels(page), result.image)

        narrow = open_page(shown, url, PHONE)
        drop(narrow, 'big.png', zeros=21_000_000)
        assert 'big.png has 21.0 MB, more than the 20 MB' in narrow.inner_text('.ov-trouble')
        drop(narrow, 'scene.png', SCENE.read_bytes())
        narrow.wait_for_selector('.ov-shown:not([hidden])')
        assert not narrow.is_visible('.ov-trouble')
        narrow.fill('#ov-words textarea', WORDS)
        narrow.press('#ov-words textarea', 'Enter')
        narrow.wait_for_selector('.ov-legend tbody tr')
        assert narrow.evaluate('document.documentElement.scrollWidth') <= PHONE[0]
    assert len(asked_for) > 10 and not complaints
    assert all(each.startswith((url, 'data:', 'blob:')) for each in asked_for)
