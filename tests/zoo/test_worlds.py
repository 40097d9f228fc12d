"""Which models know a small world only."""

from __future__ import annotations

import pytest

import ovseg
from ovseg.config_files import read_config
from ovseg.zoo.worlds import FOR_PHOTOGRAPHS, world_of

TINY = (
    *('maskclip-tiny', 'clip-dinoiser-tiny', 'proxyclip-tiny'),
    *('trident-tiny', 'denseclip-tiny', 'ovseg-tiny', 'fcclip-tiny', 'sam3-tiny'),
    *('maskclip-tiny-siglip', 'proxyclip-tiny-siglip', 'trident-tiny-siglip'),
)


def test_entries_and_their_configs_agree_on_the_world():
    entries = ovseg.list_models()
    assert {entry.name for entry in entries if entry.world == 'scenes'} == set(TINY)
    for entry in entries:
        assert world_of(read_config(entry.config_path, entry.on)) == entry.world
    assert FOR_PHOTOGRAPHS in {entry.name for entry in entries if entry.world is None}


@pytest.mark.parametrize('method', ['sclip', 'clearclip', 'naclip', 'resclip', 'clip'])
def test_configs_that_have_no_name_of_their_own_are_known_by_their_weights(method):
    assert world_of(read_config(f'{method}/{method}_tiny.py', 'images')) == 'scenes'


def test_weights_of_the_user_know_what_the_user_taught_them():
    config = read_config('maskclip/maskclip_tiny.py', 'images')
    assert world_of(config, 'my_clip.pt') is None
    assert world_of(config, 'random') is None
    trained = read_config('denseclip/denseclip_fpn_tiny_scenes.py')
    assert world_of(trained, 'work_dirs/iter_600.pth') is None
    assert world_of({**trained, 'load_from': 'iter_600.pth'}) is None
    assert world_of(trained, 'ovseg://denseclip_tiny_scenes') == 'scenes'
