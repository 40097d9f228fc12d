"""Folders of drawn pictures, and ``ovseg label`` over them."""

from __future__ import annotations

import json

from PIL import Image

from ovseg.cli.command import main
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene


def save_scene(path, index):
    """A picture of 64 x 80 pixels of the small world."""
    scene = sample_scene('val', index, size=(64, 80))
    Image.fromarray(draw(scene, whole(scene, 1)).image).save(path)


def fill(folder):
    """Three pictures in ``folder/photos``, one of them in a folder below, and one broken file."""
    (folder / 'photos' / 'below').mkdir(parents=True)
    for index, name in enumerate(('a.png', 'below/a.png', 'label.png')):
        save_scene(folder / 'photos' / name, index)
    (folder / 'photos' / 'bad.png').write_bytes(b'no picture')
    return folder


def lines(path):
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def label(*words):
    """The exit code of a quiet run."""
    return main(['label', *words, '--quiet'])
