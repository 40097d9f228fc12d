"""SAM 3's loader and parts, on tiny random weights."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest
import torch
from fake_hub import ask_at, running_hub
from safetensors.torch import save_file
from tiny_sam3s import TINY_SAM3, spread

from ovseg import downloads
from ovseg.encoders.sam3 import load_sam3
from ovseg.encoders.sam3_concepts import ConceptModel, square_pixels, token_mask
from ovseg.encoders.sam3_context import ContextSettings
from ovseg.encoders.sam3_format import detector_state
from ovseg.errors import UserError, notices_heard

pytest.importorskip('transformers', minversion='5.12')
PHRASES = ['cat', 'a long red sofa', 'sky']


@pytest.fixture(scope='module')
def loaded():
    torch.manual_seed(0)
    found = load_sam3(TINY_SAM3, 'random')
    spread(found.model)
    return found


@pytest.fixture(scope='module')
def model(loaded):
    return ConceptModel(loaded).eval()


@pytest.fixture(scope='module')
def pixels():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 3, 56, 56, generator=generator)


@torch.no_grad()
def heads(model, pixels, **settings):
    phrases = model.tower.phrases(model.text_encoder(None).encode(PHRASES))
    return model.ask(model.look(pixels), phrases, **settings)


@torch.no_grad()
def test_parts_give_what_the_model_gives_with_a_box_that_is_none(loaded, model, pixels):
    ids = loaded.tokenizer(PHRASES)
    mask = token_mask(ids, TINY_SAM3['text_config']['eos_token_id'])
    whole = loaded.model(
        pixel_values=pixels.expand(3, -1, -1, -1),
        input_ids=ids,
        attention_mask=mask.long(),
        input_boxes=torch.zeros(3, 1, 4),
        input_boxes_labels=torch.full((3, 1), -10),
    )
    ours = heads(model, pixels)
    assert torch.allclose(ours.presence[:, None], whole.presence_logits, atol=1e-4)
    assert torch.allclose(ours.scores, whole.pred_logits, atol=1e-4)
    assert torch.allclose(ours.boxes, whole.pred_boxes, atol=1e-5)
    assert torch.allclose(ours.masks, whole.pred_masks, atol=1e-3)
    assert torch.allclose(ours.semantic[:, None], whole.semantic_seg, atol=1e-4)
    # Without the token the same weights say something else.
    bare = loaded.model(
        pixel_values=pixels.expand(3, -1, -1, -1), input_ids=ids, attention_mask=mask.long()
    )
    assert not torch.allclose(bare.presence_logits, whole.presence_logits, atol=1e-2)


def test_masks_are_drawn_of_kept_queries_alone_and_are_the_same(model, pixels):
    every = heads(model, pixels)
    sure = every.scores.sigmoid() * every.presence.sigmoid()[:, None]
    limit = float(sure.flatten().sort().values[-3])
    some = heads(model, pixels, keep_above=limit)
    assert some.masks.shape[1] == int((sure > limit).sum(1).max()) < every.masks.shape[1]
    for row, queries in enumerate(some.queries):
        assert torch.allclose(some.masks[row], every.masks[row, queries], atol=1e-4)
    semantic = heads(model, pixels, wanted=('semantic',))
    assert semantic.presence is None and semantic.masks is None
    assert torch.allclose(semantic.semantic, every.semantic, atol=1e-5)


def test_another_size_takes_no_second_copy_and_comes_back(loaded, model, pixels):
    before = model.look(pixels)
    small = torch.nn.functional.interpolate(pixels, (28, 28))
    resized = model.look(small)
    fields = json.loads(json.dumps(TINY_SAM3))
    fields['vision_config']['backbone_config']['image_size'] = 28
    other = load_sam3(fields, 'random')
    other.model.load_state_dict(loaded.model.state_dict())
    built = ConceptModel(other).eval().look(small)
    for ours, theirs in zip(resized.levels, built.levels, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.equal(model.look(pixels).levels[2], before.levels[2])
    with pytest.raises(ValueError, match='30 is no multiple of the patch of 14'):
        model.look(pixels[..., :30, :30])


def authors(state):
    """The same weights under the authors' names, as their file has them."""
    from ovseg.encoders import sam3_format
    from ovseg.weight_files import inverse, rename

    table = inverse(sam3_format._NAMES)
    fused: dict[str, dict[str, torch.Tensor]] = {}
    found = {}
    for name, value in state.items():
        place, _, last = name.rpartition('.')
        block, _, part = place.rpartition('.')
        if part in ('q_proj', 'k_proj', 'v_proj'):
            fused.setdefault(f'{block}.in_proj_{last}', {})[part[0]] = value
            continue
        if name == 'text_encoder.text_projection.weight':
            value = value.T
        if name.endswith('.position_embeddings'):
            value = torch.cat([value[:, :1] * 7, value], 1)
        found[rename(name, table) or name] = value
    for name, parts in fused.items():
        joined = torch.cat([parts[letter] for letter in 'qkv'])
        found[rename(name, table) or name] = joined
    constants = {'backbone.vision_backbone.trunk.blocks.0.attn.freqs_cis': torch.ones(2)}
    unused = {'geometry_encoder.points_direct_project.weight': torch.ones(2)}
    return {**found, **constants, **unused}


def test_all_published_formats_load(loaded, tmp_path):
    state = loaded.model.state_dict()
    tracker = {'tracker_model.x': torch.ones(1), 'tracker_neck.y': torch.ones(1)}
    formats = {
        'plain': state,
        'video': {**{f'detector_model.{name}': value for name, value in state.items()}, **tracker},
        'authors': {f'detector.{name}': value for name, value in authors(state).items()}
        | {'tracker.z': torch.ones(1)},
    }
    assert any('.attn.qkv.' in name for name in formats['authors'])
    assert any('ca_text.in_proj_weight' in name for name in formats['authors'])
    for name, content in formats.items():
        assert set(detector_state(content)) == set(state), name
        file = tmp_path / f'{name}.pt'
        torch.save(content, file)
        again = load_sam3(TINY_SAM3, file).model.state_dict()
        assert all(torch.equal(again[key], value) for key, value in state.items()), name


def test_a_folder_of_the_hubs_video_model_serves_and_tells_the_licence(loaded, tmp_path):
    config = {'model_type': 'sam3_video', 'detector_config': TINY_SAM3}
    (tmp_path / 'config.json').write_text(json.dumps(config), encoding='utf-8')
    state = {f'detector_model.{name}': value for name, value in loaded.model.state_dict().items()}
    save_file(
        {name: value.contiguous() for name, value in state.items()}, tmp_path / 'model.safetensors'
    )
    with notices_heard() as heard:
        again = load_sam3(tmp_path)
    assert 'SAM License' in ' '.join(heard)
    backbone = again.model.config.vision_config.backbone_config
    assert backbone.layer_norm_eps == 1e-5 and again.model.config._attn_implementation == 'sdpa'
    assert torch.equal(again.model.text_projection.weight, loaded.model.text_projection.weight)


def test_a_file_serves_where_the_hub_would(tmp_path, monkeypatch):
    from ovseg.encoders import sam3

    asked = []
    monkeypatch.setattr(sam3, '_loaded', lambda config, path: asked.append((config, path)))
    monkeypatch.setattr(sam3, 'file_of_model', lambda *_: pytest.fail('asked the hub'))
    file = tmp_path / 'sam3.pt'
    file.write_bytes(b'x')
    for given in (('facebook/sam3', file), (file,)):
        with pytest.raises(AttributeError):  # of None, which stands for the model
            load_sam3(*given)
    for config, path in asked:
        backbone = config.vision_config.backbone_config
        assert (backbone.hidden_size, backbone.layer_norm_eps, path) == (1024, 1e-5, file)
    assert len(asked) == 2


def test_gated_weights_and_a_hub_out_of_reach_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads.huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    with running_hub() as hub:
        ask_at(hub.address, monkeypatch)
        monkeypatch.setattr(downloads, 'reaches_hub', lambda: True)
        hub.gated.add('facebook/sam3')
        with pytest.raises(UserError, match=r'of facebook/sam3 .* accepted its licence.* log in'):
            load_sam3()
    monkeypatch.setattr(downloads, 'reaches_hub', lambda: False)
    with pytest.raises(UserError, match=r'of facebook/sam3 .* could not be fetched.* sam3\.model'):
        load_sam3()


def test_bad_input_is_one_sentence(loaded, tmp_path, monkeypatch):
    with pytest.raises(
        UserError, match="sam3.pretrained must name a file or a folder, or 'random'"
    ):
        load_sam3(TINY_SAM3)
    with pytest.raises(FileNotFoundError, match='There is no file or folder ./nowhere'):
        load_sam3('./nowhere')
    with pytest.raises(UserError, match='is a folder without config.json'):
        load_sam3(tmp_path)
    (tmp_path / 'config.json').write_text('{"model_type": "sam2"}', encoding='utf-8')
    with pytest.raises(UserError, match="says model_type 'sam2', a SAM 3 says"):
        load_sam3(tmp_path)
    with pytest.raises(UserError, match="no part 'detr_config'.*detr_"):
        load_sam3({'detr_config': {}}, 'random')
    short = {
        name: value
        for name, value in loaded.model.state_dict().items()
        if 'detr_encoder' not in name
    }
    torch.save(short, tmp_path / 'short.pt')
    with pytest.raises(UserError, match='do not fit this model: .* missing'):
        load_sam3(TINY_SAM3, tmp_path / 'short.pt')
    old = ModuleType('transformers')
    old.__version__ = '5.0.0'
    monkeypatch.setitem(sys.modules, 'transformers', old)
    with pytest.raises(UserError, match='SAM 3 needs transformers 5.12 or newer'):
        load_sam3(TINY_SAM3, 'random')
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(UserError, match='pip install .ovseg.transformers..'):
        load_sam3(TINY_SAM3, 'random')


def test_long_phrases_are_cut_keep_their_end_and_are_told(model):
    encoder = model.text_encoder(None)
    with notices_heard() as heard:
        phrases = model.tower.phrases(encoder.encode(['x' * 40, 'y']))
    assert 'longer than the 32 tokens of the text model' in ' '.join(heard)
    assert phrases.mask.sum(1).tolist() == [32, 3]
    ids = model._tokenizer(['x' * 40])
    assert int(ids[0, -1]) == TINY_SAM3['text_config']['eos_token_id']


def test_phrases_are_kept_on_disk(model, tmp_path, monkeypatch):
    first = model.text_encoder(tmp_path).encode(PHRASES)
    monkeypatch.setattr(type(model.tower), 'encode_text', lambda *_: pytest.fail('encoded again'))
    assert torch.equal(model.text_encoder(tmp_path).encode(PHRASES), first)


def test_pixels_are_squashed_and_normalised():
    image = torch.zeros(1, 3, 4, 8, dtype=torch.uint8)
    image[..., 4:] = 255
    found = square_pixels(image, 4)
    assert found.shape == (1, 3, 4, 4)
    assert found[0, 0, 0].tolist() == pytest.approx([-1, -0.75, 0.75, 1], abs=0.05)


def test_products_in_half_precision_are_near_and_positions_exact(loaded, pixels):
    import copy

    from ovseg.precision import set_precision

    exact, rough = (ConceptModel(copy.deepcopy(loaded)).eval() for _ in range(2))
    set_precision(rough, 'bfloat16')
    assert rough.tower.projection.weight.dtype == torch.float32
    wanted, found = exact.look(pixels), rough.look(pixels)
    assert torch.allclose(found.position.float(), wanted.position, atol=0.005)
    ours, theirs = heads(rough, pixels), heads(exact, pixels)
    assert torch.allclose(ours.presence.float(), theirs.presence, atol=0.1)


def test_hypernyms_that_cannot_be_looked_up_are_said():
    assert ContextSettings(hypernyms=1, table={'cat': ['feline', 'pet']}).hypernyms_of('cat') == [
        'feline'
    ]
    try:
        found = ContextSettings().hypernyms_of('cat')
    except UserError as error:
        assert 'ovseg[nouns]' in str(error) or 'nltk.downloader wordnet' in str(error)
    else:
        assert found == ['feline']
