"""Cases of the checks of encoders, made here, since the golden files are large."""

from __future__ import annotations

import pytest
import torch
from published_dinotxt import version_3
from torch.nn import functional as F

from ovseg.encoders import RADIOCompanion
from ovseg.encoders.companions import resize_to_patches
from ovseg.encoders.dinotxt import DINOTxtModel, DINOTxtSize
from ovseg.encoders.dinov3 import DINOv3Encoder, load_dinov3
from ovseg.encoders.radio_text import AdaptorHead
from parity import check_path
from parity.encoders.siglip import siglip_trunk

SIZES = {
    **{'hidden_size': 16, 'num_hidden_layers': 2, 'num_attention_heads': 2, 'patch_size': 4},
    **{'max_img_size': 32, 'num_cls_tokens': 2, 'num_registers': 1, 'summary_idxs': [1]},
    **{'mlp_ratio': 2.0, 'layer_scale': True},
}


def failed(folder, name, content):
    """Names of what is not in order in a golden file of the encoders."""
    (folder / 'encoders').mkdir(exist_ok=True)
    path = folder / 'encoders' / name
    torch.save(content, path)
    (report,) = check_path(path)
    assert report.lines
    return [line.name for line in report.lines if line.status != 'ok']


def published_radio(look):
    """Tensors of a companion's C-RADIO by NVIDIA's names; biases that these have not become 0."""
    vit = look.encoder.vit
    vit.patch_embed.proj.bias.zero_()
    names = {'ls1.gamma': 'ls1.grandma', 'ls2.gamma': 'ls2.grandma'}
    generator = 'radio_model.model.patch_generator'
    state = {
        'radio_model.summary_idxs': torch.tensor([1]),
        'radio_model.input_conditioner.norm_mean': look.encoder.mean[0],
        'radio_model.input_conditioner.norm_std': look.encoder.std[0],
        f'{generator}.pos_embed': vit.pos_embed,
        f'{generator}.cls_token.token': torch.cat([vit.cls_token[0], vit.reg_token[0]]),
        f'{generator}.embedder.weight': vit.patch_embed.proj.weight.flatten(1),
    }
    for name, value in vit.blocks.state_dict().items():
        end = '.'.join(name.split('.')[1:])
        published = name.replace(end, names.get(end, end))
        state[f'radio_model.model.blocks.{published}'] = value
    return state


@pytest.fixture(scope='module')
def radio():
    """A golden file of C-RADIO, computed step by step as its sheet says."""
    torch.manual_seed(0)
    model = {
        **{'img_size': 32, 'patch_size': 4, 'embed_dim': 16, 'depth': 2, 'num_heads': 2},
        **{'mlp_ratio': 2.0, 'reg_tokens': 2, 'init_values': 0.7},
    }
    look = RADIOCompanion(model, 'random')
    state = published_radio(look)
    inputs = {
        'square': torch.rand(2, 3, 16, 16),
        'wide': torch.rand(1, 3, 12, 24),
        'full': torch.rand(1, 3, 32, 32),
        'image_uint8': torch.randint(256, (19, 26, 3)).byte(),
    }
    pixels = inputs['image_uint8'].permute(2, 0, 1)[None].float() / 255
    seen = look(pixels)
    large = F.normalize(F.interpolate(seen, (18, 24), mode='bilinear'), dim=1)
    window = F.pad(large[..., 6:18, 0:12], (2, 2, 0, 0), mode='replicate')
    window = F.normalize(F.interpolate(window, (4, 4), mode='bilinear'), dim=1)
    expected = {
        'companion_input_size': torch.tensor(resize_to_patches(pixels, (4, 4)).shape[2:]),
        'companion_map': seen,
        'window0_similarity_features': window.flatten(2).transpose(1, 2),
    }
    for name in ('square', 'wide', 'full'):
        expected[f'{name}_features'] = look(inputs[name]).flatten(2).transpose(1, 2)
        expected[f'{name}_summary'] = look.encoder.all_tokens(inputs[name], 'tokens')[:, 1]
    # A window of 12 x 12 pixels at the lower left, filled up to 12 x 16.
    reading = {'network_size': [18, 24], 'clip_patch': 6, 'windows': [[6, 0, 18, 12]]}
    return {
        'meta': {},
        'config': {**SIZES, **reading, 'window_padding': [[2, 2, 0, 0]]},
        'state': state,
        'inputs': inputs,
        'expected': expected,
    }


def test_a_case_of_radio_agrees_and_a_changed_quantity_is_named(radio, tmp_path):
    assert failed(tmp_path, 'radio_v3.pt', radio) == []
    for name, value in radio['expected'].items():
        changed = {**radio['expected'], name: value + 1}
        wrong = failed(tmp_path, 'radio_v4.pt', {**radio, 'expected': changed})
        assert wrong == [f'expected.{name}']


def test_a_case_of_dinov3_agrees_and_a_changed_quantity_is_named(tmp_path):
    torch.manual_seed(1)
    sizes = {'patch_size': 4, 'embed_dim': 16, 'depth': 2, 'num_heads': 2, 'num_reg_tokens': 2}
    encoder = DINOv3Encoder(load_dinov3({**sizes, 'mlp_ratio': 2.0}, 'random'))
    names = {'gamma_1': 'ls1.gamma', 'gamma_2': 'ls2.gamma', 'reg_token': 'storage_tokens'}
    state = {'mask_token': torch.ones(1, 16)}
    for name, value in encoder.vit.state_dict().items():
        if not name.endswith(('q_bias', 'v_bias')):
            front, _, end = name.rpartition('.')
            state[f'{front}.{names.get(end, end)}'.lstrip('.')] = value
    for number in range(2):
        state[f'blocks.{number}.attn.qkv.bias'] = torch.zeros(48)
        state[f'blocks.{number}.attn.qkv.bias_mask'] = torch.ones(48)
    inputs = {'square': torch.randn(2, 3, 16, 16), 'wide': torch.randn(1, 3, 12, 24)}
    expected = {}
    for name, image in inputs.items():
        image = image * encoder.std + encoder.mean
        tokens = encoder.all_tokens(image, 'tokens')
        expected[f'{name}_cls'], expected[f'{name}_registers'] = tokens[:, 0], tokens[:, 1:3]
        expected[f'{name}_patch'] = tokens[:, 3:]
        parts = [encoder.all_tokens(image, part) for part in ('queries', 'keys', 'values')]
        expected[f'{name}_last_qkv'] = torch.cat(parts, 2)
    config = {
        **{'hidden_size': 16, 'intermediate_size': 32, 'num_hidden_layers': 2},
        **{'num_attention_heads': 2, 'num_register_tokens': 2, 'patch_size': 4},
        **{'use_gated_mlp': False, 'hidden_act': 'gelu', 'layer_norm_eps': 1e-5},
        'rope_theta': 100.0,
    }
    content = {'meta': {}, 'config': config, 'state': state, 'inputs': inputs}
    assert failed(tmp_path, 'dinov3_vit.pt', {**content, 'expected': expected}) == []
    for name in expected:
        changed = {**expected, name: expected[name] + 1}
        wrong = failed(tmp_path, 'dinov3_vit.pt', {**content, 'expected': changed})
        assert wrong == [f'expected.{name}']


@pytest.fixture(scope='module')
def siglip():
    """A golden file of SigLIP, computed by timm: the head is run on one token at a time."""
    torch.manual_seed(0)
    config = {
        **{'hidden_size': 16, 'num_hidden_layers': 2, 'num_attention_heads': 2, 'patch_size': 8},
        **{'image_size': 24, 'intermediate_size': 40, 'hidden_act': 'gelu_pytorch_tanh'},
        'layer_norm_eps': 1e-6,
    }
    trunk, image = siglip_trunk(config).eval(), torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        state = {f'visual.trunk.{name}': value for name, value in trunk.state_dict().items()}
        expected = {'features': trunk.forward_features(image), 'pooled': trunk(image)}
        attn = trunk.blocks[-1].attn
        attn.forward = lambda x, **_: attn.proj(attn.qkv(x).chunk(3, dim=-1)[2])
        expected['features_value'] = trunk.forward_features(image)
        for dense, tokens in (('dense_plain', 'features'), ('dense_value', 'features_value')):
            alone = expected[tokens].flatten(0, 1)[:, None]
            expected[dense] = trunk.attn_pool(alone).unflatten(0, (2, 9))
    parts = {'meta': {}, 'config': config, 'inputs': {'image': image}}
    return {**parts, 'state': state, 'expected': expected}


def test_a_case_of_siglip_agrees_and_a_changed_quantity_is_named(siglip, tmp_path):
    assert failed(tmp_path, 'siglip_map.pt', siglip) == []
    for name, value in siglip['expected'].items():
        changed = {**siglip['expected'], name: value + 1}
        wrong = failed(tmp_path, 'siglip_map.pt', {**siglip, 'expected': changed})
        assert wrong == [f'expected.{name}']


def shaken(model):
    """The model with weights that no initialisation left at 0 or 1."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def slid(image, window, stride, predict):
    """The mean of what windows of an image say, the last of a row moved back to the border."""
    total, count = 0, torch.zeros(image.shape[-2:])
    starts = [
        [min(start, side - window) for start in range(0, side - window + stride, stride)]
        for side in image.shape[-2:]
    ]
    for top in starts[0]:
        for left in starts[1]:
            place = (..., slice(top, top + window), slice(left, left + window))
            said = predict(image[place])
            total = torch.zeros(*said.shape[:2], *image.shape[-2:]) + total
            total[place] += said
            count[place] += 1
    return total / count


@pytest.fixture(scope='module')
@torch.no_grad()
def dinotxt():
    """A golden file of dino.txt over DINOv3, computed step by step as its sheet says."""
    torch.manual_seed(3)
    backbone = {'patch_size': 4, 'embed_dim': 16, 'depth': 2, 'num_heads': 2, 'num_reg_tokens': 3}
    size = DINOTxtSize(
        **{'backbone': {**backbone, 'mlp_ratio': 2.0}, 'head_blocks': 2, 'text_width': 8},
        **{'text_layers': 1, 'text_heads': 2, 'context_length': 9, 'vocabulary': 60},
    )
    model = shaken(DINOTxtModel(size, 'head'))
    for block in model.text.transformer.resblocks:
        block.attn.in_proj_bias.zero_()  # there is none in the files
    vit, head = model.visual.backbone, model.visual.head

    def tokens_of(image):
        """Tokens of the backbone and of the head, each behind its norm."""
        inner = tokens = vit.forward_features(image)
        for block in head.blocks:
            tokens = block(tokens)
        return inner, head.norm(tokens)

    def patches_of(image, which):
        sides = [-(-side // 4) * 4 for side in image.shape[2:]]
        stretched = (
            F.interpolate(image, sides, mode='bicubic') if sides != [*image.shape[2:]] else image
        )
        patches = tokens_of(stretched)[which][:, 4:]
        return patches.unflatten(1, (sides[0] // 4, sides[1] // 4))

    ids = torch.randint(1, 58, (4, 3, 9))
    ids[..., 0] = 58
    ids[..., -2], ids[..., -1] = 59, 0
    raw = torch.stack([model.text(sentences) for sentences in ids])
    rows = F.normalize(F.normalize(raw[..., 16:], dim=-1).mean(1), dim=-1)
    inputs = {
        **{'image': torch.randn(2, 3, 16, 16), 'odd': torch.randn(1, 3, 15, 22)},
        **{'slide': torch.randn(3, 20, 26), 'token_ids': ids},
    }
    expected = {'text_raw': raw, 'text_rows': rows}
    for which, before in ((0, 'backbone_'), (1, '')):
        for name, key in (('image', 'patch'), ('odd', 'odd_patch')):
            place = f'odd_{before}patch' if name == 'odd' else f'{before}{key}'
            expected[place] = patches_of(inputs[name], which)

        def shares(window, which=which):
            cosines = F.normalize(patches_of(window, which), dim=-1) @ rows.T
            larger = F.interpolate(cosines.movedim(-1, 1), (16, 16), mode='bilinear')
            return larger.softmax(1)

        found = slid(inputs['slide'][None], 16, 8, shares)
        expected[f'{"" if which else "notebook_"}slide_probability'] = found[0]
    tokens = tokens_of(inputs['image'])[1]
    expected['global_embedding'] = torch.cat([tokens[:, 0], tokens[:, 4:].mean(1)], 1)
    larger = F.interpolate(expected['slide_probability'][None], (31, 40), mode='bilinear')
    expected['label'] = larger.argmax(1)[0]
    sizes = {
        **{'hidden_size': 16, 'intermediate_size': 32, 'num_hidden_layers': 2},
        **{'num_attention_heads': 2, 'num_register_tokens': 3, 'patch_size': 4},
        **{'layer_norm_eps': 1e-5, 'rope_theta': 100.0},
    }
    text = {'dim': 8, 'num_layers': 1, 'num_heads': 2, 'context_length': 9, 'vocab_size': 60}
    config = {'backbone': sizes, 'head_blocks': 2, 'text': text, 'embed_dim': 32}
    config |= {'window': 16, 'stride': 8, 'target': [31, 40]}
    parts = {'meta': {}, 'config': config, 'state': version_3(model), 'inputs': inputs}
    return {**parts, 'expected': expected}


def radseg_block(block, tokens, sharpness):
    """A block whose tokens see each other as far as their plain outputs agree."""
    attn = block.attn
    query, key, value = (
        part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
        for part in attn.qkv(block.norm1(tokens)).chunk(3, dim=-1)
    )

    def output(mixed):
        return attn.proj(mixed.transpose(1, 2).flatten(2))

    plain = F.scaled_dot_product_attention(query, key, value)
    own = output(plain).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
    own = F.normalize(own, dim=-1)
    similar = sharpness * own @ own.transpose(-1, -2)
    seen = similar.masked_fill(similar < 0, -torch.inf).softmax(-1)
    tokens = tokens + block.ls1(output(seen @ value))
    return tokens + block.ls2(block.mlp(block.norm2(tokens)))


@pytest.fixture(scope='module')
@torch.no_grad()
def radseg():
    """A golden file of RADSeg, computed step by step as its sheet says."""
    torch.manual_seed(4)
    model = {
        **{'img_size': 32, 'patch_size': 4, 'embed_dim': 16, 'depth': 2, 'num_heads': 2},
        **{'mlp_ratio': 2.0, 'reg_tokens': 2, 'init_values': 0.7},
    }
    look = RADIOCompanion(model, 'random')
    vit, head = shaken(look.encoder.vit), shaken(AdaptorHead(16, 20, 12))
    state = published_radio(look)
    state |= {f'head_mlp.{name}': value for name, value in head.state_dict().items()}
    inputs = {'image': torch.rand(1, 3, 13, 26), 'text_raw': torch.randn(3, 80, 12)}
    # 26 goes up to 36, a multiple of the stride; 13 in proportion to 18, and up to 24.
    network = F.interpolate(inputs['image'], (24, 36), mode='bilinear')
    places = [(top, left) for top in (0, 8) for left in (0, 12, 20)]
    pixels = (network - look.encoder.mean) / look.encoder.std
    windows = torch.cat([pixels[..., y : y + 16, x : x + 16] for y, x in places])
    table = vit.pos_embed.unflatten(1, (8, 8)).movedim(-1, 1)
    table = F.interpolate(table, (4, 4), mode='bilinear').flatten(2).transpose(1, 2)
    prefix = torch.cat([vit.cls_token, vit.reg_token], 1).expand(6, -1, -1)
    tokens = torch.cat(
        [prefix, vit.patch_embed.proj(windows).flatten(2).transpose(1, 2) + table], 1
    )
    before = vit.blocks[0](tokens)
    after = radseg_block(vit.blocks[1], before, 10.0)
    maps = after[:, 3:].transpose(1, 2).unflatten(2, (4, 4))
    canvas, count = torch.zeros(1, 16, 6, 9), torch.zeros(6, 9)
    for (top, left), part in zip(places, maps, strict=True):
        canvas[..., top // 4 : top // 4 + 4, left // 4 : left // 4 + 4] += part
        count[top // 4 : top // 4 + 4, left // 4 : left // 4 + 4] += 1
    spliced = canvas / count
    flat = spliced.flatten(2)[0].T
    unit = F.normalize(flat, dim=-1)
    similar = unit @ unit.T
    similar = 10.0 * (similar - similar.mean())
    seen = similar.masked_fill(similar < 0, -torch.inf).softmax(-1)
    aggregated = (seen @ flat).T.unflatten(1, (6, 9))[None]
    patches = head(aggregated.movedim(1, -1))
    rows = F.normalize(inputs['text_raw'], dim=-1).mean(1)
    shares = (100 * F.normalize(patches, dim=-1) @ F.normalize(rows, dim=-1).T).softmax(-1)
    probability = shares.movedim(-1, 1)
    large = F.interpolate(probability, (15, 31), mode='bilinear')
    denoised = large * (large.amax((2, 3), keepdim=True) >= 0.5)
    expected = {
        'text_rows': rows,
        'network_size': torch.tensor([24, 36]),
        'network_image_corner': network[..., :24, :24],
        'window_boxes': torch.tensor([[y, x, y + 16, x + 16] for y, x in places]) // 4,
        'tokens_before_last_block': before[:1],
        'tokens_after_last_block': after[:1],
        'window_features': maps[:2],
        **{'spliced': spliced, 'aggregated': aggregated, 'text_space': patches.movedim(-1, 1)},
        **{'probability': probability, 'denoised_probability': denoised},
        'label': denoised.argmax(1, keepdim=True),
    }
    config = {
        **{**SIZES, 'num_cls_tokens': 2, 'num_registers': 1},
        'head_mlp': {'input': 16, 'hidden': 20, 'output': 12, 'num_inner': 1},
        **{'scra_scaling': 10.0, 'scga_scaling': 10.0, 'crop': 16, 'stride': 12},
        **{'original_size': [15, 31], 'prompt_denoising_thresh': 0.5, 'logit_scale': 100.0},
    }
    parts = {'meta': {}, 'config': config, 'state': state, 'inputs': inputs}
    return {**parts, 'expected': expected}


@pytest.mark.parametrize('case', ['dinotxt_v3.pt', 'radseg.pt'])
def test_a_case_of_a_method_agrees_and_changed_quantities_are_named(case, request, tmp_path):
    content = request.getfixturevalue(case.split('_')[0].removesuffix('.pt'))
    assert failed(tmp_path, case, content) == []
    changed = {name: value + 1 for name, value in content['expected'].items()}
    wrong = failed(tmp_path, case, {**content, 'expected': changed})
    assert sorted(wrong) == sorted(f'expected.{name}' for name in changed)
