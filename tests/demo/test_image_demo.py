"""The demo as a user runs it: messages, exit codes, and nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scripts import load_script, own_words
from tiny_dense_clip import CLASSES, write_dense_clip

from ovseg.apis import OpenVocabSegmenter
from ovseg.scenes.demo import DEMO_ZOOM, demo_scene
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import MATERIALS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'tests' / 'data' / 'configs' / 'random_tiny.py'
SCRIPT = ROOT / 'demo' / 'image_demo.py'
WORDS = 'cat, kitten; sofa; wall'

image_demo = load_script('image_demo', 'demo')


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    """Runs the demo in an empty folder with a random model; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)

    def run(*arguments: str, model: str | Path = CONFIG) -> tuple[int, str, str]:
        try:
            code = image_demo.main([*map(str, arguments), '--model', str(model)])
        except SystemExit as stop:  # argparse
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def run_script(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """The demo in a process of its own."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def save_noise(path: Path, height: int = 40, width: int = 60, seed: int = 0) -> Path:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# What goes well -------------------------------------------------------------------------------


def test_the_embedded_model_finds_the_words_of_its_world(tmp_path):
    """The first command of the README: real masks, with nothing but defaults."""
    words = 'sky; grass; water; red star'
    done = run_script(ROOT / 'demo' / 'scene.png', words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert own_words(done.stderr) == ''
    assert written(tmp_path / 'outputs') == [
        'scene.json',
        'scene_labels.png',
        'scene_overlay.png',
    ]
    assert str(Path('outputs') / 'scene_overlay.png') in done.stdout
    labels = np.asarray(Image.open(tmp_path / 'outputs' / 'scene_labels.png'))
    scene = demo_scene()
    picture = draw(scene, whole(scene, DEMO_ZOOM))
    star = len(MATERIALS)  # The scene's first thing.
    for label, owner in enumerate([*map(MATERIALS.index, ('sky', 'grass', 'water')), star]):
        assert (labels[picture.owner == owner] == label).mean() > 0.6, words.split('; ')[label]


def test_one_image_prints_a_table_and_the_files(demo, tmp_path):
    save_noise(tmp_path / 'photo.png')
    code, out, err = demo(
        'photo.png', WORDS, '--out-dir', 'masks', '--save', 'labels,overlay,scores,json,coco'
    )
    assert (code, err) == (0, '')
    assert written(tmp_path / 'masks') == [
        'photo.json',
        'photo_coco.json',
        'photo_labels.png',
        'photo_overlay.png',
        'photo_scores.npz',
    ]
    for name in written(tmp_path / 'masks'):
        assert name in out
    facts = json.loads((tmp_path / 'masks' / 'photo.json').read_text())
    assert facts['vocabulary'] == ['cat', 'sofa', 'wall']
    for found in facts['classes']:
        assert f'{100 * found["share"]:.1f} %' in out
        assert f'{found["score"]:.3f}' in out
    labels = np.asarray(Image.open(tmp_path / 'masks' / 'photo_labels.png'))
    assert labels.shape == (40, 60)
    assert set(np.unique(labels)) == {found['index'] for found in facts['classes']}


def test_words_from_a_file_with_background_threshold_and_templates(demo, tmp_path):
    save_noise(tmp_path / 'photo.png')
    (tmp_path / 'words.txt').write_text('cat, kitten\nsofa\n')
    (tmp_path / 'templates.txt').write_text('a drawing of a {}.\n')
    code, _, err = demo(
        *('photo.png', 'words.txt', '--background', 'sky, floor', '--threshold', '0.2'),
        *('--template-set', 'templates.txt', '--device', 'cpu'),
    )
    assert (code, err) == (0, '')
    facts = json.loads((tmp_path / 'outputs' / 'photo.json').read_text())
    assert facts['vocabulary'] == ['background', 'cat', 'sofa']
    assert facts['background_index'] == 0


def test_a_folder_sums_up_and_draws_no_bar_into_a_log(demo, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for seed in range(3):
        save_noise(folder / f'{seed}.png', seed=seed)
    (folder / 'notes.txt').write_text('not an image, and not asked for')
    code, out, err = demo('photos', WORDS, '--save', 'labels')
    assert code == 0
    assert '\r' not in err
    assert '3 of 3 images' in out
    assert 'results in outputs' in out
    assert written(tmp_path / 'outputs') == [f'{seed}_labels.png' for seed in range(3)]


def test_a_pattern_finds_images_in_folders_and_keeps_equal_names_apart(demo, tmp_path):
    for name in ['a/photo.png', 'b/photo.png', 'b/photo.jpg', 'b/other.png']:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save_noise(tmp_path / name)
    code, out, _ = demo('*/*.*', WORDS, '--save', 'json')
    assert code == 0
    assert '4 of 4' in out
    sources = {
        path.relative_to(tmp_path / 'outputs').as_posix(): json.loads(path.read_text())['image']
        for path in (tmp_path / 'outputs').rglob('*.json')
    }
    assert sources == {
        'a/photo.json': 'a/photo.png',
        'b/other.json': 'b/other.png',
        'b/photo_jpg.json': 'b/photo.jpg',
        'b/photo_png.json': 'b/photo.png',
    }


# Images that are unusual but fine -------------------------------------------------------------


def as_grey(path: Path) -> None:
    Image.open(path).convert('L').save(path)


def as_alpha(path: Path) -> None:
    Image.open(path).convert('RGBA').save(path)


def as_palette(path: Path) -> None:
    Image.open(path).convert('P').save(path)


def as_16_bit(path: Path) -> None:
    grey = np.asarray(Image.open(path).convert('L')).astype(np.uint16) * 257
    Image.fromarray(grey).save(path)


def as_cmyk(path: Path) -> None:
    Image.open(path).convert('CMYK').save(path, format='JPEG')


def as_rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)


@pytest.mark.parametrize('convert', [as_grey, as_alpha, as_palette, as_16_bit, as_cmyk, as_rotated])
def test_unusual_images_are_segmented(demo, tmp_path, convert):
    convert(save_noise(tmp_path / 'photo.png', 40, 60))
    code, _, err = demo('photo.png', WORDS)
    assert (code, err) == (0, '')
    labels = np.asarray(Image.open(tmp_path / 'outputs' / 'photo_labels.png'))
    assert labels.shape == ((60, 40) if convert is as_rotated else (40, 60))


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (300, 1), (3, 2500)])
def test_pictures_of_extreme_shape_are_segmented(demo, tmp_path, size):
    save_noise(tmp_path / 'photo.png', *size)
    code, _, err = demo('photo.png', WORDS)
    assert (code, err) == (0, '')
    assert np.asarray(Image.open(tmp_path / 'outputs' / 'photo_labels.png')).shape == size
    assert np.asarray(Image.open(tmp_path / 'outputs' / 'photo_overlay.png')).shape[0] >= size[0]


def test_a_very_large_picture_is_segmented(demo, tmp_path):
    Image.new('RGB', (6000, 4000), (90, 120, 200)).save(tmp_path / 'photo.png')
    code, _, err = demo('photo.png', WORDS, '--save', 'labels')
    assert (code, err) == (0, '')
    with Image.open(tmp_path / 'outputs' / 'photo_labels.png') as labels:
        assert labels.size == (6000, 4000)


# Images that are not fine ---------------------------------------------------------------------


def test_missing_image(demo, tmp_path):
    code, out, err = demo('photo.png', WORDS)
    assert (code, out) == (2, '')
    assert err == 'error: There is no image photo.png.\n'
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'error: The image photo.png is damaged or cut off ('),
        (b'', 'error: The image photo.png is an empty file.\n'),
        (b'hello', 'error: The image photo.png is not an image that can be read.\n'),
    ],
    ids=['truncated', 'empty', 'text'],
)
def test_broken_image(demo, tmp_path, content, message):
    path = save_noise(tmp_path / 'photo.png')
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    code, _, err = demo('photo.png', WORDS)
    assert code == 2
    assert err.startswith(message)
    assert err.count('\n') == 1
    assert written(tmp_path) == ['photo.png']


def test_a_folder_run_survives_broken_images_and_lists_them(demo, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for seed in range(2):
        save_noise(folder / f'good{seed}.png', seed=seed)
    (folder / 'text.png').write_bytes(b'hello')
    data = save_noise(folder / 'cut.jpg', 100, 100).read_bytes()
    (folder / 'cut.jpg').write_bytes(data[:2000])
    code, out, err = demo('photos', WORDS, '--save', 'labels')
    assert code == 1
    assert '2 of 4 images' in out
    assert 'error: 2 of 4 images failed:' in err
    assert 'photos/text.png: The image photos/text.png is not an image' in err
    assert 'photos/cut.jpg: The image photos/cut.jpg is damaged' in err
    assert 'Traceback' not in err
    assert written(tmp_path / 'outputs') == ['good0_labels.png', 'good1_labels.png']


def test_a_folder_of_broken_images_only(demo, tmp_path):
    (tmp_path / 'photos').mkdir()
    for name in 'ab':
        (tmp_path / 'photos' / f'{name}.png').write_bytes(b'hello')
    code, _, err = demo('photos', WORDS)
    assert code == 2
    assert 'error: None of the 2 images could be segmented:' in err
    assert 'b.png' in err
    assert written(tmp_path / 'outputs') == []


def test_a_folder_run_survives_errors_that_nobody_foresaw(demo, tmp_path, monkeypatch):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for seed in range(2):
        save_noise(folder / f'{seed}.png', seed=seed)
    segment = OpenVocabSegmenter.segment

    def fail_on_first(self, image, *rest, **settings):
        if image.name == '0.png':
            raise RuntimeError('unforeseen')
        return segment(self, image, *rest, **settings)

    monkeypatch.setattr(OpenVocabSegmenter, 'segment', fail_on_first)
    code, _, err = demo('photos', WORDS, '--save', 'json')
    assert code == 1
    assert "photos/0.png: RuntimeError('unforeseen')" in err
    assert written(tmp_path / 'outputs') == ['1.json']


def test_interrupting_a_long_run_leaves_whole_files_only(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    save_noise(folder / '000.png', 300, 400)
    for index in range(1, 300):
        os.link(folder / '000.png', folder / f'{index:03d}.png')
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), 'photos', WORDS, '--model', str(CONFIG)],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Jobs that a shell put into the background ignore the signal, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 240
    while not (tmp_path / 'outputs' / '001.json').exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 'error: interrupted' in err
    assert 'Traceback' not in err
    names = written(tmp_path / 'outputs')
    assert 6 <= len(names) < 900
    assert not [name for name in names if name.startswith('.')]
    for name in names:
        path = tmp_path / 'outputs' / name
        if path.suffix == '.json':
            json.loads(path.read_text())
        else:
            Image.open(path).load()


# Words, weights, options ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('', 'empty'),
        ('cat;;sofa', 'empty'),
        ('cat; sofa; cat', "'cat'"),
        ('missing.txt', 'missing.txt'),
    ],
)
def test_bad_words_are_named_before_any_work(demo, tmp_path, words, message):
    save_noise(tmp_path / 'photo.png')
    code, _, err = demo('photo.png', words)
    assert code == 2
    assert err.startswith('error: ')
    assert message in err
    assert err.count('\n') == 1
    assert written(tmp_path) == ['photo.png']


def test_words_longer_than_the_context_are_quoted_in_a_warning(demo, tmp_path):
    save_noise(tmp_path / 'photo.png')
    long_words = 'a very ' + 'long ' * 100 + 'cat'
    code, _, err = demo('photo.png', f'{long_words}; sofa', '--save', 'json')
    assert code == 0
    assert 'a very long long' in err


@pytest.fixture(scope='module')
def weights() -> dict[str, torch.Tensor]:
    return OpenVocabSegmenter(CONFIG).model.clip.state_dict()


def test_weights_that_lack_a_key(demo, tmp_path, weights):
    save_noise(tmp_path / 'photo.png')
    state = {key: value for key, value in weights.items() if key != 'visual.class_embedding'}
    torch.save(state, tmp_path / 'weights.pt')
    code, _, err = demo('photo.png', WORDS, '--checkpoint', 'weights.pt')
    assert code == 2
    assert 'weights.pt' in err
    assert 'missing' in err
    assert 'visual.class_embedding' in err
    assert written(tmp_path) == ['photo.png', 'weights.pt']


def test_weights_of_another_shape(demo, tmp_path, weights):
    save_noise(tmp_path / 'photo.png')
    state = {**weights, 'visual.proj': torch.zeros(64, 48)}
    torch.save(state, tmp_path / 'weights.pt')
    code, _, err = demo('photo.png', WORDS, '--checkpoint', 'weights.pt')
    assert code == 2
    assert 'visual.proj is (64, 48), wanted (64, 32)' in err
    assert err.count('\n') == 1


def test_weights_with_nan(demo, tmp_path, weights):
    save_noise(tmp_path / 'photo.png')
    torch.save({**weights, 'visual.proj': torch.full((64, 32), torch.nan)}, tmp_path / 'weights.pt')
    code, _, err = demo('photo.png', WORDS, '--checkpoint', 'weights.pt')
    assert code == 2
    assert 'NaN' in err
    assert 'visual.proj' in err
    assert written(tmp_path) == ['photo.png', 'weights.pt']


def test_a_pickle_is_not_executed(demo, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / 'sprung'),))

    save_noise(tmp_path / 'photo.png')
    torch.save({'state_dict': Trap()}, tmp_path / 'weights.pt')
    code, _, err = demo('photo.png', WORDS, '--checkpoint', 'weights.pt')
    assert code == 2
    assert 'weights.pt' in err
    assert not (tmp_path / 'sprung').exists()


def test_missing_weights(demo, tmp_path):
    save_noise(tmp_path / 'photo.png')
    code, _, err = demo('photo.png', WORDS, '--checkpoint', 'none.pt')
    assert code == 2
    assert 'none.pt' in err
    assert err.count('\n') == 1


def test_memory_that_runs_out_is_told_and_survived(demo, tmp_path, monkeypatch, caplog):
    from ovseg.segmentors import TrainingFreeSegmentor

    label = TrainingFreeSegmentor.segment

    def label_in_little_memory(self, *args, budget, **settings):
        if budget.megabytes > 100:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory (simulated).')
        return label(self, *args, budget=budget, **settings)

    monkeypatch.setattr(TrainingFreeSegmentor, 'segment', label_in_little_memory)
    (tmp_path / 'photos').mkdir()
    for seed in range(2):
        save_noise(tmp_path / 'photos' / f'{seed}.png', seed=seed)
    code, _, _ = demo('photos', WORDS, '--save', 'labels')
    assert code == 0
    assert caplog.text.count('Memory ran out') == 1
    assert len(written(tmp_path / 'outputs')) == 2


def test_unknown_model_suggests_the_nearest(demo, tmp_path):
    save_noise(tmp_path / 'photo.png')
    code, _, err = demo('photo.png', WORDS, model='maskclip-vitb16')
    assert code == 2
    assert "Did you mean 'maskclip-vit-b16'?" in err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('photo.png', 'config.py', 'weights.pth'), '"cat; sofa" --model config.py --checkpoint'),
        (('photo.png', 'config.py'), "the form IMAGE CONFIG CHECKPOINT is mmsegmentation's"),
        (('photo.png', 'cat', 'sofa'), 'such as "cat; sofa"'),
        (('photo.png', 'cat', '--save', 'masks'), "'masks' cannot be saved"),
        (('photo.png', 'cat', '--save', ','), '--save names nothing'),
        (('photo.png', 'cat', '--device', 'gpu'), "no device 'gpu'"),
        (('photo.png', 'cat', '--threshold', '7'), 'threshold'),
        (('photo.png', 'cat', '--out-dir', 'photo.png'), 'Cannot write to the folder photo.png'),
        (('photo.png', 'cat', '--template-set', 'openai80'), "'openai-80'"),
    ],
)
def test_options_that_mean_nothing_are_explained(demo, tmp_path, arguments, message):
    save_noise(tmp_path / 'photo.png')
    code, _, err = demo(*arguments)
    assert code == 2
    assert message in err
    assert written(tmp_path) == ['photo.png']


# Models with classes of their own ---------------------------------------------------------------


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Config and checkpoint of a tiny DenseCLIP."""
    return write_dense_clip(tmp_path_factory.mktemp('trained'))


def test_a_trained_model_needs_no_words(demo, tmp_path, trained):
    config, checkpoint = trained
    save_noise(tmp_path / 'photo.png')
    code, out, err = demo('photo.png', '--checkpoint', checkpoint, model=config)
    assert (code, err) == (0, '')
    facts = json.loads((tmp_path / 'outputs' / 'photo.json').read_text())
    assert facts['vocabulary'] == list(CLASSES) and facts['background_index'] is None
    assert all(found['name'] in out for found in facts['classes'])


def test_some_of_the_trained_classes_may_be_asked_for_behind_options(demo, tmp_path, trained):
    config, checkpoint = trained
    save_noise(tmp_path / 'photo.png')
    code, _, err = demo('photo.png', '--checkpoint', checkpoint, 'wall; cat', model=config)
    assert (code, err) == (0, '')
    facts = json.loads((tmp_path / 'outputs' / 'photo.json').read_text())
    assert facts['vocabulary'] == ['wall', 'cat']


def test_unsure_pixels_of_a_trained_model_become_background(demo, tmp_path, trained):
    config, checkpoint = trained
    save_noise(tmp_path / 'photo.png')
    words = ('photo.png', '--checkpoint', checkpoint, '--threshold')
    assert demo(*words, '0.999999', model=config)[0] == 0
    facts = json.loads((tmp_path / 'outputs' / 'photo.json').read_text())
    assert facts['vocabulary'] == ['background', *CLASSES]
    labels = np.asarray(Image.open(tmp_path / 'outputs' / 'photo_labels.png'))
    assert (labels == 0).mean() > 0.5
    assert demo(*words, '0', model=config)[0] == 0
    labels = np.asarray(Image.open(tmp_path / 'outputs' / 'photo_labels.png'))
    assert (labels != 0).all()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (
            ['cat; zebra'],
            "error: this DenseCLIP was trained for 3 classes (cat; red sofa; wall) and 'zebra' is "
            'none of them: leave the words out to get these, or choose a model with an open '
            'vocabulary\n',
        ),
        (
            ['--background', 'sky'],
            'error: this DenseCLIP knows its 3 trained classes only, so words for the background '
            'mean nothing to it: give a threshold instead\n',
        ),
    ],
    ids=['class', 'background'],
)
def test_what_a_trained_model_never_learned_is_refused(demo, tmp_path, trained, words, message):
    config, checkpoint = trained
    photos = tmp_path / 'photos'
    photos.mkdir()
    for seed in range(2):
        save_noise(photos / f'{seed}.png', seed=seed)
    code, out, err = demo('photos', *words, '--checkpoint', checkpoint, model=config)
    assert (code, out, err) == (2, '', message)
    assert written(tmp_path) == ['photos']


def test_a_model_without_classes_of_its_own_needs_words(demo, tmp_path):
    save_noise(tmp_path / 'photo.png')
    code, out, err = demo('photo.png')
    assert (code, out) == (2, '')
    assert err == (
        "error: No words were given: say what to look for, such as 'cat, kitten; sofa; wall'.\n"
    )
    assert written(tmp_path) == ['photo.png']


def test_a_trained_model_without_its_checkpoint(demo, tmp_path, trained):
    save_noise(tmp_path / 'photo.png')
    code, _, err = demo('photo.png', model=trained[0])
    assert code == 2
    assert 'is a trained one: give its checkpoint' in err
