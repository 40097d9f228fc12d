"""A SAM 3 of toy size with random weights: its config, and weights whose phrases differ."""

from __future__ import annotations

from typing import Any

import torch

_WIDTH = 16
_LAYERS = {'num_layers': 1, 'num_attention_heads': 2, 'intermediate_size': 16}
# A grid of 4 x 4 patches in windows of 2 x 2.
TINY_SAM3: dict[str, Any] = {
    'vision_config': {
        'backbone_config': {
            'hidden_size': 16,
            'intermediate_size': 24,
            'num_hidden_layers': 2,
            'num_attention_heads': 2,
            'image_size': 56,
            'patch_size': 14,
            'window_size': 2,
            'global_attn_indexes': [1],
            'pretrain_image_size': 28,
        },
        'fpn_hidden_size': _WIDTH,
        'backbone_feature_sizes': [[16, 16], [8, 8], [4, 4]],
    },
    'text_config': {
        'vocab_size': 64,
        'hidden_size': 16,
        'intermediate_size': 24,
        'projection_dim': 8,
        'num_hidden_layers': 1,
        'num_attention_heads': 2,
        'max_position_embeddings': 32,
        'hidden_act': 'gelu',
        'bos_token_id': 62,
        'eos_token_id': 63,
        'pad_token_id': 0,
    },
    'geometry_encoder_config': {'hidden_size': _WIDTH, **_LAYERS},
    'detr_encoder_config': {'hidden_size': _WIDTH, **_LAYERS},
    'detr_decoder_config': {'hidden_size': _WIDTH, 'num_queries': 5, **_LAYERS},
    'mask_decoder_config': {'hidden_size': _WIDTH, 'num_attention_heads': 2},
}


@torch.no_grad()
def spread(model: Any, seed: int = 0) -> None:
    """Gives random weights heads that differ from phrase to phrase and place to place.

    Args:
        model: transformers' ``Sam3Model``, changed in place.
        seed: of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    for value in model.parameters():
        if value.ndim > 1:
            fan = value[0].numel()
            value.copy_(torch.randn(value.shape, generator=generator) * (1.5 / fan**0.5))
    model.mask_decoder.semantic_projection.weight.mul_(3)
    model.dot_product_scoring.query_proj.weight.mul_(3)
    model.text_encoder.get_input_embeddings().weight.mul_(3)
