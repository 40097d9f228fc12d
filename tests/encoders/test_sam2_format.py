"""SAM 2's files of its authors."""

from __future__ import annotations

import pytest
import torch
from tiny_sam2s import TINY_SAM2, tiny_sam2

from ovseg import downloads
from ovseg.encoders.sam2 import load_sam2
from ovseg.encoders.sam2_format import _NAMES, from_authors, is_authors
from ovseg.errors import UserError
from ovseg.weight_files import inverse, rename

# Some of each kind, as the authors' class has them, and transformers' name.
KNOWN = {
    'image_encoder.trunk.pos_embed_window': 'vision_encoder.backbone.pos_embed_window',
    'image_encoder.trunk.patch_embed.proj.bias': (
        'vision_encoder.backbone.patch_embed.projection.bias'
    ),
    'image_encoder.trunk.blocks.2.norm1.weight': (
        'vision_encoder.backbone.blocks.2.layer_norm1.weight'
    ),
    'image_encoder.trunk.blocks.2.attn.qkv.bias': 'vision_encoder.backbone.blocks.2.attn.qkv.bias',
    'image_encoder.trunk.blocks.2.mlp.layers.1.bias': (
        'vision_encoder.backbone.blocks.2.mlp.proj_out.bias'
    ),
    'image_encoder.trunk.blocks.1.proj.weight': 'vision_encoder.backbone.blocks.1.proj.weight',
    'image_encoder.neck.convs.3.conv.bias': 'vision_encoder.neck.convs.3.bias',
    'sam_prompt_encoder.mask_downscaling.4.weight': 'prompt_encoder.mask_embed.layer_norm2.weight',
    'sam_prompt_encoder.no_mask_embed.weight': 'prompt_encoder.no_mask_embed.weight',
    'sam_mask_decoder.transformer.layers.1.norm4.bias': (
        'mask_decoder.transformer.layers.1.layer_norm4.bias'
    ),
    'sam_mask_decoder.transformer.layers.0.self_attn.out_proj.bias': (
        'mask_decoder.transformer.layers.0.self_attn.o_proj.bias'
    ),
    'sam_mask_decoder.transformer.layers.0.self_attn.q_proj.bias': (
        'mask_decoder.transformer.layers.0.self_attn.q_proj.bias'
    ),
    'sam_mask_decoder.output_hypernetworks_mlps.3.layers.1.bias': (
        'mask_decoder.output_hypernetworks_mlps.3.layers.0.bias'
    ),
    'sam_mask_decoder.pred_obj_score_head.layers.2.bias': (
        'mask_decoder.pred_obj_score_head.proj_out.bias'
    ),
    'sam_mask_decoder.output_upscaling.1.bias': 'mask_decoder.upscale_layer_norm.bias',
    'sam_mask_decoder.conv_s0.bias': 'mask_decoder.conv_s0.bias',
    'no_mem_embed': 'no_memory_embedding',
}
FOR_VIDEOS = ('memory_attention.norm.bias', 'maskmem_tpos_enc', 'obj_ptr_proj.layers.0.bias')


@pytest.fixture(scope='module')
def loaded():
    return tiny_sam2()


@pytest.fixture
def authors(loaded):
    """The tiny model's weights as the authors' file would have them."""
    state = loaded.model.state_dict()
    points = state.pop('prompt_encoder.point_embed.weight')
    matrix = state.pop('shared_image_embedding.positional_embedding')
    state['prompt_encoder.shared_embedding.positional_embedding'] = matrix
    given = {rename(name, inverse(_NAMES)): value for name, value in state.items()}
    given |= {f'sam_prompt_encoder.point_embeddings.{i}.weight': points[i : i + 1] for i in (2, 0)}
    given |= {f'sam_prompt_encoder.point_embeddings.{i}.weight': points[i : i + 1] for i in (3, 1)}
    return given | {name: torch.ones(3) for name in FOR_VIDEOS}


def test_names_are_those_of_the_authors(authors):
    assert set(KNOWN) <= set(authors) and is_authors(authors)
    for name, wanted in KNOWN.items():
        assert list(from_authors({name: torch.ones(2)})) == [wanted]


def test_a_file_of_the_authors_gives_the_same_model(loaded, authors, tmp_path):
    assert not is_authors(loaded.model.state_dict())
    one = torch.randn(2, 16)
    authors['sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix'] = one
    torch.save({'model': authors}, tmp_path / 'sam2_hiera_mine.pt')
    found = load_sam2(TINY_SAM2, tmp_path / 'sam2_hiera_mine.pt')
    assert found.weights == 'sam2_hiera_mine.pt'
    for name, value in found.model.state_dict().items():
        wanted = loaded.model.state_dict()[name]
        assert torch.equal(value, one if name.endswith('positional_embedding') else wanted), name


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: state.pop('no_mem_embed'), r'1 missing \(no_memory_embedding\)'),
        (lambda state: state.update(no_men_embed=torch.ones(1)), r'1 unexpected \(no_men_embed\)'),
        (
            lambda state: state.pop('sam_prompt_encoder.point_embeddings.3.weight'),
            r'point_embed.weight is \(3, 32\), wanted \(4, 32\)',
        ),
    ],
)
def test_a_file_that_lacks_something_is_refused(authors, tmp_path, change, message):
    change(authors)
    torch.save({'model': authors}, tmp_path / 'mine.pt')
    with pytest.raises(UserError, match=message):
        load_sam2(TINY_SAM2, tmp_path / 'mine.pt')


def test_the_first_weights_come_from_the_authors(monkeypatch, loaded):
    asked = []

    def fetched(url, path, digest=None):
        asked.append(url)
        raise downloads._Unfetched('no network')

    monkeypatch.setattr(downloads, '_fetched', fetched)
    with pytest.raises(UserError, match=r'sam2_hiera_base_plus\.pt could not be fetched'):
        load_sam2('sam2_hiera_base_plus')
    (url,) = asked
    assert url.endswith('/segment_anything_2/072824/sam2_hiera_base_plus.pt')
