"""dino.txt: both readings, the two files of version 2, and what does not fit."""

from __future__ import annotations

import pytest
import torch
from published_dinotxt import published, write_version_2
from timm.models.vision_transformer import Block
from tiny_companions import randomised
from torch import nn

from ovseg.affinity.last_block import PLAIN_BLOCK, finish_block, project_values, run_block
from ovseg.affinity.opened_blocks import BlockBehindNorm
from ovseg.encoders import build_dense_encoder, build_vision_language, load_dinotxt
from ovseg.errors import UserError

VIT = {
    **{'img_size': 32, 'patch_size': 4, 'embed_dim': 16, 'depth': 2, 'num_heads': 2},
    'reg_tokens': 2,
}
EVA = {
    **{'patch_size': 4, 'embed_dim': 16, 'depth': 2, 'num_heads': 2, 'num_reg_tokens': 2},
}
SIZE = {'backbone': VIT, 'text_width': 8, 'text_layers': 1, 'text_heads': 2, 'context_length': 12}
KINDS = {'version 2': SIZE, 'version 3': {**SIZE, 'backbone': EVA}}


@pytest.fixture(scope='module', params=KINDS)
def loaded(request):
    """A tiny dino.txt whose weights differ from place to place."""
    torch.manual_seed(0)
    found = load_dinotxt(KINDS[request.param], 'random')
    randomised(found.model)
    return found


def test_a_block_behind_a_norm_is_opened_as_it_runs():
    torch.manual_seed(1)
    norm, inner = nn.LayerNorm(8), Block(8, 2, init_values=0.5)
    block, tokens = randomised(BlockBehindNorm(norm, inner)), torch.randn(2, 5, 8)
    with torch.no_grad():
        rebuilt = run_block(block, tokens, PLAIN_BLOCK).tokens
        assert torch.allclose(rebuilt, block(tokens), atol=1e-5)
        values = project_values(block, tokens)
        assert torch.equal(values, project_values(inner, norm(tokens)))
        finished = finish_block(block, values, tokens, True)[0]
        assert torch.equal(finished, finish_block(inner, values, norm(tokens), True)[0])


@torch.inference_mode()
def test_the_head_reads_all_tokens_of_the_backbone(loaded):
    visual = loaded.model.visual
    image = torch.randn(2, 3, 32, 32)
    backbone = visual.backbone.forward_features(image)
    tokens = backbone
    for block in visual.head.blocks:
        tokens = block(tokens)
    wanted = visual.head.norm(tokens)
    encoder = build_dense_encoder(visual, last_block='vanilla')
    found = encoder(image, frozenset({'embedding'}))
    patches = found.patch.flatten(2).transpose(1, 2)
    assert torch.allclose(patches, wanted[:, 3:], atol=1e-4)
    assert torch.allclose(found.embedding, wanted[:, 3:].mean(1), atol=1e-4)
    visual.reading = 'backbone'
    other = build_dense_encoder(visual, last_block='vanilla')(image).patch
    visual.reading = 'head'
    assert torch.allclose(other.flatten(2).transpose(1, 2), backbone[:, 3:], atol=1e-4)


def same(first, second):
    image, words = torch.randn(1, 3, 20, 12), torch.randint(1, 400, (2, 12))
    encoders = [build_dense_encoder(each.model.visual, None) for each in (first, second)]
    maps = [encoder(image).patch for encoder in encoders]
    rows = [each.model.encode_text(words) for each in (first, second)]
    return torch.equal(*maps) and torch.equal(*rows)


@torch.no_grad()
def test_the_files_of_both_versions_are_read(tmp_path):
    for kind, size in KINDS.items():
        given = load_dinotxt(size, 'random')
        randomised(given.model)
        for block in given.model.text.transformer.resblocks:
            block.attn.in_proj_bias.zero_()  # there is none in the files
        if kind == 'version 2':
            files = write_version_2(given.model, tmp_path)
        else:
            head, text = published(given.model)
            both = {f'visual_model.head.{name}': value for name, value in head.items()}
            both |= {f'text_model.{name}': value for name, value in text.items()}
            torch.save({**both, 'logit_scale': torch.tensor([3.0])}, tmp_path / 'head.pth')
            torch.save(given.model.visual.backbone.state_dict(), tmp_path / 'backbone.pth')
            files = {'pretrained': tmp_path / 'head.pth', 'backbone': tmp_path / 'backbone.pth'}
        found = load_dinotxt(size, **files)
        assert same(given, found), kind
    assert found.text_encoder(None).logit_scale == pytest.approx(20.0855, abs=1e-3)


def test_words_are_the_half_for_patches(loaded):
    model = loaded.model
    tokens = loaded.tokenizer(['a cat', 'a dog'])
    assert tokens.shape == (2, 12)
    assert torch.equal(model.encode_text(tokens), model.text(tokens)[:, 16:])
    assert loaded.text_encoder(None).encode(['a cat']).shape == (1, 16)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'model': 'dinov2_vitl14_dinotxt'}, 'clip.model must be one of'),
        ({'pretrained': 'random', 'reading': 'tail'}, 'clip.reading must be one of head, backbone'),
        ({'model': SIZE}, r"clip\.pretrained must name a file, or 'random'"),
        ({'model': {**SIZE, 'wings': 2}}, 'wings'),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, message):
    with pytest.raises(UserError, match=message):
        build_vision_language({'type': 'DINOTxt', 'model': SIZE, **arguments})


def test_parts_that_are_missing_are_asked_for(tmp_path):
    head, text = published(load_dinotxt(SIZE, 'random').model)
    of_v2 = {name.replace('blocks.', 'block_list.'): value for name, value in head.items()}
    torch.save(of_v2, tmp_path / 'head.pth')
    with pytest.raises(UserError, match=r'has no backbone; .* clip\.backbone'):
        load_dinotxt(SIZE, tmp_path / 'head.pth')
    of_v2['visual_model.backbone.wings'] = torch.zeros(1)
    torch.save(of_v2, tmp_path / 'head.pth')
    with pytest.raises(UserError, match='do not fit this model'):
        load_dinotxt(SIZE, tmp_path / 'head.pth')
