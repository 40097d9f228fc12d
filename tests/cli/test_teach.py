from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovseg.cli import label, segment, teach
from ovseg.cli.exemplar_arguments import CLASSIFIERS
from ovseg.errors import UserError, notices_heard
from ovseg.exemplars import RULE_NAMES, read_bank
from ovseg.scenes.datasets import CLASSES, class_labels
from ovseg.scenes.demo import demo_scene
from ovseg.scenes.draw import draw

WORDS = 'sky; grass; water; ball'


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A picture, a mask of its ball, and a folder of examples."""
    folder = tmp_path_factory.mktemp('examples')
    drawn = demo_scene()
    picture = draw(drawn)
    labels = class_labels(drawn, picture)
    Image.fromarray(picture.image).save(folder / 'scene.png')
    for place in (folder, folder / 'shown' / 'ball', folder / 'shown' / 'sky'):
        place.mkdir(parents=True, exist_ok=True)
        name = 'ball' if place == folder else place.name
        mask = np.where(labels == CLASSES.index(name), 255, 0).astype(np.uint8)
        mask = mask if name == 'ball' else np.minimum(mask, 1)
        Image.fromarray(mask).save(place / 'scene.png.mask.png')
        if place != folder:
            Image.fromarray(picture.image).save(place / 'scene.png')
    return folder


def test_the_rules_of_the_command_line_are_all_there_are():
    assert sorted(CLASSIFIERS) == sorted(RULE_NAMES)


def test_a_bank_is_taught_listed_used_merged_and_emptied(files, tmp_path, capsys):
    bank, image = str(tmp_path / 'b.safetensors'), str(files / 'scene.png')
    mask = str(files / 'scene.png.mask.png')
    assert teach.main([bank, 'ball', image, '--mask', mask, '--note', 'CC0'], 'teach') == 0
    assert '1 examples of 1 classes: ball (1)' in capsys.readouterr().out
    other = str(tmp_path / 'other.safetensors')
    assert teach.main([other, '--exemplars', str(files / 'shown'), '-q'], 'teach') == 0
    capsys.readouterr()
    assert teach.main([bank, '--merge', other, '--json'], 'teach') == 0
    facts = json.loads(capsys.readouterr().out)
    # The picture is the same under both paths, so that its ball is one example.
    assert facts['classes'] == {'ball': 1, 'sky': 1} and facts['note'] == 'CC0'
    assert 'tiny_clip_scenes' in facts['encoder']
    assert teach.main([bank, '--remove', 'ball'], 'teach') == 0
    with pytest.raises(UserError, match='Nothing would be left'):
        teach.main([bank, '--remove', 'sky'], 'teach')
    assert read_bank(bank).counts() == {'sky': 1}
    capsys.readouterr()
    assert teach.main([bank, '--list'], 'teach') == 0
    assert 'sky: ' in capsys.readouterr().out


def test_examples_change_what_is_segmented_and_what_a_labelled_folder_says(files, tmp_path):
    def labels(name, *options):
        words = [str(files / 'scene.png'), WORDS, '--save', 'labels', '-q', *options]
        assert segment.main([*words, '--out-dir', str(tmp_path / name)], 'segment') == 0
        return np.asarray(Image.open(tmp_path / name / 'scene_labels.png'))

    shown = ['--exemplars', str(files / 'shown')]
    plain, taught = labels('plain'), labels('taught', *shown)
    assert not np.array_equal(plain, taught)
    assert np.array_equal(plain, labels('text', *shown, '--classifier', 'text'))
    folder = tmp_path / 'in'
    folder.mkdir()
    Image.open(files / 'scene.png').save(folder / 'a.png')
    out = str(tmp_path / 'out')
    assert label.main([str(folder), WORDS, '--out-dir', out, '-q', *shown], 'label') == 0
    with pytest.raises(UserError, match='examples'):
        label.main([str(folder), WORDS, '--out-dir', out, '-q'], 'label')


def test_an_example_twice_counts_once_and_what_words_do_not_mean_is_listed(files, tmp_path, capsys):
    bank, image = str(tmp_path / 'b.safetensors'), str(files / 'scene.png')
    assert teach.main([bank, '--exemplars', str(files / 'shown'), '--no-words'], 'teach') == 0
    before = Path(bank).read_bytes()
    with notices_heard() as heard:
        assert teach.main([bank, '--merge', bank], 'teach') == 0
    assert Path(bank).read_bytes() == before and '2 of the 2 examples' in heard[0]
    capsys.readouterr()
    assert teach.main([bank, '--json', '--note', 'mine'], 'teach') == 0
    facts = json.loads(capsys.readouterr().out)
    assert sorted(facts['no_words']) == ['ball', 'sky'] and facts['date'] == read_bank(bank).date
    with notices_heard() as heard:
        words = [image, 'sun; star', '--bank', bank, '--out-dir', str(tmp_path / 'out'), '-q']
        assert segment.main(words, 'segment') == 0
    assert any("of 'ball', 'sky', and none of these is asked for" in line for line in heard)


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['mug'], 'a name, an image and one mark'),
        (['mug', 'IMAGE'], 'a name, an image and one mark'),
        (['mug', 'IMAGE', '--box', '1,2,x,4'], '--box takes numbers'),
        (['mug', 'IMAGE', '--points', '1,2,3'], '--points takes pairs'),
        (['--remove', 'a', '--merge', 'b'], 'one thing at a time'),
        (['--mask', 'm.png'], 'marks an example'),
        (['--list', '--no-words'], 'about the class of an example'),
        (['a\nb', 'IMAGE', '--box', '0,0,99,99'], 'one line of letters'),
        ([], 'Say what to do'),
        (['mug', 'IMAGE', '--box', '0,0,0,0'], 'no pixel of the image'),
    ],
)
def test_what_does_not_go_together_is_told_and_nothing_written(files, tmp_path, words, said):
    image = str(files / 'scene.png')
    words = [image if word == 'IMAGE' else word for word in words]
    with pytest.raises(UserError, match=said):
        teach.main([str(tmp_path / 'b.safetensors'), *words], 'teach')
    assert not list(tmp_path.iterdir())


def test_a_rule_without_examples_is_told(files, tmp_path):
    words = [str(files / 'scene.png'), WORDS, '--classifier', 'rns', '--out-dir', str(tmp_path)]
    with pytest.raises(UserError, match='add --bank FILE or --exemplars DIR'):
        segment.main(words, 'segment')
