"""Models by name."""

from __future__ import annotations

import shutil

import pytest
from miniatures import NAMES

import ovseg
from ovseg import zoo
from ovseg.config_files import ConfigPlace, find_config, read_config
from ovseg.errors import UserError
from ovseg.images import resize_rule_of

KINDS = (
    'TrainingFreeSegmentor',
    'CLIPDINOiser',
    'Trident',
    'CorrCLIP',
    'DenseCLIP',
    'OVSeg',
    'RADSeg',
    'SAM3Segmentor',
    'FCCLIP',
    'MAFTPlus',
)
# Users bring the weights of these, under this licence.
BROUGHT = {
    'ovseg-swin-b-vit-l14': 'CC BY-NC 4.0',
    'ovseg-r101c-vit-b16': 'CC BY-NC 4.0',
    'longclip-b16': 'Apache-2.0',
    **dict.fromkeys(('fcclip-convnext-l', 'fcclip-rn50'), 'Apache-2.0'),
    **dict.fromkeys((f'maftplus-convnext-{size}' for size in ('b', 'l', 'l-panoptic')), 'MIT'),
}


# Whose weights a class that is named by `clip.type` finds by itself.
PUBLISHERS = {
    'TIPSv2': '(google/tipsv2-',
    'RADIO': '(nvidia/C-RADIO',
    'DINOTxt': 'dino.txt on DINO',
}


def test_every_entry_has_a_config_for_free_images_and_says_where_its_weights_come_from():
    entries = ovseg.list_models()
    assert entries[0].name == zoo.DEFAULT_MODEL
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        config = read_config(entry.config_path, entry.on)
        assert config.model.type in KINDS
        # Classes that training fixed are known; all others are asked for.
        assert (config.model.get('vocabulary') is None) == (config.model.type != 'DenseCLIP')
        # SAM 3 squashes images itself, from their own pixels.
        squashes = config.model.type == 'SAM3Segmentor'
        assert (resize_rule_of(config).scale is None) == squashes
        assert entry.weights
        assert entry.licence
        assert bool(entry.published) == bool(entry.source)


def test_weights_named_in_the_zoo_are_those_of_the_config():
    for entry in ovseg.list_models():
        config = read_config(entry.config_path, entry.on)
        if 'sam3' in config.model:
            is_fetched = config.model.sam3.model in entry.weights
            assert is_fetched == entry.needs_download == (entry.world is None)
            continue
        if 'clip' not in config.model:
            assert config.load_from.startswith('ovseg://') and not entry.needs_download
            continue
        if 'type' in config.model.clip:  # a class that knows where its weights are
            assert PUBLISHERS[config.model.clip.type] in entry.weights
            continue
        pretrained = config.model.clip.pretrained
        if entry.file:
            # The checkpoint brings CLIP, too.
            assert pretrained == 'random' and not entry.needs_download
        elif entry.needs_download:
            assert f'tag {pretrained})' in entry.weights
        else:
            assert pretrained == 'embedded' or pretrained.startswith('ovseg://')


def test_published_numbers_use_the_names_of_our_data_sets():
    names = {name for entry in ovseg.list_models() for name in entry.published}
    assert names <= set(NAMES)


def test_published_numbers_are_those_of_the_metafile():
    published = zoo.find_model('ovseg-swin-b-vit-l14').published
    assert published == {
        **{'ade20k': 29.6, 'ade847': 9.0},
        **{'context459': 12.4, 'context59': 55.7, 'voc20': 94.5},
    }
    published['voc20'] = 100.0
    assert zoo.find_model('ovseg-swin-b-vit-l14').published['voc20'] == 94.5
    assert zoo.find_model('maskclip-tiny').published == {}  # measured here


@pytest.mark.parametrize('name', BROUGHT)
def test_a_model_whose_weights_users_bring_says_which_file_and_its_licence(name):
    entry = zoo.find_model(name)
    for model in (name, entry.config_path, f'configs/{entry.config}'):
        with pytest.raises(UserError) as raised:
            ovseg.OpenVocabSegmenter(model, device='cpu')
        message = str(raised.value)
        assert f'get {entry.file} ' in message and f'--checkpoint {entry.file} ' in message
        assert ' from the' in message and f'its licence is {BROUGHT[name]}' in message
        assert '\n' not in message
    zoo.check_weights(entry.config_path, entry.file)  # given, it is asked for no more


def test_weights_that_ovseg_has_or_finds_itself_are_not_asked_for():
    for entry in ovseg.list_models():
        if not entry.file:
            zoo.check_weights(entry.config_path, None)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UserError, match="no model 'maskclip-vitb16'.*Did you mean 'maskclip-vit-b"):
        zoo.resolve_model('maskclip-vitb16')


def test_configs_are_found_by_path_and_below_configs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.py').write_text('')
    found = zoo.resolve_model(tmp_path / 'mine.py')
    assert found == ('mine', ConfigPlace(tmp_path / 'mine.py'))
    entry = ovseg.list_models()[1]
    assert zoo.resolve_model(f'configs/{entry.config}')[1] == ConfigPlace(entry.config_path)
    assert zoo.resolve_model(entry.name)[1] == ConfigPlace(entry.config_path, 'images')
    assert zoo.resolve_model(entry.name, 'voc20')[1] == ConfigPlace(entry.config_path, 'voc20')
    name = f'{entry.config_path.stem}_ade20k'
    assert zoo.resolve_model(f'{name}.py') == (name, ConfigPlace(entry.config_path, 'ade20k'))
    assert zoo.resolve_model(name) == zoo.resolve_model(f'{name}.py')  # as the tools take it
    (tmp_path / 'notes.txt').write_text('')
    with pytest.raises(UserError, match=r"no model 'notes\.txt'"):
        zoo.resolve_model('notes.txt')
    with pytest.raises(FileNotFoundError, match=r'no config none\.py'):
        zoo.resolve_model('none.py')


def test_configs_of_an_installed_package_are_found_inside_it(tmp_path, monkeypatch):
    package = tmp_path / 'site-packages' / 'ovseg'
    inside = package / '.mim' / 'configs' / 'maskclip'
    inside.mkdir(parents=True)
    entry = ovseg.list_models()[0]
    shutil.copy(entry.config_path, inside)
    monkeypatch.setattr(ovseg, '__file__', str(package / '__init__.py'))
    assert entry.config_path.parent == inside
    with pytest.raises(FileNotFoundError, match='config maskclip/none.py does not exist'):
        find_config('maskclip/none.py')


def test_the_list_shows_itself_as_a_table_and_is_a_list():
    entries = ovseg.list_models()
    assert entries == list(entries) and isinstance(entries, list)
    header, _, *rows = str(entries).splitlines()
    assert repr(entries) == str(entries)
    assert header.split() == ['model', 'method', 'weights', 'licence', 'what', 'they', 'are']
    assert [row.split()[0] for row in rows] == [entry.name for entry in entries]
    by_name = {row.split()[0]: row for row in rows}
    assert 'in ovseg' in by_name['trident-tiny'] and 'Trident' in by_name['trident-tiny']
    assert 'SAM ViT-H (2.6 GB)' in by_name['corrclip-vit-b16']
    assert 'CC-BY-NC 4.0' in by_name['corrclip-vit-b16']
    for name, licence in BROUGHT.items():
        assert 'you bring them' in by_name[name] and licence in by_name[name]
    assert ' Apple ' in by_name['dfn-b16']
    assert max(map(len, rows)) <= 171
