"""One rejection rule through every door: command line, config, Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripts import ROOT

from ovseg import OpenVocabSegmenter
from ovseg.cli.command import main
from ovseg.cli.test import set_rejection
from ovseg.config_files import read_config
from ovseg.errors import Notice, UserError
from ovseg.scenes.world import MATERIALS, OBJECTS
from ovseg.vocabulary import Rejection, Vocabulary, build_vocabulary

RULE = 'margin=1'  # nothing is that sure
WORDS = 'sky; grass'


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.open(ROOT / 'demo' / 'scene.png').convert('RGB').resize((64, 64)).save('photo.png')
    return 'photo.png'


@pytest.mark.parametrize('more', [[], ['--background', 'ball, star']])
def test_the_command_line(photo, capsys, more):
    words = ['segment', photo, WORDS, '--rejection', RULE, '--json', '--quiet', *more]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found['classes'] == {'background': 1.0}


def test_segments_take_no_rule_for_pixels(photo, capsys):
    words = ['segment', photo, WORDS, '--task', 'panoptic', '--model', 'ovseg-tiny']
    assert main([*words, '--rejection', RULE]) == 2
    assert '--rejection means something to pixels only' in capsys.readouterr().err


def test_a_run_of_labels_remembers_the_rule(photo, capsys):
    words = ['label', photo, WORDS, '--out-dir', 'out', '--quiet']
    assert main([*words, '--rejection', RULE]) == 0
    (written,) = Path('out').rglob('*.png')
    assert (np.asarray(Image.open(written)) == 0).all()
    assert main(words) == 2  # another question than the folder's
    assert 'labels of a run with other words' in capsys.readouterr().err


def test_a_config(tmp_path):
    config = read_config(ROOT / 'configs' / 'maskclip' / 'maskclip_tiny.py')
    set_rejection(config, None)
    assert not build_vocabulary(config.model.vocabulary).rejection.rejects
    (tmp_path / 'rule.json').write_text(json.dumps({'kind': 'energy', 'energy': -0.2}))
    set_rejection(config, str(tmp_path / 'rule.json'))
    assert build_vocabulary(config.model.vocabulary).rejection == Rejection('energy', energy=-0.2)
    config.model.vocabulary = {'dataset': 'voc21', 'protocol': 'sclip'}
    set_rejection(config, 'kind=class_zero, margin=0.1')
    assert build_vocabulary(config.model.vocabulary).rejection.margin == 0.1
    config.model.vocabulary = None
    with pytest.raises(UserError, match='--rejection is a rule for words'):
        set_rejection(config, RULE)


def test_where_all_of_a_small_world_is_asked_for_no_word_is_left_for_none_of_these():
    config = read_config(ROOT / 'configs' / 'maskclip' / 'maskclip_tiny.py')
    with pytest.raises(UserError, match='all that there is in Scenes is asked for'):
        set_rejection(config, 'contrast=auto')
    config.model.vocabulary = 'sky; red star; ball'
    set_rejection(config, 'contrast=auto')
    words = build_vocabulary(config.model.vocabulary).rejection.words
    assert 'grass' in words and 'sky' not in words
    segment = OpenVocabSegmenter('maskclip-tiny', device='cpu', contrast='auto')
    with pytest.warns(Notice, match='every contrast word is asked for: nothing stands for'):
        segment(Image.new('RGB', (64, 64)), '; '.join([*MATERIALS, *OBJECTS]))


def test_python(photo):
    segment = OpenVocabSegmenter('maskclip-tiny', device='cpu', rejection=RULE)
    image = segment.encode(photo)
    assert segment(image, WORDS).names == ('background', 'sky', 'grass')
    assert (segment(image, WORDS).labels == 0).all()
    own = Vocabulary.parse(WORDS, 'threshold=0.1')
    assert (segment(image, own).labels > 0).all()  # words keep the rule that they state
