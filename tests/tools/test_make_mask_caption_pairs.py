"""The tool that makes region-noun pairs: what it writes, going on, broken images."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import tiny_ovseg
import torch
from mmengine.config import Config
from PIL import Image
from scripts import load_script
from tool_runs import run_tool

from ovseg.datasets import MaskCaptionPairs
from ovseg.datasets.pair_files import read_pairs
from ovseg.errors import UserError
from ovseg.training import MaskAdaptation

WORDS = 'star; ball, sphere; sky'
CAPTIONS = {
    'x/0.png': ['a star in the sky', 'a ball'],
    'x/1.png': ['a sphere'],
    'x/2.png': ['nothing that is listed'],
}


@pytest.fixture
def world(tmp_path):
    """Three pictures with region maps of three regions, one of them unclaimed."""
    random = np.random.default_rng(0)
    for folder in ('images/x', 'maps'):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(3):
        image = random.integers(0, 255, (24, 32, 3)).astype(np.uint8)
        regions = np.zeros((24, 32), np.uint8)
        regions[2:12, 3:15] = 1
        regions[12:22, 10:30] = 2
        cv2.imwrite(str(tmp_path / f'images/x/{number}.png'), image)
        cv2.imwrite(str(tmp_path / f'maps/{number}.png'), regions)
    (tmp_path / 'captions.json').write_text(json.dumps(CAPTIONS))
    return tmp_path


def make(world, *options, out='out'):
    return run_tool(
        'make_mask_caption_pairs',
        world / 'images',
        world / 'captions.json',
        world / out,
        *('--regions', world / 'maps', '--words', WORDS, '--templates', 'single'),
        *('--clip', 'tiny_clip_scenes', 'embedded', '--device', 'cpu'),
        *options,
    )


def titles(world, out='out'):
    return [pair.title for pair in read_pairs(world / out / 'pairs.csv')]


def test_pairs_are_written_and_read_by_the_data_set(world, capsys):
    assert make(world) == 0
    assert '3 pairs of 3 images' in capsys.readouterr().out
    assert titles(world) == ['star', 'sky', 'sphere']
    data = MaskCaptionPairs(world / 'out' / 'pairs.csv', size=32, augment=False)
    for index in range(len(data)):
        sample = data[index]
        assert sample['masks'].all()  # these regions fill their boxes
        assert sample['inputs'].float().std() > 20
    names = sorted(path.name for path in (world / 'out').iterdir())
    assert names == ['images', 'masks', 'pairs.csv']


def test_more_captions_give_more_nouns_and_every_id_more_regions(world):
    assert make(world, '--captions-per-image', 2, '--every-id') == 0
    assert titles(world) == ['star', 'sky', 'ball', 'sphere']


def test_images_of_one_name_keep_files_and_maps_apart(world):
    """``x/0.png``, ``x-0.png`` and ``x/0.webp`` would all be ``x-0-0.png``."""
    mirrored = world / 'maps' / 'x'
    mirrored.mkdir()
    for path in [*(world / 'maps').glob('*.png')]:
        path.rename(mirrored / path.name)
    for name in ('x-0.png', 'x/0.webp'):
        image = np.full((24, 32, 3), 200, np.uint8)
        cv2.imwrite(str(world / 'images' / name), image)
        (world / 'maps' / 'x-0.png').write_bytes((mirrored / '0.png').read_bytes())
    captions = {**CAPTIONS, 'x-0.png': ['a ball'], 'x/0.webp': ['a ball']}
    (world / 'captions.json').write_text(json.dumps(captions))
    assert make(world) == 1  # x/0.webp is another picture than that of maps/x/0.png
    pairs = read_pairs(world / 'out' / 'pairs.csv')
    assert [pair.title for pair in pairs] == ['star', 'sky', 'sphere', 'ball']
    means = [np.array(Image.open(world / 'out' / pair.filepath)).mean() for pair in pairs]
    assert [mean == 200 for mean in means] == [False, False, False, True]
    assert len({pair.filepath for pair in pairs}) == 4


def test_regions_may_come_from_a_config(world):
    config = world / 'regions.py'
    config.write_text(f"regions = dict(type='RegionFolder', folder={str(world / 'maps')!r})\n")
    arguments = [world / 'images', world / 'captions.json', world / 'out', '--proposals', config]
    options = ['--words', WORDS, '--clip', 'tiny_clip_scenes', 'embedded', '--templates', 'single']
    assert run_tool('make_mask_caption_pairs', *arguments, *options) == 0
    assert titles(world) == ['star', 'sky', 'sphere']
    config.write_text('other = 1\n')
    arguments[2] = world / 'again'
    assert run_tool('make_mask_caption_pairs', *arguments, *options) == 2


def test_regions_may_come_from_a_trained_maskformer(world):
    settings = tiny_ovseg.maskformer_config()
    # Of this seed some masks have an edge in the images; of others all are full or empty.
    torch.save(tiny_ovseg.build(seed=2, **settings).state_dict(), world / 'iter_2.pth')
    config = world / 'maskformer.py'
    Config({'model': settings, 'resize': {'scale': (64, 48)}}).dump(config)
    arguments = [world / 'images', world / 'captions.json', world / 'out']
    options = ['--words', WORDS, '--clip', 'tiny_clip_scenes', 'embedded', '--templates', 'single']
    source = ['--maskformer', config, world / 'iter_2.pth', '--device', 'cpu']
    assert run_tool('make_mask_caption_pairs', *arguments, *source, *options) == 0
    assert titles(world) == ['star', 'sky', 'sphere']
    masks = [np.array(Image.open(path)) for path in sorted((world / 'out/masks').iterdir())]
    assert any(0 < mask.mean() < 255 for mask in masks)


def test_an_adapted_clip_may_name_the_regions(world):
    adapted = MaskAdaptation(dict(model='tiny_clip_scenes', pretrained='embedded'), 'image_tower')
    adapted.clip.visual.proj.data.neg_()  # what was nearest is farthest
    torch.save(adapted.state_dict(), world / 'epoch_1.pth')
    assert make(world) == 0 and make(world, '--adapted', world / 'epoch_1.pth', out='other') == 0
    assert titles(world, 'other') == titles(world)
    images = [sorted((world / out / 'images').iterdir()) for out in ('out', 'other')]
    pairs = zip(*images, strict=True)
    assert all(first.read_bytes() != second.read_bytes() for first, second in pairs)
    assert make(world, '--adapted', world / 'nowhere.pth', out='third') == 2


def test_a_second_run_goes_on(world, monkeypatch):
    tool = load_script('make_mask_caption_pairs')
    words = [
        *(world / 'images', world / 'captions.json', world / 'out', '--regions', world / 'maps'),
        *('--words', WORDS, '--templates', 'single', '--clip', 'tiny_clip_scenes', 'embedded'),
    ]
    words = [str(word) for word in words]
    add, done = tool.PairFolder.add, []

    def add_or_die(self, name, regions):
        if name == 'x/1.png':
            raise KeyboardInterrupt
        done.append(name)
        add(self, name, regions)

    monkeypatch.setattr(tool.PairFolder, 'add', add_or_die)
    with pytest.raises(KeyboardInterrupt):
        tool.main(words)
    progress = world / 'out' / 'progress.jsonl'
    with progress.open('a', encoding='utf-8') as file:
        file.write('["x/1.png", [["ima')  # killed while writing
    monkeypatch.setattr(tool.PairFolder, 'add', add)
    (world / 'images/x/0.png').write_bytes(b'not looked at again')
    assert done == ['x/0.png'] and tool.main(words) == 0
    assert titles(world) == ['star', 'sky', 'sphere'] and not progress.exists()


def test_a_folder_is_never_mixed_or_written_over(world, capsys):
    assert make(world) == 0 and make(world) == 2
    assert 'pairs.csv exists' in capsys.readouterr().err
    (world / 'out' / 'pairs.csv').unlink()
    (world / 'out' / 'progress.jsonl').write_text('{"words": "other"}\n')
    assert make(world) == 2
    assert 'begun with other settings' in capsys.readouterr().err


def test_a_broken_image_is_left_out_and_named(world, capsys):
    (world / 'images/x/0.png').write_bytes(b'broken')
    assert make(world) == 1
    assert 'left out' in capsys.readouterr().out
    assert titles(world) == ['sphere']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--words', ''], 'empty'),
        (['--clip', 'tiny_clip_scenes', 'openai'], "goes with 'embedded'"),
        (['--regions', 'nowhere'], 'does not exist'),
        (['--words', 'mountain'], 'no caption has a noun'),
    ],
)
def test_wrong_words_are_explained(world, capsys, options, message):
    assert make(world, *options) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('record', [b'', b'\n', b'{"a": 1}\n[3]\n', b'{"a"\n', b'\xff\xfe\n', b'3'])
def test_a_record_that_no_run_wrote_is_one_sentence(record, tmp_path):
    script = load_script('make_mask_caption_pairs')
    (tmp_path / script.PROGRESS).write_bytes(record)
    with pytest.raises(UserError, match=script.PROGRESS):
        script.PairFolder(tmp_path, {'a': 1})
