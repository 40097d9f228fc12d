from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from ovseg import downloads
from ovseg.encoders import load_clip
from ovseg.encoders.dino import load_dino
from ovseg.encoders.dinov2 import load_dinov2
from ovseg.encoders.found import FOUND
from ovseg.encoders.sam import load_sam
from ovseg.errors import UserError

DINO = {'img_size': 16, 'patch_size': 8, 'embed_dim': 8, 'depth': 1, 'num_heads': 1}


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network and empty caches; returns the folder of torch's."""

    def unreachable(*args, **kwargs):
        raise URLError('no network')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', unreachable)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(downloads, '_reaches_hub', lambda: False)
    monkeypatch.setattr(downloads.huggingface_hub, 'try_to_load_from_cache', lambda *args: None)
    return tmp_path / 'hub' / 'checkpoints'


MISSING = {
    'dino': (
        lambda: load_dino('dino_vitb16'),
        'https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth',
        'dino.pretrained (or companion.pretrained)',
    ),
    'dinov2': (
        lambda: load_dinov2('dinov2_vitb14'),
        'dinov2_vitb14/dinov2_vitb14_pretrain.pth',
        'companion.pretrained',
    ),
    'sam': (
        lambda: load_sam('vit_b'),
        'https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth',
        'sam.pretrained',
    ),
    'found': (
        lambda: FOUND({'model': DINO, 'pretrained': 'random'}),
        'decoder_weights.pt',
        'found.decoder',
    ),
}


@pytest.mark.parametrize('which', MISSING)
def test_a_missing_file_is_named_with_its_source_its_setting_and_its_place(which, offline):
    load, source, key = MISSING[which]
    with pytest.raises(UserError) as caught:
        load()
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    url = sentence.split()[0]
    assert url.startswith('https://') and url.endswith(source)
    assert f'set {key} of the model in the config to the path of the file' in sentence
    place = Path(sentence.rsplit('put it at ', 1)[1])
    assert place.name == url.rsplit('/', 1)[1] and place.is_relative_to(offline)


def test_a_file_put_where_the_sentence_says_is_found(offline):
    url = 'https://nowhere.example/weights.pt'
    with pytest.raises(UserError) as caught:
        downloads.fetch_url(url)
    assert 'give the path of the file instead of the URL' in str(caught.value)
    place = Path(str(caught.value).rsplit('put it at ', 1)[1])
    place.write_bytes(b'weights')
    assert downloads.fetch_url(url) == place


def test_a_missing_file_of_the_hub_is_named_with_its_repository(offline):
    with pytest.raises(UserError) as caught:
        load_clip('ViT-H-14', 'laion2b_s32b_b79k')
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    assert 'open_clip_pytorch_model.bin of laion/CLIP-ViT-H-14-laion2B-s32B-b79K on' in sentence
    assert 'clip.pretrained' in sentence
    with pytest.raises(UserError, match=r'fetch own\.bin of some/repository on the Hugging Face'):
        downloads.fetch_weights({'hf_hub': 'some/repository/own.bin'}, 'x')
