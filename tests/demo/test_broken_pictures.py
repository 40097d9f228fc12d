"""The demo with pictures that are none: counted among many, one sentence alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from broken_files import ANY, IMAGES
from PIL import Image
from scripts import load_script

CONFIG = Path(__file__).resolve().parents[1] / 'data' / 'configs' / 'random_tiny.py'
# What a folder's listing does not name, or a reader takes; pages of other kinds are no pictures.
UNLISTED = {
    *('directory', 'pipe', 'device', 'link_to_itself', 'missing', 'file_as_a_folder'),
    *('name_too_long', 'name_with_a_zero_byte', 'name_that_is_no_unicode', 'program_that_draws'),
    'cut_avif',
}

TOLD_BY_DECODING = {
    *('cut_tif', 'cut_gif', 'cut_avif', 'cut_webp', 'cut_bmp', 'cut_ppm', 'cut_jp2'),
    *('png_of_bad_deflate', 'png_of_bad_sums', 'bomb_of_16_bit_colours', 'without_pixels'),
}

image_demo = load_script('image_demo', 'demo')


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = image_demo.main([*map(str, words), 'sky; grass', '--model', str(CONFIG)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_among_many_they_are_counted(demo, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    kinds = {**ANY, **IMAGES}
    broken = [make(folder) for name, make in kinds.items() if name not in UNLISTED]
    assert len(broken) > 15
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(folder / 'whole.png')
    code, out, err = demo(folder)
    assert code == 1 and f'1 of {len(broken) + 1} images' in out
    failed = err.strip().splitlines()[-len(broken) :]
    assert all(line.startswith(f'  {folder}') for line in failed)
    assert sorted(Path(line.strip().partition(': ')[0]) for line in failed) == sorted(broken)
    assert not any('Error(' in line for line in failed)


# The listing of folders says what the system refuses; a captured stderr cannot hold such a name.
NOT_READ = ('name_too_long', 'name_that_is_no_unicode')


@pytest.mark.parametrize('kind', [kind for kind in (*ANY, *IMAGES) if kind not in NOT_READ])
def test_alone_it_is_one_sentence_before_anything_is_built(kind, demo, tmp_path, monkeypatch):
    path = {**ANY, **IMAGES}[kind](tmp_path)
    if kind not in TOLD_BY_DECODING:
        monkeypatch.setattr(
            'ovseg.cli.segment_files.OpenVocabSegmenter', lambda *_, **__: pytest.fail('built')
        )
    code, _, err = demo(path)
    lines = err.strip().splitlines()
    assert code == 2 and len(lines) == 1 and lines[0].startswith('error: ')
