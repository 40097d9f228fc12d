"""The demo's files: where they go, and what they never replace."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scripts import load_script, own_words
from warm_processes import run_warm

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'tests' / 'data' / 'configs' / 'random_tiny.py'
SCRIPT = ROOT / 'demo' / 'image_demo.py'
WORDS = 'cat; sofa; wall'

image_demo = load_script('image_demo', 'demo')


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)

    def run(*arguments):
        try:
            code = image_demo.main([*map(str, arguments), '--model', str(CONFIG)])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, own_words(captured.err)

    return run


def noise(path, seed=0, size=(20, 30)):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def below(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in Path(folder).rglob('*') if path.is_file()
    )


def test_the_folder_of_images_as_output_folder_keeps_them_and_is_run_again(demo, tmp_path):
    mine = {}
    for seed, name in enumerate(['a.png', 'a_overlay.png', 'a_labels.png', 'sub/b.png']):
        mine[name] = noise(tmp_path / 'photos' / name, seed).read_bytes()
    code, out, err = demo('photos', WORDS, '--out-dir', 'photos', '--save', 'labels,overlay')
    assert code == 0 and '4 of 4 images' in out
    assert 'the files of 1 of 4 images have longer or shortened names' in err
    assert 'a_png' in err
    first = below('photos')
    assert len(first) == 12 and 'sub/b_labels.png' in first and 'a_png_labels.png' in first
    code, out, err = demo('photos', WORDS, '--out-dir', 'photos', '--save', 'labels,overlay')
    assert code == 0 and '4 of 4 images' in out
    assert 'note: 8 pictures that ovseg made itself are left out' in err
    assert below('photos') == first
    for name, content in mine.items():
        assert (tmp_path / 'photos' / name).read_bytes() == content


def test_a_labelling_tools_file_beside_the_image_stays(demo, tmp_path):
    noise(tmp_path / 'a.jpg')
    (tmp_path / 'a.json').write_text('{"shapes": []}')
    code, out, err = demo('a.jpg', WORDS, '--out-dir', '.', '--save', 'json')
    assert code == 0 and 'a_jpg.json' in out and 'note: the files of 1 of 1 images' in err
    assert (tmp_path / 'a.json').read_text() == '{"shapes": []}'
    assert json.loads((tmp_path / 'a_jpg.json').read_text())['image'] == 'a.jpg'


def test_kinds_do_not_replace_each_other(demo, tmp_path):
    for name in ('scene', 'scene_coco', 'other'):
        noise(tmp_path / 'photos' / f'{name}.png')
    code, _, _ = demo('photos', WORDS, '--save', 'json,coco')
    assert code == 0
    assert below('outputs') == [
        'other.json',
        'other_coco.json',
        'scene_coco_png.json',
        'scene_coco_png_coco.json',
        'scene_png.json',
        'scene_png_coco.json',
    ]


def test_a_pattern_without_quotes_is_several_images(demo, tmp_path):
    for name in ('a.png', 'b.png', 'c.png'):
        noise(tmp_path / 'photos' / name)
    listed = ['photos/a.png', 'photos/b.png', 'photos/c.png']
    code, out, _ = demo(*listed, WORDS, '--save', 'labels')
    assert code == 0 and '3 of 3 images' in out
    assert below('outputs') == ['a_labels.png', 'b_labels.png', 'c_labels.png']
    (tmp_path / 'photos' / 'notes.txt').write_text('cat')
    code, _, err = demo(*listed, 'photos/notes.txt', WORDS)
    assert code == 2
    assert err.strip() == (
        'error: photos/notes.txt stands among the images and is none: put the pattern between '
        'quotes, such as "photos/*.jpg", or name the folder photos.'
    )
    code, _, err = demo(*listed, 'cat', 'sofa')
    assert code == 2 and 'such as "cat; sofa"' in err


def test_pipes_and_circles_of_links_do_not_hold_a_run_up(demo, tmp_path):
    noise(tmp_path / 'photos' / 'a' / '1.png')
    os.mkfifo(tmp_path / 'photos' / 'pipe.png')
    for name in ('up', 'up_too'):
        (tmp_path / 'photos' / 'a' / name).symlink_to(tmp_path / 'photos')
    code, _, _ = demo('photos', WORDS, '--save', 'labels')
    assert code == 0 and below('outputs') == ['a/1_labels.png']
    code, _, err = demo('photos/pipe.png', WORDS)
    assert code == 2 and 'pipe.png is no image but a pipe or a device' in err


def test_names_that_are_long_or_no_unicode(demo, tmp_path):
    noise(tmp_path / 'photos' / ('n' * 246 + '.png'))
    folder = os.fsencode(tmp_path / 'photos')
    shutil.copy(tmp_path / 'photos' / ('n' * 246 + '.png'), folder + b'/\xff.png')
    kinds = 'labels,overlay,scores,json,coco'
    code, _, err = demo('photos', WORDS, '--save', kinds)
    assert code == 0 and 'shortened names' in err
    names = os.listdir(os.fsencode(tmp_path / 'outputs'))
    assert len(names) == 10 and b'\xff_coco.json' in names
    facts = json.loads((tmp_path / 'outputs' / '\udcff.json').read_text(encoding='utf-8'))
    assert facts['image'] == 'photos/\udcff.png'
    code, out, _ = demo('photos/\udcff.png', WORDS, '--save', 'json')
    assert code == 0 and 'photos/\\udcff.png: ' in out
    out.encode('utf-8')


def test_a_full_disk_ends_a_run_in_a_sentence_and_keeps_what_is_done(demo, tmp_path, monkeypatch):
    for name in 'abcde':
        noise(tmp_path / 'photos' / f'{name}.png')
    save = Image.Image.save
    written = []

    def save_until_full(self, path, *args, **settings):
        written.append(path)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return save(self, path, *args, **settings)

    monkeypatch.setattr(Image.Image, 'save', save_until_full)
    code, out, err = demo('photos', WORDS, '--save', 'labels,overlay')
    assert code == 1 and '1 of 5 images' in out
    assert 'error: 4 of 5 images failed:' in err
    assert 'outputs/b_overlay.png (No space left on device): make room' in err
    assert '3 more were not tried' in err
    assert below('outputs') == ['a_labels.png', 'a_overlay.png', 'b_labels.png']


def test_a_limit_on_file_sizes_is_one_sentence_a_file(tmp_path, monkeypatch):
    """With the system's own error, in a process of its own."""
    noise(tmp_path / 'photos' / 'large.png', size=(300, 400))
    noise(tmp_path / 'photos' / 'small.png')
    script = tmp_path / 'limited.py'
    script.write_text(
        'import resource, runpy\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n'
        f'runpy.run_path({str(SCRIPT)!r}, run_name="__main__")\n'
    )
    monkeypatch.chdir(tmp_path)
    words = ('photos', WORDS, '--model', CONFIG, '--save', 'overlay,json')
    done = run_warm(script, *words, OVSEG_CACHE=str(tmp_path / 'cache'))
    assert done.returncode == 1, done.stderr
    assert 'large_overlay.png (File too large): raise the limit on file sizes' in done.stderr
    assert 'Traceback' not in done.stderr
    assert below(tmp_path / 'outputs') == ['small.json', 'small_overlay.png']


def test_thin_pictures_take_little_memory(demo, tmp_path):
    """A panel of letters that follow the longer side would be thousands of pixels high."""
    for name, size in (('wide', (1, 20000)), ('tall', (20000, 1))):
        noise(tmp_path / 'photos' / f'{name}.png', size=size)
    code, _, err = demo('photos', WORDS, '--save', 'overlay')
    assert code == 0, err
    for name in ('wide', 'tall'):
        with Image.open(tmp_path / 'outputs' / f'{name}_overlay.png') as overlay:
            assert overlay.width * overlay.height < 400 * 21000
