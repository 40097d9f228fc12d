"""SAM 2 from folders in the hub's format, files and names."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_sam2s import TINY_SAM2, randomised

from ovseg import downloads
from ovseg.encoders.sam2 import is_sam2, load_sam2
from ovseg.encoders.sam2_architecture import PUBLISHED
from ovseg.encoders.sams import build_prompted_sam
from ovseg.errors import UserError

transformers = pytest.importorskip('transformers', reason='SAM 2 needs the extra `transformers`')


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """A folder as a repository of the hub has it: a model for videos, and its state dict."""
    torch.manual_seed(0)
    small = {'memory_attention_hidden_size': 32, 'memory_attention_feed_forward_hidden_size': 32}
    small |= {'memory_encoder_hidden_size': 32, 'memory_attention_num_layers': 1}
    vision = {'model_type': 'sam2_vision_model', **TINY_SAM2['vision_config']}
    backbone = {'model_type': 'sam2_hiera_det_model', **vision['backbone_config']}
    parts = {**TINY_SAM2, 'vision_config': {**vision, 'backbone_config': backbone}}
    model = transformers.Sam2VideoModel(transformers.Sam2VideoConfig(**parts, **small))
    randomised(model)
    folder = tmp_path_factory.mktemp('hub') / 'sam2.1-hiera-mine'
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture
def copied(published, tmp_path):
    """The folder to change."""
    for file in published[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_a_folder_of_the_hub_loads_without_the_parts_for_videos(published):
    folder, model = published
    assert json.loads((folder / 'config.json').read_text())['model_type'] == 'sam2_video'
    loaded = load_sam2(str(folder))
    assert (loaded.name, loaded.weights) == ('custom', 'sam2.1-hiera-mine')
    assert not loaded.model.training
    assert not any(value.requires_grad for value in loaded.model.parameters())
    state = model.state_dict()
    own = loaded.model.state_dict()
    assert len(own) < len(state)
    assert all(torch.equal(value, state[name]) for name, value in own.items())
    for pretrained in (folder, folder / 'model.safetensors'):
        again = load_sam2(TINY_SAM2, pretrained).model.state_dict()
        assert all(torch.equal(again[name], value) for name, value in own.items())


def test_from_pretrained_of_the_package_gives_the_same(published):
    folder, _ = published
    theirs = transformers.Sam2Model.from_pretrained(folder).eval()
    ours = load_sam2(folder).model
    pixels = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    points = torch.tensor([[[[40.0, 70.0]]]])
    with torch.no_grad():
        wanted, found = (sam(pixels, input_points=points) for sam in (theirs, ours))
    assert torch.equal(found.pred_masks, wanted.pred_masks)
    assert wanted.pred_masks.std() > 0.1


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: state.pop('mask_decoder.iou_token.weight'), r'1 missing \(mask_decoder.iou'),
        (lambda state: state.update(scale=torch.ones(2)), r'1 unexpected \(scale\)'),
        (
            lambda state: state.update({'no_memory_embedding': torch.ones(1, 1, 5)}),
            r'no_memory_embedding is \(1, 1, 5\), wanted \(1, 1, 32\)',
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(copied, change, message):
    state = load_file(copied / 'model.safetensors')
    change(state)
    save_file(state, copied / 'model.safetensors')
    with pytest.raises(UserError, match=message):
        load_sam2(copied)


def changed_config(folder, **fields):
    path = folder / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_configs_of_others_are_refused(copied):
    changed_config(copied, model_type='sam_hq')
    with pytest.raises(UserError, match=r"config.json says model_type 'sam_hq', a SAM 2 says 'sam"):
        load_sam2(copied)
    (copied / 'config.json').write_text('{"model_type": ')
    with pytest.raises(UserError, match=r'config.json cannot be read'):
        load_sam2(copied)
    (copied / 'config.json').write_text('{"model_type": "sam2", "vision_config": {"x": 1}}')
    with pytest.raises(UserError, match=r'vision_config.backbone_config.hidden_size'):
        load_sam2(TINY_SAM2, copied)


def test_a_folder_of_another_size_than_the_named_one_is_refused(published):
    with pytest.raises(
        UserError, match=r'vision_config.backbone_config.hidden_size 8, the config asks for 96'
    ):
        load_sam2('facebook/sam2.1-hiera-tiny', published[0])


def test_a_folder_without_weights_says_so(copied):
    (copied / 'model.safetensors').unlink()
    with pytest.raises(FileNotFoundError, match=r'model\.safetensors does not exist'):
        load_sam2(copied)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({**TINY_SAM2, 'mask_decoder': {}}, r"sam\.model has no setting 'mask_decoder'"),
        (
            {**TINY_SAM2, 'prompt_encoder_config': {'image_sizes': 128}},
            r"sam\.model\.prompt_encoder_config has no setting 'image_sizes'.*'image_size'",
        ),
        (
            {**TINY_SAM2, 'mask_decoder_config': {'hidden_size': 'wide'}},
            r'sam\.model fits no SAM 2: .*hidden_size',
        ),
    ],
)
def test_unknown_settings_are_named(fields, message):
    with pytest.raises(UserError, match=message):
        load_sam2(fields, 'random')


def test_a_model_of_yours_needs_weights():
    with pytest.raises(UserError, match="must name a file or a folder, or 'random'"):
        load_sam2(TINY_SAM2)


def test_names_are_told_apart_from_those_of_the_first_sam(published):
    assert is_sam2('facebook/sam2.1-hiera-tiny') and is_sam2(str(published[0]))
    assert is_sam2(TINY_SAM2) and not is_sam2('vit_b') and not is_sam2(None)
    with pytest.raises(UserError, match=r"'facebook/sam2.1-hiera-huge'.*Did you mean|nearest"):
        build_prompted_sam({'model': 'facebook/sam2.1-hiera-huge'})


def test_published_weights_are_fetched_from_the_hub(monkeypatch, published, tmp_path):
    asked = []

    def fetched(repository, file, local_files_only):
        if local_files_only:
            raise OSError('not in the cache')
        asked.append((repository, file))
        return str(tmp_path / 'gone.safetensors')

    monkeypatch.setattr(downloads, 'reaches_hub', lambda: True)
    monkeypatch.setattr(downloads.huggingface_hub, 'hf_hub_download', fetched)
    with pytest.raises(FileNotFoundError, match='gone.safetensors'):
        load_sam2('facebook/sam2.1-hiera-small')
    assert asked == [('facebook/sam2.1-hiera-small', 'model.safetensors')]
    monkeypatch.setattr(downloads, 'reaches_hub', lambda: False)
    with pytest.raises(
        UserError,
        match=r'model\.safetensors of facebook/sam2\.1-hiera-small on the Hugging Face hub could '
        r'not be fetched \(not in the cache\); .* set sam\.pretrained',
    ):
        load_sam2('facebook/sam2.1-hiera-small')


def test_without_transformers_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(UserError, match=r'run by transformers, .*pip install "ovseg\[transformer'):
        load_sam2(TINY_SAM2, 'random')


@pytest.mark.parametrize(
    ('name', 'millions'), [('tiny', 39), ('small', 46), ('base-plus', 81), ('large', 224)]
)
def test_published_sizes_have_the_published_number_of_parameters(name, millions):
    """With the parts for videos, which the authors count, too: 7.52 million in every size."""
    from ovseg.encoders.sam2_architecture import sam2_config

    with torch.device('meta'):
        sam = transformers.Sam2Model(sam2_config(PUBLISHED[f'facebook/sam2.1-hiera-{name}']))
    count = sum(value.numel() for value in sam.parameters()) / 1e6
    assert round(count + 7.52) == millions
