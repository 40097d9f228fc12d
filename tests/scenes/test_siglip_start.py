"""The tiny SigLIP starts at the tiny CLIP: the same answers from another kind of model."""

from __future__ import annotations

import pytest
import torch
from open_clip import CustomTextCLIP

from ovseg.encoders.clip import build_architecture
from ovseg.encoders.tiny import build_tiny_clip
from ovseg.errors import UserError
from ovseg.scenes.siglip_start import start_at_clip


def siglip_like(tower='vit_scenes_patch8_32'):
    vision = dict(timm_model_name=tower, timm_pool='map', timm_proj='none')
    text = dict(context_length=20, vocab_size=49408, width=96, heads=4, layers=2)
    towers = dict(vision_cfg=vision, text_cfg=text, custom_text=True)
    return build_architecture(dict(embed_dim=128, init_logit_bias=-10.0, **towers)).eval()


@torch.no_grad()
def test_pooling_by_attention_starts_as_the_average_of_clips_patches():
    clip, tokenizer, *_ = build_tiny_clip()
    siglip = siglip_like()
    assert type(siglip) is CustomTextCLIP
    start_at_clip(siglip, clip)
    tokens = tokenizer(['a red star on grass', 'snow'])
    torch.testing.assert_close(siglip.encode_text(tokens), clip.encode_text(tokens))
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    visual = clip.visual
    patches = visual.conv1(images).flatten(2).transpose(1, 2) + visual.positional_embedding[1:]
    patches = visual.ln_post(visual.transformer(visual.ln_pre(patches)))  # without a class token
    expected = patches.mean(1) @ visual.proj
    torch.testing.assert_close(siglip.encode_image(images), expected, rtol=0, atol=1e-4)
    assert siglip.logit_scale == clip.logit_scale and siglip.logit_bias == -10


def test_a_clip_of_other_sizes_is_refused():
    siglip = siglip_like('test_vit3')
    with pytest.raises(UserError, match=r'model\.start: the weights of this CLIP do not fit'):
        start_at_clip(siglip, build_tiny_clip()[0])
