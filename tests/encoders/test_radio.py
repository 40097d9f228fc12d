from __future__ import annotations

import pytest
import torch
from fake_hub import ask_at, running_hub
from safetensors.torch import save_file
from tiny_companions import randomised
from torch.nn import functional as F

from ovseg import downloads
from ovseg.encoders import RADIOCompanion
from ovseg.encoders.companions import resize_to_patches
from ovseg.encoders.radio import (
    PUBLISHED,
    RADIOEncoder,
    build_radio,
    from_published,
    load_radio,
)
from ovseg.errors import UserError

TINY = {
    **{'img_size': 32, 'patch_size': 4, 'embed_dim': 16, 'depth': 2, 'num_heads': 2},
    **{'reg_tokens': 7, 'init_values': 1.0},
}
KINDS = ('weight', 'bias')
GRIDS = [(8, 8), (5, 3), (2, 11)]


def published(width=16, depth=2, patch=4, side=32, prefix=8, hidden=64, scale=True):
    """Names and shapes of a file of NVIDIA's, written down from its sizes."""
    block = {
        **{
            f'{part}.{kind}': (width,) for part in ('norm1', 'norm2') for kind in ('weight', 'bias')
        },
        **{'attn.qkv.weight': (3 * width, width), 'attn.qkv.bias': (3 * width,)},
        **{'attn.proj.weight': (width, width), 'attn.proj.bias': (width,)},
        **{'mlp.fc1.weight': (hidden, width), 'mlp.fc1.bias': (hidden,)},
        **{'mlp.fc2.weight': (width, hidden), 'mlp.fc2.bias': (width,)},
        **({'ls1.grandma': (width,), 'ls2.grandma': (width,)} if scale else {}),
    }
    shapes = {
        'model.patch_generator.embedder.weight': (width, 3 * patch**2),
        'model.patch_generator.pos_embed': (1, (side // patch) ** 2, width),
        'model.patch_generator.cls_token.token': (prefix, width),
        'input_conditioner.norm_mean': (3, 1, 1),
        'input_conditioner.norm_std': (3, 1, 1),
        **{
            f'model.blocks.{i}.{name}': shape for i in range(depth) for name, shape in block.items()
        },
    }
    state = {f'radio_model.{name}': torch.rand(shape) + 0.1 for name, shape in shapes.items()}
    return {**state, 'radio_model.summary_idxs': torch.tensor([0, 2])}


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_published_files_fit(name):
    row = PUBLISHED[name]
    width, depth, _ = row.size
    hidden = {'c-radio_v4-so400m': 4304}.get(name, 4 * width)
    scale = name in ('c-radio_v3-b', 'c-radio_v3-l')
    prefix = 8 if '_v3' in name else 10
    with torch.device('meta'):
        vit = build_radio(name)
        state = published(width, depth, 16, 2048, prefix, hidden, scale)
        state = from_published(state)
        for extra in ('mean', 'std', 'summary'):
            del state[extra]
        vit.load_state_dict(state, strict=True, assign=True)
    # As published, in millions.
    sizes = {'v3-b': 98, 'v3-l': 320, 'v3-h': 652, 'v3-g': 1160, 'v4-so400m': 431, 'v4-h': 652}
    millions = sum(value.numel() for value in vit.parameters()) / 1e6
    assert millions == pytest.approx(sizes[name.removeprefix('c-radio_')], rel=0.01)


def features_of(encoder, grids=GRIDS, patch=4):
    generator = torch.Generator().manual_seed(1)
    for rows, columns in grids:
        image = torch.rand(2, 3, rows * patch, columns * patch, generator=generator)
        yield image, encoder(image, 'tokens').flatten(2).transpose(1, 2)


@pytest.mark.parametrize('align_corners', [False, True])
def test_a_file_of_timms_gives_what_timms_own_model_gives_on_any_grid(align_corners, tmp_path):
    naflexvit = pytest.importorskip('timm.models.naflexvit')
    if 'pos_embed_align_corners' not in naflexvit.NaFlexVitCfg.__dataclass_fields__:
        pytest.skip('this timm has no C-RADIO')
    cfg = naflexvit._radio_vit_cfg(
        embed_dim=16,
        depth=2,
        num_heads=2,
        init_values=1e-5,
        reg_tokens=7,
        pos_embed_align_corners=align_corners,
    )
    cfg.pos_embed_grid_size, cfg.patch_size = (8, 8), 4
    timms = randomised(naflexvit.NaFlexVit(cfg, num_classes=0).eval())
    save_file(timms.state_dict(), tmp_path / 'model.safetensors')
    encoder = RADIOEncoder(load_radio(TINY, tmp_path, align_corners))
    for image, found in features_of(encoder):
        wanted = timms.forward_features((image - encoder.mean) / encoder.std)
        assert torch.allclose(found, wanted[:, 8:], atol=1e-5 * wanted.abs().max().item())
        assert torch.allclose(encoder.all_tokens(image, 'tokens')[:, :8], wanted[:, :8], atol=1e-5)


@pytest.mark.parametrize('scale', [False, True])
def test_a_file_of_nvidias_gives_what_transformers_gives_where_it_loads_whole(scale, tmp_path):
    transformers = pytest.importorskip('transformers')
    if not hasattr(transformers, 'RadioModel'):
        pytest.skip('this transformers has no C-RADIO')
    state = published(scale=scale)
    save_file(state, tmp_path / 'model.safetensors')
    config = transformers.RadioConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=4,
        max_img_size=32,
        num_cls_tokens=4,
        num_registers=4,
        summary_idxs=[0, 2],
        mlp_ratio=4.0,
    )
    theirs = transformers.RadioModel.from_pretrained(tmp_path, config=config).eval()
    with torch.no_grad():  # what it leaves at 1 where a file has layer scales
        for number, layer in enumerate(theirs.encoder.layer):
            for part in (1, 2) if scale else ():
                value = state[f'radio_model.model.blocks.{number}.ls{part}.grandma']
                getattr(layer, f'layer_scale{part}').lambda1.copy_(value)
    model = {**TINY, 'init_values': 1.0 if scale else None}
    encoder = RADIOEncoder(load_radio(model, tmp_path / 'model.safetensors'))
    for image, found in features_of(encoder):
        with torch.no_grad():
            wanted = theirs(image)
        error = (found - wanted.features).abs().max() / wanted.features.abs().max()
        assert error < 1e-5
        summary = encoder.all_tokens(image, 'tokens')[:, list(encoder.summary_tokens)].flatten(1)
        assert torch.allclose(summary, wanted.summary, rtol=1e-4, atol=1e-4)


def test_pixel_statistics_are_those_of_the_file(tmp_path):
    state = published()
    save_file(state, tmp_path / 'radio.safetensors')
    encoder = RADIOEncoder(load_radio(TINY, tmp_path / 'radio.safetensors'))
    assert torch.equal(encoder.mean[0], state['radio_model.input_conditioner.norm_mean'])
    assert torch.equal(encoder.std[0], state['radio_model.input_conditioner.norm_std'])


BLOCK = 'radio_model.model.blocks.1'


@pytest.mark.parametrize(
    ('model', 'change', 'message'),
    [
        ({**TINY, 'init_values': None}, {}, r'4 unexpected \(blocks\.0\.ls1\.gamma'),
        (TINY, {f'{BLOCK}.ls1.grandma': None}, r'1 missing \(blocks\.1\.ls1\.gamma\)'),
        (TINY, {f'{BLOCK}.ls1.grandpa': torch.ones(16)}, r'1 unexpected \(blocks\.1\.ls1\.grandpa'),
        (
            TINY,
            {'radio_model.model.patch_generator.video_embedder.weight': torch.ones(16, 96)},
            r'1 unexpected \(radio_model\.model\.patch_generator\.video_embedder',
        ),
        ({**TINY, 'reg_tokens': 9}, {}, r'reg_token is \(1, 7, 16\), wanted \(1, 9, 16\)'),
        ({**TINY, 'img_size': 64}, {}, r'pos_embed is \(1, 64, 16\), wanted \(1, 256, 16\)'),
        ({**TINY, 'embed_dim': 32}, {}, 'of another shape'),
    ],
)
def test_a_file_of_another_model_is_refused_and_nothing_of_it_is_left_out(
    model, change, message, tmp_path
):
    state = {**published(), **change}
    state = {name: value for name, value in state.items() if value is not None}
    save_file(state, tmp_path / 'radio.safetensors')
    with pytest.raises(UserError, match=message):
        load_radio(model, tmp_path / 'radio.safetensors')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('c-radio_v3-xl', 'random'), r'radio\.model must be one of .*Did you mean'),
        ((TINY,), "radio.pretrained must name a file, or 'random'"),
        (({**TINY, 'wings': 2}, 'random'), "radio.model does not fit timm's VisionTransformer"),
        (({**TINY, 'num_heads': 3}, 'random'), "radio.model does not fit timm's VisionTransformer"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, message):
    with pytest.raises(UserError, match=message):
        load_radio(*arguments)


def test_a_folder_without_weights_and_a_missing_file_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r'is a folder without model\.safetensors'):
        load_radio(TINY, tmp_path)
    with pytest.raises(FileNotFoundError, match='does not exist'):
        load_radio(TINY, tmp_path / 'radio.safetensors')


def test_a_repository_of_the_hub_is_fetched_or_named(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads.huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    save_file(published(), tmp_path / 'file')
    with running_hub() as hub:
        ask_at(hub.address, monkeypatch)
        monkeypatch.setattr(downloads, 'reaches_hub', lambda: True)
        hub.files['some/radio'] = {'model.safetensors': (tmp_path / 'file').read_bytes()}
        hub.files['some/empty'] = {}
        hub.gated.add('some/gated')
        assert load_radio(TINY, 'hf-hub:some/radio').weights == 'radio'
        with pytest.raises(UserError, match=r'of some/gated .* accepted its licence.*companion\.'):
            load_radio(TINY, 'hf-hub:some/gated')
        for name in ('empty', 'nothing'):
            with pytest.raises(FileNotFoundError, match=f'no model.safetensors of some/{name}'):
                load_radio(TINY, f'hf-hub:some/{name}')
    monkeypatch.setattr(downloads, 'reaches_hub', lambda: False)
    with pytest.raises(UserError, match=r'of nvidia/C-RADIOv3-B .* could not be fetched'):
        load_radio('c-radio_v3-b')


def test_sides_become_the_nearest_number_of_patches(tmp_path):
    look = RADIOCompanion(TINY, 'random')
    image = torch.rand(1, 3, 7, 22)  # 5.5 columns: to the even number
    resized = F.interpolate(image, size=(8, 24), mode='bilinear')
    assert torch.equal(look(image), look(resized)) and look(image).shape[2:] == (2, 6)
    assert resize_to_patches(resized, look.stride) is resized
    finer = RADIOCompanion(TINY, 'random', scale=2)
    assert finer(image).shape[2:] == (4, 11)
