"""Saved models: folders and repositories of the hub that need nothing else and run no code."""

from __future__ import annotations

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
from fake_hub import ask_at, running_hub
from few_windows import few_windows
from safetensors.torch import load_file, save_file
from scripts import ROOT

import ovseg
from ovseg import OpenVocabSegmenter
from ovseg.cli.command import main
from ovseg.config_files import read_config
from ovseg.errors import Notice, UserError, notices_heard
from ovseg.registry import MODELS
from ovseg.saved_config import foreign_settings, without_files

WORDS = 'sky; grass; red star, star'
SCENE = ROOT / 'demo' / 'scene.png'
SHIPPED = [entry.name for entry in ovseg.list_models() if entry.world]


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp('saved') / 'mine'
    segmenter = OpenVocabSegmenter(
        'maskclip-tiny', device='cpu', vocabulary=WORDS, background='water'
    )
    assert segmenter.save_pretrained(folder, measured={'scenes': 60.82}) == folder
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running_hub() as hub:
        ask_at(hub.address, monkeypatch)
        monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
        yield hub


def changed(saved, folder, change):
    """A copy whose ``ovseg.json`` is changed."""
    shutil.copytree(saved, folder)
    path = folder / 'ovseg.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize('name', SHIPPED)
def test_a_saved_model_gives_the_same_labels(name, tmp_path):
    first = few_windows(OpenVocabSegmenter(name, device='cpu'))
    again = OpenVocabSegmenter.from_pretrained(first.save_pretrained(tmp_path / name), device='cpu')
    assert again.model.inference_settings == first.model.inference_settings
    words = WORDS if first.vocabulary is None else None
    picture = np.asarray(ovseg.images.reading.load_rgb(SCENE))[:48, :72]
    one, other = (each.segment(picture, words, scores=True) for each in (first, again))
    assert one.names == other.names and one.palette == other.palette
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.scores, other.scores)


def test_weights_come_from_the_folder_alone(saved, tmp_path):
    """Those that ship under the same settings are replaced by the folder's, all of them."""
    folder = tmp_path / 'other'
    shutil.copytree(saved, folder)
    weights = load_file(folder / 'model.safetensors')
    save_file({key: value + 1 for key, value in weights.items()}, folder / 'model.safetensors')
    model = OpenVocabSegmenter(folder, device='cpu').model
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert all(torch.equal(own[key], value + 1) for key, value in weights.items())
    assert dict(model.named_parameters()).keys() <= weights.keys()


def test_its_words_are_those_it_was_saved_with(saved):
    segment = OpenVocabSegmenter.from_pretrained(saved, device='cpu')
    result = segment(SCENE)
    assert result.names == ('background', 'sky', 'grass', 'red star') and segment.name == 'mine'
    assert segment(SCENE, 'sky; water').names == ('sky', 'water')
    with pytest.warns(Notice, match='small drawn scenes'):
        segment(SCENE, 'elephant; sky')


def test_what_a_saved_model_does_not_hold_is_said(tmp_path):
    segment = few_windows(
        OpenVocabSegmenter(
            'maskclip-tiny', device='cpu', precision='float32', rejection='margin=0.1'
        )
    )
    segment.teach('ball', SCENE, (60, 70, 110, 120))
    with notices_heard() as heard:
        segment.save_pretrained(tmp_path / 'mine')
    assert [line.split(':')[0] for line in heard] == [
        'The folder has the model without rejection=',
        'The folder has the model without its examples',
    ]
    segment.save_bank(tmp_path / 'b.safetensors')
    again = OpenVocabSegmenter.from_pretrained(
        tmp_path / 'mine', device='cpu', precision='float32', rejection='margin=0.1'
    )
    again.load_bank(tmp_path / 'b.safetensors')
    want, got = (few_windows(each)(SCENE, 'sky; ball').labels for each in (segment, again))
    assert np.array_equal(want, got)


def test_the_command_line_takes_it(saved, tmp_path, capsys):
    words = ['segment', str(SCENE), '--model', str(saved), '--out-dir', str(tmp_path)]
    assert main([*words, '--device', 'cpu', '--save', 'labels']) == 0
    assert 'red star' in capsys.readouterr().out
    assert main([*words, '--on', 'ade20k']) == 2
    assert 'has no settings for --on' in capsys.readouterr().err
    assert main([*words, '--checkpoint', str(saved / 'model.safetensors')]) == 2
    assert 'give no checkpoint' in capsys.readouterr().err


def test_the_card_tells_licence_words_protocol_and_numbers_apart(saved, tmp_path):
    card = (saved / 'README.md').read_text()
    head, rest = card.split('---\n', 2)[1:]
    assert 'license: apache-2.0' in head and 'library_name: ovseg' in head
    assert 'red star' in rest and '| mode | ' in rest and 'small drawn world' in rest
    assert '| scenes | 60.82 |' in rest and 'as its author says' in rest
    entry = ovseg.zoo.find_model('maskclip-vit-b16')
    random = OpenVocabSegmenter('maskclip-vit-b16', 'random', device='cpu', templates='single')
    random.has_own_weights = False  # as if they were the published ones
    from ovseg.apis.model_card import card_of

    card = card_of(random, None, None)
    value = entry.published['voc20']
    assert f'Published ({entry.source}), not measured with this file' in card
    assert f'| voc20 | {value:g} |' in card and 'None was measured with this file.' in card
    random.has_own_weights = True
    card = card_of(random, None, None)
    assert 'Published' not in card and 'license: unknown' in card
    assert 'license: cc-by-nc-4.0' in card_of(random, 'CC BY-NC 4.0', None)


@pytest.mark.parametrize(
    'change, reason',
    [
        (lambda it: it.update(format='ovseg model 9'), "of the format 'ovseg model 9'"),
        (lambda it: it['config'].update(custom_imports={'imports': ['os']}), 'custom_imports'),
        (lambda it: it['config'].update(_base_='a.py'), '_base_'),
        (lambda it: it['config']['model'].update(init_cfg={'type': 'Pretrained'}), 'init_cfg'),
        (
            lambda it: it['config']['model']['clip'].update(pretrained='https://a.example/w'),
            'names a file',
        ),
        (lambda it: it['config']['model']['clip'].update(pretrained='/etc/passwd'), 'names a file'),
        (lambda it: it['config']['model'].update(vocabulary='../words.json'), 'names a file'),
        (lambda it: it['config'].pop('model'), 'no config with a model'),
        (lambda it: it['config']['model'].update(type='subprocess.call'), 'no part that ovseg has'),
        (
            lambda it: it['config']['model'].update(refiners=[{'type': 'mmengine.mkdir_or_exist'}]),
            'no part that ovseg has',
        ),
        (lambda it: it['config']['model'].update(refiners=[{'type': 'antigravity'}]), 'no part'),
        (lambda it: it['config']['model'].update(guide={'_scope_': 'os'}), '_scope_'),
        (lambda it: it['config']['model'].update(text={'embeddings': '../rows'}), 'names a file'),
        (lambda it: it['config']['model']['clip'].update(model='hf-hub:a/b'), 'names a file'),
        (lambda it: it['config']['model']['clip'].update(model='local-dir:a'), 'names a file'),
        (
            lambda it: it['config']['model']['clip'].update(model='ViT-B-16', pretrained='openai'),
            'weights elsewhere',
        ),
        (lambda it: it['config']['model'].update(vocabulary='words.txt'), 'names a file'),
        (lambda it: it['config']['model'].update(vocabulary='setup.py'), 'names a file'),
        (lambda it: it['config']['model'].update(text={'templates': 'a.TXT'}), 'names a file'),
        (lambda it: it['config']['model'].update(text={'templates': 'a/b'}), 'names a file'),
        (lambda it: it['config']['model'].update(text={'cache_dir': 'here'}), 'cache_dir'),
    ],
)
def test_what_would_read_other_files_or_run_code_is_refused(saved, tmp_path, change, reason):
    folder = changed(saved, tmp_path / 'bad', change)
    with pytest.raises(UserError, match=reason):
        OpenVocabSegmenter.from_pretrained(folder)


@pytest.mark.parametrize(
    'change, reason',
    [
        (lambda it: it['config'].update(model='maskclip-tiny'), 'no settings'),
        (lambda it: it['config'].update(resize=448), 'no settings'),
        (lambda it: it['config']['model'].update(no_such_setting=1), 'make no model'),
        (lambda it: it['config']['model']['clip'].update(model=None), 'make no model|clip.model'),
        (lambda it: it['config']['model'].update(guide=nested(400)), 'without end|make no model'),
    ],
)
def test_settings_of_wrong_kinds_are_one_sentence(saved, tmp_path, change, reason):
    with pytest.raises(UserError, match=reason):
        OpenVocabSegmenter.from_pretrained(changed(saved, tmp_path / 'bad', change), device='cpu')


def nested(depth):
    return {'a': nested(depth - 1)} if depth else 1


def test_words_and_templates_that_look_like_files_are_no_files(saved, tmp_path):
    words = {'classes': ['readme.txt', 'https://a.example', 'x:y']}
    first = OpenVocabSegmenter(saved, device='cpu', vocabulary=words, templates='a photo/of: {}')
    first.save_pretrained(tmp_path / 'words')
    again = OpenVocabSegmenter.from_pretrained(tmp_path / 'words', device='cpu')
    assert again.vocabulary.names == tuple(words['classes'])


def test_files_of_others_are_not_replaced(saved, tmp_path):
    segmenter = OpenVocabSegmenter(saved, device='cpu')
    (tmp_path / 'README.md').write_text('my project')
    with pytest.raises(UserError, match=r'holds no saved model, but a README.md'):
        segmenter.save_pretrained(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ['README.md']
    with pytest.raises(UserError, match=r"measured\['ade20k'\] must be an mIoU in percent"):
        segmenter.save_pretrained(tmp_path / 'new', measured={'ade20k': 'good'})
    assert not (tmp_path / 'new').exists()
    folder = segmenter.save_pretrained(tmp_path / 'new')
    assert segmenter.save_pretrained(folder, licence='MIT') == folder  # one of ours is


def test_damaged_folders_are_one_sentence(saved, tmp_path):
    for name in ('weights', 'config', 'keys'):
        shutil.copytree(saved, tmp_path / name)
    (tmp_path / 'weights' / 'model.safetensors').write_bytes(b'\x08' + bytes(20))
    (tmp_path / 'config' / 'ovseg.json').write_text('{')
    file = tmp_path / 'keys' / 'model.safetensors'
    state = load_file(file)
    state.pop(next(iter(state)))
    save_file(state, file)
    for name, reason in (
        ('weights', 'damaged|safetensors'),
        ('config', 'no valid JSON'),
        ('keys', '1 missing'),
    ):
        with pytest.raises(UserError, match=reason):
            OpenVocabSegmenter.from_pretrained(tmp_path / name, device='cpu')
    (tmp_path / 'empty').mkdir()
    for source in (tmp_path / 'empty', tmp_path / 'nowhere', 'nowhere'):
        with pytest.raises(FileNotFoundError, match='no saved model|no folder'):
            OpenVocabSegmenter.from_pretrained(source)
    (tmp_path / 'keys' / 'model.safetensors').unlink()
    with pytest.raises(FileNotFoundError):
        OpenVocabSegmenter.from_pretrained(tmp_path / 'keys', device='cpu')


@pytest.mark.parametrize('entry', ovseg.list_models(), ids=lambda entry: entry.name)
def test_the_settings_of_each_model_name_nothing_elsewhere(entry):
    MODELS.import_from_location()
    settings = without_files(read_config(entry.config_path).model.to_dict())
    assert not list(foreign_settings(settings, 'model'))


def test_what_cannot_be_saved_is_said(tmp_path):
    half = OpenVocabSegmenter('maskclip-tiny', device='cpu', precision='bfloat16')
    with pytest.raises(UserError, match="precision='float32'"):
        half.save_pretrained(tmp_path / 'half')
    named = OpenVocabSegmenter('maskclip-tiny', device='cpu')
    named.config.model.text = {'templates': str(tmp_path / 'templates.json')}
    with pytest.raises(UserError, match=r'model.text.templates names a file'):
        named.save_pretrained(tmp_path / 'named')
    assert not (tmp_path / 'half').exists() and not (tmp_path / 'named').exists()


def test_a_model_goes_to_the_hub_and_comes_back(hub, saved, tmp_path):
    first = OpenVocabSegmenter(saved, device='cpu')
    page = first.push_to_hub('me/mine', licence='MIT', token='hf_secret')
    assert page == f'{hub.address}/me/mine'
    sent = hub.files['me/mine']
    assert sorted(sent) == ['README.md', 'model.safetensors', 'ovseg.json']
    assert b'license: mit' in sent['README.md'] and b'hf_secret' not in b''.join(sent.values())
    sent['evil.py'] = b'raise SystemExit'
    again = OpenVocabSegmenter.from_pretrained('me/mine', device='cpu')
    assert again.name == 'me/mine'
    np.testing.assert_array_equal(again(SCENE).labels, first(SCENE).labels)
    assert not any('evil' in path for path in hub.asked)
    assert not list((tmp_path / 'cache').rglob('evil.py'))


def test_what_the_hub_refuses_is_one_sentence(hub, saved, monkeypatch):
    hub.files['me/data'] = {'README.md': b'a card'}
    hub.files['me/mine'] = {path.name: path.read_bytes() for path in saved.iterdir()}
    hub.gated.add('me/gated')
    for name, settings, kind, reason in (
        ('me/none', {}, FileNotFoundError, 'no model me/none on the hub'),
        ('me/gated', {}, UserError, 'open to those alone who asked'),
        ('me/data', {}, UserError, r'holds no model of ovseg \(no ovseg.json'),
        ('me/mine', {'revision': 'v9'}, FileNotFoundError, "no revision 'v9'"),
        ('not a name/at all', {}, UserError, 'cannot be fetched'),
    ):
        with pytest.raises(kind, match=reason):
            OpenVocabSegmenter.from_pretrained(name, token=False, **settings)
    segmenter = OpenVocabSegmenter(saved, device='cpu')
    with pytest.raises(UserError, match="write 'organisation/name'"):
        segmenter.push_to_hub('no such name!', licence='MIT', token='hf_secret')
    ask_at('http://hub.invalid', monkeypatch)
    with pytest.raises(UserError, match='cannot be sent to the hub'):
        segmenter.push_to_hub('me/other', licence='MIT', token='hf_secret')


def test_without_a_network_a_fetched_model_is_still_there(hub, saved, monkeypatch):
    hub.files['me/mine'] = {path.name: path.read_bytes() for path in saved.iterdir()}
    OpenVocabSegmenter.from_pretrained('me/mine', device='cpu', token=False)
    ask_at('http://hub.invalid', monkeypatch)
    segmenter = OpenVocabSegmenter.from_pretrained('me/mine', device='cpu', token=False)
    assert segmenter(SCENE).names[0] == 'background'
    with pytest.raises(UserError, match='give a folder with its files'):
        OpenVocabSegmenter.from_pretrained('me/other', token=False)
