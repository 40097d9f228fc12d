"""Every block of code in README.md and docs/*.md runs, or is checked as far as it can be here.

Commands with embedded models run, on pictures that are made; where weights or data are needed, a
command's arguments are read by its own parser, its configs exist and have what it sets.
A block that is neither Python nor commands stands in ``LISTINGS``, by its first line.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
import shutil
from importlib import import_module

import cv2
import numpy as np
import pytest
import torch
from pages import PAGES, all_blocks, parse, read_blocks, words_of
from PIL import Image
from scripts import ROOT, load_script

from ovseg.cli import benchmark, command
from ovseg.config_files import read_config
from ovseg.images import resize_rule_of
from ovseg.scenes.datasets import ScenesDataset
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.descriptions import read_descriptions

# Pages that a test of their own follows from one block to the next.
FOLLOWED = {
    'docs/annotation_tools.md': 'test_annotation_tools.py',
    'docs/train_my_data.md': 'test_train_my_data.py',
}
# Pages whose examples are run with what they print.
DOCTESTS = {
    'docs/python_api.md': 'tests/apis/test_python_api_page.py',
    'docs/vocabularies.md': 'tests/vocabulary/test_docs.py',
}
# Neither Python nor commands: trees of folders, drawings, what is printed.
LISTINGS = {
    'docs/adding_a_method.md': ['words -> Vocabulary'],
    'docs/annotation_tools.md': ['export CVAT_ACCESS_TOKEN', 'echo ', '<View>'],
    'docs/data.md': ['data/'],
    'docs/evaluation.md': ['config      path of the config'],
    'docs/export.md': ['features, words = np.load'],  # tests/portable/test_exported_models.py
    'docs/getting_started.md': ['demo/scene.png: maskclip-tiny on cpu'],
    'docs/install.md': ['docker build', 'docker run'],  # no docker here: tests/test_dockerfile.py
    'docs/many_images.md': ['hours = '],
    'docs/the_house.md': ['encode(Images) -> encodings', 'errors '],
    'docs/train_my_data.md': ['data/my_data/'],
}
# Parts of files, by their first line: the module that has the names which they use.
FRAGMENTS = {
    'def value_only(q, k, v, context=NO_CONTEXT):': 'ovseg.affinity.variants',
    "ATTENTIONS = {**others, 'value': (value_only, '')}": 'ovseg.affinity.variants',
    "LAST_BLOCKS = {**others, 'maskclip': LastBlockSpec('value')}": 'ovseg.affinity.last_block',
    '@MODELS.register_module()': 'ovseg.refiners.key_smoothing',
    "_base_ = ['../datasets/{{$OVSEG_ON:voc20}}.py', '../default_runtime.py']": 'builtins',
    "_base_ = ['../_base_/models/sclip.py', '../_base_/protocols/sclip.py']": 'builtins',
}
# Words of fragments that stand for something else, or that a config gets from its base.
STAND_INS = {'others', 'value_only', '_base_'}
# Of the text space of the tiny CLIP.
WIDTH = 128
# What a page leaves open.
PLACEHOLDERS = {
    'CONFIG': 'configs/maskclip/maskclip_tiny.py',
    'CHECKPOINT': 'weights.pth',
    'NAME': 'voc',
    'PROCESSES': '2',
    'PHOTO': 'photo.jpg',
    'N': '2',
    'WORK_DIR/CONFIG.py': 'clip_ft_tiny_5e_scenes',
    # Written by a training: a copy of the config of this name.
    'work_dirs/mpt_2/clip_mpt_tiny_5e_scenes.py': 'clip_mpt_tiny_5e_scenes',
}
# Embedded models in the place of those whose weights are fetched.
EMBEDDED = {'maskclip-vit-b16': 'maskclip-tiny', 'maskclip-vit-l14': 'proxyclip-tiny'}
# In snippets: the same, and less work.
SMALLER = {
    **{f"'{name}'": f"'{embedded}'" for name, embedded in EMBEDDED.items()},
    "'ViT-B-32', 'random'": "'tiny_clip_scenes', 'embedded'",
    "'openai-80'": "'single'",
}
# The same with weights of no value.
RANDOM = str(ROOT / 'tests' / 'data' / 'configs' / 'random_tiny.py')
DURATION = re.compile(r'# .*(\d|an?|half|quarter).*(second|minute|hour)|# .*not measured')
SCRIPTS = ('tools/', 'demo/', 'benchmarks/')


def commands():
    """(where, command) of all pages; those that are not followed."""
    return [
        pytest.param(block, command, id=f'{block}-{number}')
        for block in all_blocks()
        if block.is_shell and block.page not in FOLLOWED
        for number, command in enumerate(block.commands())
    ]


def snippets():
    """Python that stands by itself."""
    return [
        pytest.param(block, id=str(block))
        for block in all_blocks()
        if block.is_python
        and block.page not in FOLLOWED
        and '>>>' not in block.text
        and block.first not in FRAGMENTS
        and not block.text.startswith(('_base_', 'resize ='))
    ]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Somebody's folder beside the checkout's: a photograph, photographs, words."""
    folder = tmp_path_factory.mktemp('place')
    for name in ('configs', 'demo', 'tools'):
        (folder / name).symlink_to(ROOT / name)
    picture = ScenesDataset('val', 2)[0]['inputs'].permute(1, 2, 0).numpy()[..., ::-1]
    (folder / 'photos').mkdir()
    (folder / 'words.json').write_text('["cat", "sofa"]')
    for path in (folder / 'photo.jpg', folder / 'photos' / 'a.jpg', folder / 'photos' / 'b.jpg'):
        Image.fromarray(np.ascontiguousarray(picture)).save(path)
    clip = cv2.VideoWriter(str(folder / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 5, (96, 64))
    clip.write(cv2.resize(np.ascontiguousarray(picture[..., ::-1]), (96, 64)))
    clip.release()
    return folder


@pytest.fixture(autouse=True)
def _there(place, monkeypatch):
    monkeypatch.chdir(place)


def test_every_block_is_of_a_kind_that_is_checked():
    unknown = [
        str(block)
        for block in all_blocks()
        if not (block.is_shell or block.is_python or block.language == 'json')
        and not any(block.first.startswith(start) for start in LISTINGS.get(block.page, ()))
    ]
    assert not unknown, 'say in this test what these are'


def test_the_tables_name_what_the_pages_have():
    firsts = {block.first for block in all_blocks()}
    assert set(FRAGMENTS) <= firsts
    for page, starts in LISTINGS.items():
        for start in starts:
            assert any(block.first.startswith(start) for block in read_blocks(page))
    assert {*FOLLOWED, *DOCTESTS} <= set(PAGES)
    for page in PAGES:
        if any('>>>' in block.text for block in read_blocks(page)):
            assert page in DOCTESTS


def test_a_block_is_found_whether_it_is_fenced_or_indented():
    text = 'a\n\n```sh\npython x\n```\n\n    import a\n\n    a.b\n\nb\n\n'
    text += '    data/\n\n    python y \\\n        z'
    assert [(block.line, block.text) for block in read_blocks('page', text)] == [
        (4, 'python x'),
        (7, 'import a\n\na.b'),
        (13, 'data/'),
        (15, 'python y \\\n    z'),
    ]
    assert read_blocks('page', text)[3].commands() == ['python y z']


@pytest.mark.parametrize(('block', 'command'), commands())
def test_the_arguments_of_a_command_are_those_of_its_script(block, command):
    words = [PLACEHOLDERS.get(word, word) for word in words_of(command)]
    first, rest = words[0], words[1:]
    if first == 'make':
        assert re.search(rf'^{rest[0]}:', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    elif first == 'pip':
        extras = re.findall(r'ovseg\[(\w+)\]', command)
        assert rest[0] == 'install'
        assert all(f"'{extra}': " in (ROOT / 'setup.py').read_text() for extra in extras)
    elif first.startswith('tools/'):
        check_launcher(first, rest)
    elif first.startswith('OVSEG_ON='):
        assert read_config(rest[1], first.partition('=')[2]).on == first.partition('=')[2]
    elif first == 'ovseg':
        check_command(rest)
    elif first == 'torchrun':
        module = rest.index('-m') + 1
        assert rest[module] == 'ovseg'
        words = rest[module + 1 :]
        if words[0] != 'label':  # which knows by itself that it is one of several
            assert words[-2:] == ['--launcher', 'pytorch']
            words = words[:-2]
        check_command(words)
    elif rest[0] == '-c':
        compile(rest[1], command, 'exec')
    elif rest[0] == '-m':
        assert rest[1] == 'pytest'
    else:
        assert first == 'python' and rest[0].startswith(SCRIPTS)
        check_script(rest[0], rest[1:])


def check_launcher(script, words):
    """The script is there, and the rest is for the tool that it starts."""
    assert (ROOT / script).is_file()
    name = script.partition('_')[2].removesuffix('.sh')
    if script.startswith('tools/slurm'):
        words = words[2:]
    check_script(f'tools/{name}.py', [word for word in words if not word.isdigit()])


# The script that a sub-command is, where more than its words can be looked at.
SCRIPT_OF = {
    'segment': 'demo/image_demo.py',
    'test': 'tools/test.py',
    'train': 'tools/train.py',
    'benchmark': 'tools/benchmark.py',
    'export': 'tools/export.py',
    'prepare': 'tools/prepare_data.py',
}


def check_command(words):
    """``ovseg`` reads the words, as the script of the sub-command does where there is one."""
    ends = [words.index(sign) for sign in ('>', '|', '&&') if sign in words]
    words = words[: min(ends, default=len(words))]
    if words[0].startswith('-'):
        with pytest.raises(SystemExit) as left:
            command.main(words)
        assert left.value.code == 0
    elif words[0] in SCRIPT_OF:
        check_script(SCRIPT_OF[words[0]], words[1:])
    else:
        parse('ovseg', words)


def check_script(script, words):
    """The script reads the words; configs that they name exist and have what is set."""
    args = parse(script, words)
    if script in ('tools/test.py', 'tools/train.py') and not args.config.startswith('mine'):
        from ovseg.engine.launch import load_config

        assert load_config(args).model
    elif script == 'tools/benchmark.py':
        benchmark.check(args)
    elif script == 'tools/export.py' and hasattr(args, 'config'):
        assert read_config(args.config).model
    elif script == 'tools/make_mask_caption_pairs.py' and args.maskformer:
        assert read_config(args.maskformer[0]).model
    elif script == 'demo/image_demo.py':
        assert args.model == 'mine.py' or args.words.endswith('.py') or read_model(args)


def read_model(args):
    from ovseg.zoo import find_model

    if args.model != 'mine.py':
        find_model(args.model)
    if args.words.endswith('.txt'):
        args.words = ROOT / args.words
    return Vocabulary.parse(args.words)


RUN = {
    'docs/command_line.md': ['ovseg segment clip.mp4', 'ovseg models naclip-vit-b16'],
    'README.md': ['ovseg segment photo.jpg'],
    'docs/getting_started.md': [
        'python demo/image_demo.py demo/scene.png',
        'python tools/benchmark.py maskclip-vit-b16 maskclip-vit-l14',
        '$ python demo/image_demo.py photos',
    ],
    'docs/scenes.md': [
        'python tools/make_scenes.py data/scenes',
        'python tools/make_scenes.py --demo',
        'python tools/test.py configs/maskclip/maskclip_tiny.py',
    ],
    'docs/segments.md': ['python demo/image_demo.py demo/scene.png'],
}
# Less of everything, by the script.
LESS = {
    'make_scenes': ['--training', '2', '--validation', '1', '--heldout', '1', '--phrases', '1'],
    'benchmark': ['--repeat', '1', '--classes', '3'],
    'test': ['--cfg-options', 'test_dataloader.dataset.num_scenes=2'],
}


@pytest.mark.parametrize(
    ('page', 'start'), [(page, start) for page, starts in RUN.items() for start in starts]
)
def test_a_command_with_embedded_models_runs(page, start, monkeypatch, capsys):
    found = [
        command
        for block in read_blocks(page)
        if block.is_shell
        for command in block.commands()
        if command.startswith(start)
    ]
    embedded = EMBEDDED if '--pretrained' not in found[0] else dict.fromkeys(EMBEDDED, RANDOM)
    words = [embedded.get(word, word) for word in words_of(found[0])]
    if words[0] == 'ovseg':
        ran = command.main([*words[1:], *LESS.get(words[1], [])])
        assert ran == 0, capsys.readouterr().err
        return
    folder, name = words[1].removesuffix('.py').split('/')
    less = [] if '--demo' in words else LESS.get(name, [])
    if '--demo' in words:
        words[words.index('--demo') + 1] = 'scene_again.png'
    assert load_script(name, folder).main([*words[2:], *less]) == 0, capsys.readouterr().err


@pytest.mark.parametrize('block', snippets())
def test_a_snippet_runs(block, place):
    if block.page == 'docs/label_my_folder.md':
        pytest.skip('followed below')
    if 'import pyarrow' in block.text:
        pytest.importorskip('pyarrow', reason='pyarrow, the extra `parquet`, is not installed')
    text = block.text
    for words, fewer in SMALLER.items():
        text = text.replace(words, fewer)
    given = {
        'image': np.asarray(Image.open(place / 'photo.jpg')),
        'box': np.array([10, 10, 90, 90]),
        'features': torch.ones(1, WIDTH, 2, 3),
    }
    exec(compile(text, str(block), 'exec'), given)


@pytest.mark.parametrize('first', FRAGMENTS)
def test_a_part_of_a_file_uses_names_that_there_are(first):
    (block,) = (block for block in all_blocks() if block.first == first)
    tree = ast.parse(block.text)
    nodes = list(ast.walk(tree))
    made = {node.id for node in nodes if isinstance(node, ast.Name) and is_stored(node)}
    made |= {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    used = {node.id for node in nodes if isinstance(node, ast.Name)} - made - STAND_INS
    module = import_module(FRAGMENTS[first])
    assert not {name for name in used if not hasattr(module, name) and not hasattr(builtins, name)}
    rows = {node.id for node in nodes if isinstance(node, ast.Name) and node.id.isupper()}
    assert all(hasattr(module, name) for name in rows)


def is_stored(node):
    """Whether a name is given a value where it stands."""
    return isinstance(node.ctx, ast.Store)


def test_config_snippets_are_read_and_set_what_there_is(tmp_path):
    bases = [
        block
        for block in all_blocks()
        if block.is_python
        and block.text.startswith("_base_ = 'configs/")
        and block.page not in FOLLOWED
    ]
    assert len(bases) >= 2
    for block in bases:
        path = tmp_path / 'mine.py'
        path.write_text(block.text.replace("'configs/", f"'{ROOT}/configs/"))
        base = re.match(r"_base_ = '(.+)'", block.text)
        keys = set(read_config(str(path))) - set(read_config(base[1]))
        assert keys <= {'words', 'names', 'values', 'root'}, f'{block} sets {keys}'


def test_the_resize_rule_of_the_page_on_data_holds(tmp_path):
    (block,) = (block for block in read_blocks('docs/data.md') if block.text.startswith('resize ='))
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = '{ROOT}/configs/maskclip/maskclip_tiny.py'\n{block.text}\n")
    assert resize_rule_of(read_config(str(path))).scale == (2048, 448)


def test_json_blocks_are_vocabularies(tmp_path):
    blocks = [block for block in all_blocks() if block.language == 'json']
    assert blocks
    for block in blocks:
        path = tmp_path / 'words.json'
        path.write_text(block.text)
        if 'format' in json.loads(block.text):
            assert read_descriptions(path).of('okapi')
            continue
        assert len(Vocabulary.parse(path)) > len(json.loads(block.text)['classes']) - 1


def test_the_settings_of_evaluators_on_the_page_are_read(place):
    """Groups, the confusion matrix and a second evaluator, all on Scenes."""
    page = (ROOT / 'docs' / 'evaluation.md').read_text(encoding='utf-8')
    option = re.search(r'`(test_evaluator\.0\.confusion_file)=', page)[1]
    evaluators = re.search(r'`(test_evaluator=\[.+?\])`', page)[1]
    groups = re.search(r'`OVIoUMetric`.s `groups=(dict\(things=\[.+?\]\))`', page)[1]
    (place / 'groups.py').write_text(
        f"_base_ = 'configs/maskclip/maskclip_tiny.py'\n{evaluators}\n"
        f'test_evaluator[0].update(groups={groups})\n'
    )
    words = ['groups.py', '--work-dir', 'groups', *LESS['test'], f'{option}=confusion.npy']
    assert load_script('test').main(words) == 0
    (path,) = (place / 'groups').rglob('result.json')
    metrics = json.loads(path.read_text())['metrics']
    assert metrics['mIoU_things'] >= 0 and metrics['boundary_mIoU'] >= 0
    assert np.load('confusion.npy').shape == (17, 18)


@pytest.mark.parametrize('page', PAGES)
def test_a_duration_stands_beside_every_training(page):
    bare = [
        command
        for block in read_blocks(page)
        if block.is_shell
        for command in block.commands()
        if re.search(r'train\.(py|sh) (?!CONFIG|PARTITION)', command)
        and not DURATION.search(command)
    ]
    assert not bare


@pytest.fixture(scope='module')
def label_my_folder(tmp_path_factory):
    """Where somebody followed "label my folder" with a shorter training."""
    folder = tmp_path_factory.mktemp('label')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    blocks = read_blocks('docs/label_my_folder.md')
    (folder / 'mine.py').write_text(next(block.text for block in blocks if block.is_python))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks:
            for command in block.commands() if block.is_shell else []:
                follow(words_of(command))
    return folder


def follow(words):
    """Runs a command of the page, with fewer scenes and two steps."""
    folder, name = words[1].removesuffix('.py').split('/')
    fewer = {'400': '4', '40': '2'}
    words = [fewer.get(word, word).replace('max_iters=2000', 'max_iters=2') for word in words[2:]]
    if name == 'train':
        words += ['default_hooks.checkpoint.interval=1', 'train_dataloader.batch_size=2']
    assert load_script(name, folder).main(words) == 0
    if name == 'train':
        shutil.copy('work_dirs/mine/iter_2.pth', 'work_dirs/mine/iter_2000.pth')


def test_following_label_my_folder_gives_a_model_of_my_own(label_my_folder, monkeypatch):
    monkeypatch.chdir(label_my_folder)
    (result,) = (label_my_folder / 'work_dirs' / 'mine_test').rglob('result.json')
    assert json.loads(result.read_text())['images'] == 2
    *_, snippet = (block for block in read_blocks('docs/label_my_folder.md') if block.is_python)
    exec(compile(snippet.text, str(snippet), 'exec'), {})
    names = {path.name for path in (label_my_folder / 'outputs' / 'mine').glob('*_labels.png')}
    assert names == {'00000000_labels.png', '00000001_labels.png'}
