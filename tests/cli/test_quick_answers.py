"""Help, argument errors and refused words are answered before torch is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from scripts import ROOT, run_python

from ovseg.cli.command import COMMANDS

# Importing any of these takes seconds; the process stops where somebody tries.
SLOW = ('torch', 'mmseg', 'open_clip', 'matplotlib', 'scipy')
GUARD = """
import sys

SLOW = {slow!r}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in SLOW:
            raise AssertionError(name + ' is imported')

sys.meta_path.insert(0, Refuse())
"""
RUN = """
import runpy
for words in {tries!r}:
    sys.argv = [{script!r}, *words]
    try:
        if {script!r}.endswith('.py'):
            runpy.run_path({script!r}, run_name='__main__')
        else:
            runpy.run_module({script!r}, run_name='__main__')
    except SystemExit as end:
        print('ended with', end.code)
"""
SCRIPTS = [
    'ovseg',  # python -m ovseg
    *sorted(
        str(path.relative_to(ROOT)) for path in [*ROOT.glob('tools/*.py'), *ROOT.glob('demo/*.py')]
    ),
]
# Words that are refused, and a part of the answer; a name of a file stands for one that is made.
REFUSED = {
    'ovseg': [
        ([], 'usage: ovseg COMMAND'),
        (['segmnt'], "Did you mean 'segment'?"),
        (['scene.png'], 'ovseg segment scene.png'),
        (['segment', 'https://a.b/c.jpg', 'sky'], 'is an address'),
        (['segment', 'scene.png', 'sky', '--every', '2'], 'to a video only'),
        (['models', 'maskclip-tny'], "Did you mean 'maskclip-tiny'?"),
        (['completion', 'tcsh'], "invalid choice: 'tcsh'"),
        (['app', 'sky;;'], 'class 2'),
        (['app', '--port', '0'], '--port must be from 1 to 65535'),
        (['app', '--max-megabytes', '0'], '--max-megabytes must be more than 0'),
        (['app', '--model', 'maskclip-tny'], "Did you mean 'maskclip-tiny'?"),
        (['app', '--checkpoint', 'nowhere.pth'], 'nowhere.pth does not exist'),
        (['check', 'here'], 'unrecognized arguments: here'),
    ],
    'demo/image_demo.py': [
        (['scene.png'], 'No words were given'),
        (['scene.png', ' '], 'error: '),
        (['scene.png', ';'], 'empty'),
        (['scene.png', 'words.txt'], 'words.txt'),
        (['scene.png', 'damaged.json'], 'damaged.json'),
        (['scen.png', 'sky'], "Did you mean 'scene.png'?"),
        (['scene.png', 'sky', '--model', 'maskclip-tny'], "Did you mean 'maskclip-tiny'?"),
        (['scene.png', 'sky', '--task', 'panoptc'], "invalid choice: 'panoptc'"),
        (['scene.png', 'sky', '--save', 'lables'], "Did you mean 'labels'?"),
        (['scene.png', 'sky', '--template-set', 'maskclip-58'], "'maskclip-85'"),
        (['scene.png', 'sky', '--contrast', 'aut'], '--contrast must be none, background, auto'),
        (['scene.png', 'sky', '--descriptions', 'said.json'], 'said.json does not exist'),
        (['scene.png', 'sky', '--threshold', '2'], 'threshold'),
        (['scene.png', 'sky', '--task', 'panoptic', '--stuff', 'gras'], "stuff 'gras'"),
        (['scene.png', 'sky', '--out-dir', 'scene.png/below'], 'is a file'),
        (['scene.png', 'sky', '--checkpoint', 'nowhere.pth'], 'nowhere.pth does not exist'),
    ],
    'demo/onnx_demo.py': [
        (['model.onnx'], 'the following arguments are required: WORDS, IMAGE, OUT'),
        (['model.onnx', 'words.npz', 'scene.png', 'out.png'], 'there is no file model.onnx'),
    ],
    'tools/test.py': [
        (['maskclip_tiny', 'nowhere.pth'], 'nowhere.pth does not exist'),
        (['maskclip_tiny', '--out', 'a', '--show-dir', './a'], '--out are the same folder'),
        (['maskclip_tiny', '--work-dir', 'scene.png/below'], 'is a file'),
        ([], 'the following arguments are required: config'),
        (['maskclip_tny'], "Did you mean 'maskclip_tiny'?"),
        (['maskclip_tiny', '--launcher', 'pytorc'], "invalid choice: 'pytorc'"),
        (['maskclip_tiny', '--cfg-options', 'work_dir'], "takes KEY=VALUE, got 'work_dir'"),
    ],
    'tools/train.py': [
        ([], 'the following arguments are required: config'),
        (['denseclip_fpn_tny_scenes'], "Did you mean 'denseclip_fpn_tiny_scenes'?"),
        (['denseclip_fpn_tiny_scenes', '--resume', 'nowhere.pth'], 'nowhere.pth does not exist'),
        (['denseclip_fpn_tiny_scenes', '--work-dir', 'scene.png/below'], 'is a file'),
    ],
    'tools/benchmark.py': [
        (['maskclip-tny'], "Did you mean 'maskclip-tiny'?"),
        (['maskclip-tiny', '--classes', '0'], '--classes must be at least 1'),
        (['maskclip-tiny', '--image', 'scen.png'], "Did you mean 'scene.png'?"),
        (['maskclip-tiny', '--json', 'scene.png/times.json'], 'is a file'),
    ],
    'tools/check_parity.py': [([], 'give golden folders')],
    'tools/convert_detectron2_backbone.py': [
        (['a.pkl'], 'required: out'),
        (['nowhere.pkl', 'b.pth'], 'nowhere.pkl does not exist'),
        (['scene.png', 'scene.png/b.pth'], 'is a file'),
    ],
    'tools/export.py': [
        (['denseclp', 'a', 'b', 'c'], "invalid choice: 'denseclp'"),
        (['denseclip', 'denseclip_fpn_tny_scenes', 'a.pth', 'b'], 'denseclip_fpn_tiny_scenes'),
        (['weights', 'nowhere.pth', 'b.safetensors'], 'nowhere.pth does not exist'),
        (['weights', 'scene.png', 'scene.png/b.safetensors'], 'is a file'),
    ],
    'tools/make_mask_caption_pairs.py': [
        (['.', 'captions.json', 'out', '--regions', '.', '--words', ';'], 'is empty'),
        (['.', 'captions.json', 'out', '--regions', '.'], 'captions.json'),
        (['.', 'a.json', 'out', '--regions', '.', '--adapted', 'nowhere.pth'], 'nowhere.pth does'),
    ],
    'tools/make_scenes.py': [([], 'nothing to do'), (['out', '--size', '0', '5'], 'positive')],
    'tools/prepare_data.py': [
        (['ade20'], "invalid choice: 'ade20'"),
        (['ade20k', 'nowhere'], 'no folder'),
    ],
    'tools/release.py': [(['--constraint', 'a'], 'error')],
}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with a picture and a file of words that is damaged."""
    folder = tmp_path_factory.mktemp('place')
    (folder / 'scene.png').write_bytes((ROOT / 'demo' / 'scene.png').read_bytes())
    (folder / 'damaged.json').write_text('{"classes": [')
    return folder


def run(script, tries, folder, slow=SLOW):
    """What a process that must not import slow modules says; all tries one after the other."""
    path = str(ROOT / script) if script.endswith('.py') else script
    code = GUARD.format(slow=slow) + RUN.format(tries=tries, script=path)
    done = run_python(f'import os; os.chdir({str(folder)!r})\n{code}')
    assert 'AssertionError' not in done.stderr, done.stderr[-1500:]
    assert done.returncode == 0, done.stderr[-1500:]
    return done


@pytest.mark.parametrize('script', SCRIPTS)
def test_help_and_argument_errors_import_no_torch(script, place):
    done = run(script, [['--help'], ['--no-such-option', 'x']], place)
    assert done.stdout.startswith('usage: ')
    assert done.stdout.count('ended with') == 2
    assert done.stdout.endswith('ended with 2\n') and 'error: ' in done.stderr


@pytest.mark.parametrize(
    ('script', 'slow'),
    [
        ('demo/image_demo.py', ('PIL', 'mmengine')),
        ('tools/prepare_data.py', ('mmengine',)),
        ('tools/train.py', ('numpy', 'PIL', 'mmengine')),
    ],
)
def test_help_imports_nothing_that_takes_a_tenth_of_a_second(script, slow, place):
    assert run(script, [['--help']], place, slow).stdout.startswith('usage: ')


@pytest.mark.parametrize('script', SCRIPTS)
def test_refused_words_import_no_torch(script, place):
    tries, parts = zip(*REFUSED[script], strict=True)
    done = run(script, list(tries), place)
    assert done.stdout.splitlines()[-len(tries) :] == ['ended with 2'] * len(tries)
    for part in parts:
        assert part in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(
    ('script', 'words', 'part'),
    [
        ('demo/image_demo.py', ['scene.png', 'sky', '--device', 'cuda:99'], "device 'cuda:99'"),
        ('tools/benchmark.py', ['maskclip-tiny', '--device', 'cuda:99'], "device 'cuda:99'"),
        (
            'tools/make_mask_caption_pairs.py',
            ['.', 'captions.json', 'out', '--regions', '.', '--device', 'cpv'],
            "Did you mean 'cpu'?",
        ),
        *(
            pytest.param(
                script,
                [config, '--amp'],
                '--amp needs a GPU',
                marks=pytest.mark.skipif(torch.cuda.is_available(), reason='has a GPU'),
            )
            for script, config in (
                ('tools/test.py', 'maskclip_tiny'),
                ('tools/train.py', 'denseclip_fpn_tiny_scenes'),
            )
        ),
    ],
)
def test_a_device_that_is_not_there_is_known_from_torch_alone(script, words, part, place):
    (place / 'captions.json').write_text('{"scene.png": "a star"}')
    done = run(script, [words], place, slow=SLOW[1:])
    (place / 'captions.json').unlink()
    assert done.stdout.endswith('ended with 2\n') and part in done.stderr


def test_help_of_every_command_imports_no_torch(place):
    tries = [[command.name, '--help'] for command in COMMANDS]
    done = run('ovseg', tries, place)
    assert done.stdout.count('usage: ovseg ') == done.stdout.count('ended with 0') == len(tries)
    lists = run('ovseg', [['models'], ['models', 'maskclip-tiny', '--json']], place)
    assert lists.stdout.count('ended with 0') == 2


@pytest.mark.parametrize('kind', ['ade847', 'context459', 'coco_object'])
def test_help_of_a_data_set_imports_no_torch(kind, place):
    assert 'DATA_ROOT' in run('tools/prepare_data.py', [[kind, '--help']], place).stdout


def test_ovseg_alone_lists_its_models_and_reads_words_without_torch():
    code = (
        'import ovseg\n'
        "assert not {'numpy', 'mmengine'} & set(sys.modules)\n"
        'print(len(ovseg.list_models()))\n'
        "print(ovseg.Vocabulary.parse('cat, kitten; sofa').names)\n"
    )
    done = run_python(GUARD.format(slow=SLOW) + code)
    assert done.stdout.endswith("('cat', 'sofa')\n"), done.stderr


@pytest.mark.parametrize('script', sorted(ROOT.glob('tools/*.sh')), ids=lambda path: path.name)
def test_shell_scripts_say_how_they_are_used(script):
    done = subprocess.run(
        ['bash', str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={'PATH': '/usr/bin:/bin', 'PYTHON': sys.executable},
    )
    assert done.returncode == 2 and done.stderr.startswith('usage: ')
