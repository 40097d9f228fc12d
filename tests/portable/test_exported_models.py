"""Exported models say what the model says, for any words and sizes, without torch."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from scripts import ROOT

pytest.importorskip('onnx', reason="pip install 'ovseg[export]'")
pytest.importorskip('onnxscript', reason="pip install 'ovseg[export]'")
onnxruntime = pytest.importorskip('onnxruntime', reason="pip install 'ovseg[export]'")
from PIL import Image  # noqa: E402

from ovseg import OpenVocabSegmenter  # noqa: E402
from ovseg.cli.command import main  # noqa: E402
from ovseg.errors import UserError  # noqa: E402
from ovseg.images.reading import load_rgb  # noqa: E402
from ovseg.portable.programs import program_of  # noqa: E402
from ovseg.portable.writing import check_agreement  # noqa: E402

SCENE = ROOT / 'demo' / 'scene.png'
WORDS = 'sky; grass; water; red star, star; purple kite'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The tiny MaskCLIP as an ONNX file and its words, by the command line."""
    folder = tmp_path_factory.mktemp('exported')
    assert main(['export', 'onnx', 'maskclip-tiny', str(folder / 'm.onnx')]) == 0
    assert main(['export', 'rows', 'maskclip-tiny', WORDS, str(folder / 'words.npz')]) == 0
    return folder


@pytest.fixture(scope='module')
def trained(folder):
    """The tiny DenseCLIP as an ONNX file of one size."""
    path = folder / 'trained.onnx'
    assert main(['export', 'onnx', 'denseclip-tiny', str(path), '--size', '64', '96']) == 0
    return path


def test_an_onnx_file_is_open_to_sizes_and_words(folder):
    segmenter = OpenVocabSegmenter('maskclip-tiny', device='cpu')
    program = program_of(segmenter.model, 'maskclip-tiny')
    session = onnxruntime.InferenceSession(folder / 'm.onnx')
    for height, width, count in ((16, 72, 1), (200, 96, 300)):
        image = torch.rand(1, 3, height, width) * 255
        rows = torch.nn.functional.normalize(torch.randn(count, 128), dim=1)
        features, scores = session.run(None, {'image': image.numpy(), 'rows': rows.numpy()})
        with torch.no_grad():
            wanted = program(image, rows)
        np.testing.assert_allclose(features, wanted[0], atol=1e-5)
        np.testing.assert_allclose(scores, wanted[1], atol=1e-5)
        assert scores.shape == (1, count, height // 8, width // 8)
    facts = json.loads(session.get_modelmeta().custom_metadata_map['ovseg'])
    assert facts['multiple'] == 8 and facts['channels'] == 128 and facts['model'] == 'maskclip-tiny'


def test_the_runner_finds_the_words_without_torch(folder, tmp_path):
    code = 'import sys; sys.modules["torch"] = sys.modules["ovseg"] = None; import runpy; '
    code += f'runpy.run_path({str(ROOT / "demo" / "onnx_demo.py")!r}, run_name="__main__")'
    out = tmp_path / 'labels.png'
    words = [folder / 'm.onnx', folder / 'words.npz', SCENE, out]
    done = subprocess.run(
        [sys.executable, '-c', code, *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    labels = np.asarray(Image.open(out))
    expected = OpenVocabSegmenter('maskclip-tiny', device='cpu')(SCENE, WORDS).labels
    assert (labels == expected).mean() > 0.95
    assert 'red star' in done.stdout and '%' in done.stdout


def runner():
    return runpy.run_path(str(ROOT / 'demo' / 'onnx_demo.py'))


def test_the_runner_reads_pictures_as_ovseg_does(tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8)
    tags = Image.Exif()
    tags[274] = 6
    Image.fromarray(colors[..., :3]).save(tmp_path / 'turned.png', exif=tags)
    Image.fromarray(colors).save(tmp_path / 'clear.png')
    Image.fromarray(colors[..., 0].astype(np.uint16) * 200).save(tmp_path / 'deep.png')
    Image.fromarray(colors).convert('P').save(tmp_path / 'palette.png', transparency=3)
    for path in tmp_path.iterdir():
        off = np.abs(np.asarray(runner()['read'](path), int) - load_rgb(path))
        assert off.max() <= 1, path.name


def test_the_runner_says_what_it_cannot_do(folder, trained, tmp_path, capsys):
    words, damaged, out = folder / 'words.npz', tmp_path / 'a.png', tmp_path / 'labels.png'
    damaged.write_bytes(SCENE.read_bytes()[:999])
    other = tmp_path / 'other.npz'
    np.savez(other, **{**np.load(words), 'text_space': np.array('another')})
    for given, reason in (
        ([folder / 'm.onnx', words, damaged], 'truncated'),
        ([folder / 'm.onnx', other, SCENE], 'export the rows anew'),
        ([trained, words, SCENE], 'takes no words'),
    ):
        with pytest.raises(SystemExit):
            runner()['main']([*map(str, given), str(out)])
        assert reason in capsys.readouterr().err.splitlines()[-1]
    assert not out.exists()


def test_the_runner_counts_beyond_256_classes(folder, tmp_path):
    words = dict(np.load(folder / 'words.npz'))
    words['classes'] = words['classes'] + 300
    words['rows'] = np.concatenate([-words['rows'][:1].repeat(300, 0), words['rows']])
    words['classes'] = np.concatenate([np.arange(300), words['classes']])
    words['names'] = np.array([f'n{number}' for number in range(words['classes'].max() + 1)])
    np.savez(tmp_path / 'w.npz', **words)
    given = [folder / 'm.onnx', tmp_path / 'w.npz', SCENE, tmp_path / 'out.png']
    run = runner()['main']
    # One window: 300 classes in each of a hundred take many seconds.
    run.__globals__['windows'] = lambda size, facts: [(0, 0, *size)]
    assert run(list(map(str, given))) == 0
    labels = np.asarray(Image.open(tmp_path / 'out.png'))
    assert labels.min() >= 0 and labels.max() >= 300


@pytest.mark.parametrize(
    'name, place, size',
    [
        ('clip-dinoiser-tiny', {'multiple': 8}, (48, 88)),
        ('sclip_tiny', {'size': [32, 32]}, (32, 32)),
    ],
)
def test_an_archive_of_torch_export_does_the_same(tmp_path, name, place, size):
    path = tmp_path / 'm.pt2'
    assert main(['export', 'torch-export', name, str(path)]) == 0
    segmenter = OpenVocabSegmenter(name, device='cpu')
    image, rows = torch.rand(1, 3, *size) * 255, torch.eye(128)[:4]
    files = {'ovseg': ''}
    found = torch.export.load(path, extra_files=files).module()(image, rows)
    with torch.no_grad():
        wanted = program_of(segmenter.model, 'it')(image, rows)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    facts = json.loads(files['ovseg'])
    assert facts['windows']['mode'] in ('slide', 'splice') and place.items() <= facts.items()


def test_a_trained_model_is_a_plain_network_of_one_size(trained):
    session = onnxruntime.InferenceSession(trained)
    (image,) = session.get_inputs()
    assert image.shape == [1, 3, 64, 96]
    given = torch.rand(1, 3, 64, 96) * 255
    (scores,) = session.run(None, {'image': given.numpy()})
    model = OpenVocabSegmenter('denseclip-tiny', device='cpu').model
    with torch.no_grad():
        wanted = program_of(model, 'it', (64, 96))(given)
    assert np.abs(scores - wanted.numpy()).max() < 1e-4 * wanted.abs().max()
    facts = json.loads(session.get_modelmeta().custom_metadata_map['ovseg'])
    assert facts['classes'] == list(model.vocabulary.names) and facts['size'] == [64, 96]


def test_a_file_that_says_something_else_does_not_appear():
    segmenter = OpenVocabSegmenter('maskclip-tiny', device='cpu')
    program = program_of(segmenter.model, 'it')

    def wrong(arguments):
        features, scores = program(*arguments)
        return features, scores.roll(1, dims=-1)

    with torch.no_grad(), pytest.raises(UserError, match='nothing was written'):
        check_agreement(program, wrong, 'it')
    assert check_agreement(program, lambda given: program(*given), 'it') == 0


@pytest.mark.parametrize('suffix', ['.npy', '.safetensors'])
def test_features_as_a_file_answer_words(folder, tmp_path, suffix, capsys):
    path = tmp_path / f'scene{suffix}'
    assert main(['export', 'features', 'maskclip-tiny', str(SCENE), str(path)]) == 0
    assert 'on a grid of 18 x 24 over' in capsys.readouterr().out
    if suffix == '.npy':
        features = np.load(path).astype(np.float32)
    else:
        with safe_open(path, 'np') as file:
            features = file.get_tensor('features').astype(np.float32)
            facts = json.loads(file.metadata()['ovseg'])
        assert (facts['height'], facts['width']) == Image.open(SCENE).size[::-1]
    np.testing.assert_allclose(np.linalg.norm(features, axis=0), 1, atol=1e-2)
    words = np.load(folder / 'words.npz')
    labels = words['classes'][np.einsum('pd,dhw->phw', words['rows'], features).argmax(0)]
    expected = OpenVocabSegmenter('maskclip-tiny', device='cpu')(SCENE, WORDS).labels
    size = features.shape[1:]
    centres = expected[
        np.ix_(
            *(
                (np.arange(count) * 2 + 1) * side // (2 * count)
                for count, side in zip(size, expected.shape, strict=True)
            )
        )
    ]
    assert (labels == centres).mean() > 0.9


@pytest.mark.parametrize(
    'words, reason',
    [
        (['onnx', 'maskclip-tiny', 'm.onx'], 'must end in .onnx'),
        (['onnx', 'ovseg-tiny', 'm.onnx'], 'joins several networks'),
        (['onnx', 'proxyclip-tiny', 'm.onnx'], 'joins several networks'),
        (['onnx', 'maskclip-tny', 'm.onnx'], 'no model'),
        (['onnx', 'denseclip-tiny', 'm.onnx', '--size', '0', '4'], 'two numbers'),
        (['onnx', 'maskclip-tiny', 'm.onnx', '--size', '40', '50'], 'no multiples of the patch, 8'),
        (['rows', 'maskclip-tiny', 'sky', 'm.txt'], 'must end in .npz'),
        (['rows', 'maskclip-tiny', 'sky', 'm.npz'], 'name two classes or more'),
        (['rows', 'denseclip-tiny', WORDS, 'm.npz'], 'takes no rows'),
        (['features', 'maskclip-tiny', str(SCENE), 'm.png'], '.safetensors or .npy'),
        (['features', 'denseclip-tiny', str(SCENE), 'm.npy'], 'no features of patches'),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(tmp_path, monkeypatch, capsys, words, reason):
    monkeypatch.chdir(tmp_path)
    assert main(['export', *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ') and reason in error
    assert not list(tmp_path.iterdir())
