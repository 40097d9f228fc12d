from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from ovseg.encoders import (
    CLIPResNet,
    CLIPResNetWithAttention,
    CLIPVisionTransformer,
    ContextTextEncoder,
    load_clip,
)
from ovseg.encoders import clip_initialisation as initialisation
from ovseg.encoders.clip_initialisation import clip_state, resize_table
from ovseg.errors import UserError

EMBEDDED = dict(model='tiny_clip_scenes', pretrained='embedded')
TINY_VIT = dict(
    patch_size=8,
    width=128,
    layers=3,
    heads=4,
    output_dim=128,
    out_indices=(0, 1, 2, 2),
    activation='gelu',
)
TINY_TEXT = dict(transformer_width=96, transformer_heads=4, transformer_layers=2, embed_dim=128)
RESNET = dict(layers=(1, 1, 1, 1), width=8)
TEXT = dict(vocab_size=20, transformer_width=16, transformer_heads=2, transformer_layers=1)


@pytest.fixture(autouse=True)
def _nothing_kept():
    initialisation._kept.clear()
    yield
    initialisation._kept.clear()


class _Archive(nn.Module):
    """What OpenAI's archives look like: half precision, scalars beside the weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.visual = CLIPResNetWithAttention(**RESNET, output_dim=12, input_resolution=224)
        text = ContextTextEncoder(77, **TEXT, embed_dim=12)
        self.transformer, self.token_embedding = text.transformer, text.token_embedding
        self.ln_final = text.ln_final
        self.positional_embedding = text.positional_embedding
        self.text_projection = text.text_projection
        self.logit_scale = nn.Parameter(torch.ones([]))
        for name, value in (('input_resolution', 224), ('context_length', 77), ('vocab_size', 20)):
            self.register_buffer(name, torch.tensor(value))
        for parameter in self.parameters():
            parameter.requires_grad_(False)
        nn.init.normal_(self.visual.attnpool.positional_embedding)


def archive_of(state):
    """A module whose state is the given one, for a TorchScript file."""

    class Holder(nn.Module):
        def forward(self, value: torch.Tensor) -> torch.Tensor:
            return value

    root = Holder()
    for name, value in state.items():
        module, (*path, last) = root, name.split('.')
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        module.register_buffer(last, value)
    return torch.jit.script(root)


@pytest.fixture(scope='module')
def state():
    content = _Archive().state_dict()
    return {k: v.half() if v.is_floating_point() else v for k, v in content.items()}


@pytest.fixture(params=['torchscript', 'safetensors', 'torch'])
def file(request, state, tmp_path):
    path = tmp_path / f'clip.{"safetensors" if request.param == "safetensors" else "pt"}'
    if request.param == 'torchscript':
        archive_of(state).save(str(path))
    elif request.param == 'safetensors':
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    else:
        torch.save(state, path)
    return path


@pytest.fixture
def saved(state, tmp_path):
    """A function: the archive's weights with changes, in a file."""

    def save(changes=None, without=()):
        path = tmp_path / 'changed.pt'
        kept = {name: value for name, value in state.items() if not name.startswith(without or '-')}
        torch.save({**kept, **(changes or {})}, path)
        return str(path)

    return save


def stretched(table, side):
    old = round((len(table) - 1) ** 0.5)
    planes = table[1:].T.reshape(1, -1, old, old)
    planes = F.interpolate(planes, (side, side), mode='bilinear', align_corners=False)
    return torch.cat([table[:1], planes[0].flatten(1).T])


def test_every_kind_of_file_fills_both_towers(file, state):
    backbone = CLIPResNetWithAttention(
        **RESNET, output_dim=12, input_resolution=512, pretrained=str(file)
    )
    text = ContextTextEncoder(13, **TEXT, embed_dim=12, pretrained=str(file))
    for module in (backbone, text):
        module.init_weights()
    for name, value in backbone.state_dict().items():
        if name != 'attnpool.positional_embedding':
            assert torch.equal(value, state[f'visual.{name}'].to(value.dtype)), name
    table = state['visual.attnpool.positional_embedding'].float()
    torch.testing.assert_close(backbone.attnpool.positional_embedding.data, stretched(table, 16))
    for name, value in text.state_dict().items():
        wanted = state[name][:13] if name == 'positional_embedding' else state[name]
        assert torch.equal(value, wanted.float()), name
    assert {value.dtype for value in text.parameters()} == {torch.float32}


def test_the_plain_network_leaves_the_pool_of_the_archive_out(saved, state):
    backbone = CLIPResNet(**RESNET, pretrained=saved())
    backbone.init_weights()
    assert torch.equal(
        backbone.layer4[0].conv3.weight, state['visual.layer4.0.conv3.weight'].float()
    )


def test_archives_without_counters_of_batch_norm_load(saved, state):
    counters = tuple(name for name in state if name.endswith('num_batches_tracked'))
    backbone = CLIPResNetWithAttention(**RESNET, output_dim=12, pretrained=saved(without=counters))
    backbone.init_weights()
    assert torch.equal(backbone.bn1.weight, state['visual.bn1.weight'].float())


@torch.no_grad()
def test_the_embedded_tiny_clip_fills_the_trained_vit():
    clip = load_clip(**EMBEDDED).model
    torch.manual_seed(0)
    backbone = CLIPVisionTransformer(
        **TINY_VIT, input_resolution=192, get_embeddings=True, pretrained=EMBEDDED
    )
    pyramid = {k: v.clone() for k, v in backbone.state_dict().items() if k.startswith('fpn')}
    backbone.init_weights()
    own, theirs = backbone.state_dict(), clip.visual.state_dict()
    for name, value in own.items():
        if name in pyramid:
            assert torch.equal(value, pyramid[name])  # CLIP has none: they keep their start
        elif name == 'positional_embedding':
            torch.testing.assert_close(value, stretched(theirs[name].float(), 24))
        else:
            assert torch.equal(value, theirs[name].float()), name
    # With CLIP's own sum of the class token; this CLIP averages its patches.
    side = clip.visual.image_size[0]
    same = CLIPVisionTransformer(
        **TINY_VIT,
        input_resolution=side,
        get_embeddings=True,
        class_embedding_twice=False,
        pretrained=EMBEDDED,
    ).eval()
    same.init_weights()
    image = torch.randn(2, 3, side, side)
    found = same(image).dense_embedding.mean((2, 3))
    torch.testing.assert_close(found, clip.encode_image(image), rtol=1e-4, atol=1e-4)


def test_without_embeddings_the_projection_of_clip_is_left_out():
    backbone = CLIPVisionTransformer(**TINY_VIT, input_resolution=64, pretrained=EMBEDDED)
    backbone.init_weights()
    theirs = load_clip(**EMBEDDED).model.visual
    assert torch.equal(backbone.conv1.weight, theirs.conv1.weight.float())
    assert backbone.proj is None


def test_the_embedded_tiny_clip_fills_the_text_encoder():
    text = ContextTextEncoder(13, **TINY_TEXT, activation='gelu', pretrained=EMBEDDED)
    text.init_weights()
    theirs = load_clip(**EMBEDDED).model.state_dict()
    for name, value in text.state_dict().items():
        wanted = theirs[name][:13] if name == 'positional_embedding' else theirs[name]
        assert torch.equal(value, wanted.float()), name


@pytest.mark.parametrize(
    ('settings', 'named'),
    [
        (dict(width=4), r'of another shape \(conv1.weight is \(4, 3, 3, 3\), wanted \(2, 3'),
        (dict(layers=(1, 1, 2, 1)), r'missing \(layer3.1.'),
        (dict(output_dim=6), r'2 of another shape \(attnpool.c_proj.weight is \(12, 256\)'),
    ],
)
def test_weights_that_do_not_fit_are_named_and_nothing_is_loaded(saved, settings, named):
    settings = {**RESNET, 'output_dim': 12, 'heads': 4, **settings}
    backbone = CLIPResNetWithAttention(**settings, pretrained=saved())
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(UserError, match=named) as caught:
        backbone.init_weights()
    assert 'check its layers, width and output_dim' in str(caught.value)
    after = backbone.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_missing_weight_never_stays_random(saved):
    path = saved(without=('visual.layer2.0.conv1', 'visual.attnpool.k_proj.bias'))
    backbone = CLIPResNetWithAttention(**RESNET, output_dim=12, pretrained=path)
    with pytest.raises(UserError, match=r'2 missing \(layer2.0.conv1.weight, attnpool.k_proj.bias'):
        backbone.init_weights()
    text = ContextTextEncoder(
        13, **TEXT, embed_dim=12, pretrained=saved(without=('ln_final.bias',))
    )
    with pytest.raises(UserError, match=r'ContextTextEncoder: 1 missing \(ln_final.bias\)'):
        text.init_weights()


def test_an_unknown_weight_of_the_vision_tower_is_not_dropped(saved):
    path = saved({'visual.layer5.weight': torch.ones(2)})
    with pytest.raises(UserError, match=r'1 unexpected \(layer5.weight\)'):
        CLIPResNetWithAttention(**RESNET, output_dim=12, pretrained=path).init_weights()


def test_a_vit_in_the_place_of_a_resnet_is_refused():
    with pytest.raises(UserError, match='does not fit this CLIPResNet: .* missing'):
        CLIPResNet(**RESNET, pretrained=EMBEDDED).init_weights()


def test_other_files_and_arguments_are_refused(saved, tmp_path):
    torch.save({'backbone.conv1.weight': torch.ones(1)}, tmp_path / 'trained.pth')
    with pytest.raises(UserError, match='a trained model belongs into load_from'):
        clip_state(tmp_path / 'trained.pth')
    with pytest.raises(FileNotFoundError, match='nowhere.pt'):
        clip_state(tmp_path / 'nowhere.pt')
    with pytest.raises(UserError, match='are not arguments of load_clip'):
        clip_state(dict(model='tiny_clip_scenes', pretrained='embedded', colour='red'))
    with pytest.raises(UserError, match='context_length=99 is more than the 77 positions'):
        ContextTextEncoder(99, **TEXT, embed_dim=12, pretrained=saved()).init_weights()
    with pytest.raises(UserError, match="have no 'text_projection'"):
        path = saved(without=('text_projection',))
        ContextTextEncoder(13, **TEXT, embed_dim=12, pretrained=path).init_weights()


def test_a_position_table_that_is_no_square_is_refused():
    with pytest.raises(UserError, match='7 rows is not one token and a square'):
        resize_table(torch.zeros(7, 2), 4)


def test_without_pretrained_nothing_is_loaded():
    for module in (
        CLIPResNet(**RESNET),
        CLIPResNetWithAttention(**RESNET),
        CLIPVisionTransformer(**TINY_VIT),
        ContextTextEncoder(13, **TEXT),
    ):
        before = {name: value.clone() for name, value in module.state_dict().items()}
        module.init_weights()
        after = module.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())


def test_both_towers_read_a_file_once_and_it_is_not_held_longer(saved, monkeypatch):
    path, reads = saved(), []
    read = initialisation.read_state_dict
    monkeypatch.setattr(
        initialisation, 'read_state_dict', lambda name: reads.append(name) or read(name)
    )
    CLIPResNetWithAttention(**RESNET, output_dim=12, pretrained=path).init_weights()
    assert initialisation._kept
    ContextTextEncoder(13, **TEXT, embed_dim=12, pretrained=path).init_weights()
    assert len(reads) == 1 and not initialisation._kept
    CLIPResNet(**RESNET, pretrained=path).init_weights()
    assert len(reads) == 2 and not initialisation._kept


def test_a_file_that_was_written_anew_is_read_anew(saved, state):
    first = clip_state(saved())
    second = clip_state(saved({'visual.extra': torch.ones(1)}))
    assert 'visual.extra' in second and 'visual.extra' not in first
