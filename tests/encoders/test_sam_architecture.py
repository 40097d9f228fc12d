"""SAM of any size: segment-anything's classes, its names, and clear errors."""

import pytest
import torch
from segment_anything.modeling import Sam

from ovseg.encoders.sam_architecture import FIELDS, build_sam_architecture
from ovseg.errors import UserError

SMALL = dict(
    image_size=32,
    patch_size=8,
    encoder_embed_dim=16,
    encoder_depth=3,
    encoder_num_heads=2,
    mlp_ratio=2.0,
    global_attn_indexes=[0, 2],
    window_size=3,
    prompt_embed_dim=8,
    mask_in_chans=4,
    decoder_num_heads=2,
    decoder_mlp_dim=16,
    iou_head_hidden_dim=8,
)


def test_sizes_are_those_asked_for():
    sam = build_sam_architecture(SMALL)
    assert type(sam) is Sam
    state = sam.state_dict()
    assert state['image_encoder.pos_embed'].shape == (1, 4, 4, 16)
    assert [block.window_size for block in sam.image_encoder.blocks] == [0, 3, 0]
    # Relative positions: 2 * 4 - 1 in a global block, 2 * 3 - 1 in windows; 8 channels a head.
    assert state['image_encoder.blocks.2.attn.rel_pos_h'].shape == (7, 8)
    assert state['image_encoder.blocks.1.attn.rel_pos_w'].shape == (5, 8)
    assert state['image_encoder.neck.0.weight'].shape == (8, 16, 1, 1)
    assert state['prompt_encoder.mask_downscaling.3.weight'].shape == (4, 1, 2, 2)
    assert state['mask_decoder.mask_tokens.weight'].shape == (4, 8)
    assert state['mask_decoder.transformer.layers.1.mlp.lin1.weight'].shape == (16, 8)
    assert 'mask_decoder.transformer.layers.2.norm1.weight' not in state
    assert state['mask_decoder.iou_prediction_head.layers.2.weight'].shape == (4, 8)


def test_it_predicts_masks_at_the_size_of_the_picture():
    sam = build_sam_architecture(SMALL).eval()
    record = dict(
        image=torch.zeros(3, 32, 24),
        original_size=(40, 30),
        boxes=torch.tensor([[2.0, 3.0, 20.0, 22.0]]),
    )
    (output,) = sam([record], multimask_output=True)
    assert output['masks'].shape == (1, 3, 40, 30)
    assert output['low_res_logits'].shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'patch_size': None}, 'it lacks patch_size'),
        ({'windowsize': 7}, "it has 'windowsize', which is none. Did you mean 'window_size'?"),
        ({'image_size': 30}, 'image_size 30 must be a multiple of patch_size 8'),
    ],
)
def test_wrong_fields_are_explained(change, message):
    fields = {**SMALL, **change}
    fields = {name: value for name, value in fields.items() if value is not None}
    with pytest.raises(UserError) as caught:
        build_sam_architecture(fields)
    assert message in str(caught.value)


def test_every_field_is_needed():
    for name in FIELDS:
        with pytest.raises(UserError, match=f'lacks {name}'):
            build_sam_architecture({key: SMALL[key] for key in FIELDS if key != name})
