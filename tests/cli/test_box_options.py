"""``--box`` and ``--not-box``: boxes in the one image, for SAM 3."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from scripts import ROOT

from ovseg import OpenVocabSegmenter
from ovseg.cli.command import main

PHOTO = str(ROOT / 'demo' / 'scene.png')
WORDS = 'sky; grass; star; heart'
STAR, HEART = (57, 36, 160, 146), (362, 24, 470, 126)


def written(box):
    return ','.join(map(str, box))


def test_boxes_are_those_of_python(tmp_path):
    pytest.importorskip('transformers', minversion='5.12')
    asked = ['segment', PHOTO, WORDS, '--model', 'sam3-tiny', '--device', 'cpu', '--quiet']
    boxes = ['--box', f'star={written(STAR)}', '--not-box', f'star={written(HEART)}']
    labels = {}
    for name, more in (('plain', []), ('shown', boxes)):
        assert main([*asked, *more, '--out-dir', str(tmp_path / name), '--save', 'labels']) == 0
        labels[name] = np.asarray(Image.open(tmp_path / name / 'scene_labels.png'))
    segment = OpenVocabSegmenter('sam3-tiny', device='cpu')
    plain = segment(PHOTO, WORDS)
    shown = segment(segment.show(PHOTO, 'star', [STAR], [HEART]), WORDS)
    assert (labels['plain'] == plain.labels).all() and (labels['shown'] == shown.labels).all()
    assert (labels['plain'] != labels['shown']).any()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--box', 'sta=1,2,9,9'], "'sta', which is not asked for .*Did you mean 'star'"),
        (['--not-box', 'moon=1,2,9,9'], '--not-box is about'),
        (['--box', 'star=1,2,9'], 'takes a class and a box'),
        (['--box', '1,2,9,9'], 'takes a class and a box'),
        (['--box', 'star=1,2,nine,9'], 'numbers with commas'),
        (['--box', 'star=9,2,1,9'], 'no inside'),
        (['--box', f'star={written(STAR)}'], 'maskclip-tiny takes no boxes'),
    ],
)
def test_what_does_not_fit_is_one_sentence(options, message, tmp_path, capsys):
    words = ['segment', PHOTO, WORDS, '--out-dir', str(tmp_path / 'out')]
    assert main([*words, *options]) == 2
    assert not list(tmp_path.rglob('*.png'))
    assert re.search(message, capsys.readouterr().err)


def test_boxes_belong_to_one_image(tmp_path, capsys):
    for name in ('a.png', 'b.png'):
        Image.open(PHOTO).save(tmp_path / name)
    words = ['segment', str(tmp_path), WORDS, '--out-dir', str(tmp_path / 'out')]
    assert main([*words, '--box', f'star={written(STAR)}']) == 2
    assert 'pixels of one image, and there are 2' in capsys.readouterr().err
