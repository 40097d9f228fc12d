"""Parity with SigLIP's vision tower: tokens, pooled image, patches pooled one by one."""

from __future__ import annotations

from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer

from ovseg.encoders import build_dense_encoder
from ovseg.encoders.clip import build_architecture
from ovseg.encoders.clip_files import load_vision_weights
from ovseg.weight_files import read_state_dict
from parity.encoders.tolerances import of_largest
from parity.golden import saved
from parity.report import Case

# open_clip's wrapping of a timm tower that pools by attention, as in its SigLIP configs. It builds
# timm's named sizes only, so the file's own is put in its place.
_SIGLIP = {
    'embed_dim': 8,
    'vision_cfg': {
        'image_size': 224,
        'timm_model_name': 'vit_tiny_patch16_224',
        'timm_pool': 'map',
        'timm_proj': 'none',
    },
    'text_cfg': {'context_length': 8, 'vocab_size': 16, 'width': 8, 'heads': 1, 'layers': 1},
    'custom_text': True,
}


def siglip_trunk(config: Case) -> VisionTransformer:
    """timm's tower by the golden file's sizes.

    Args:
        config: named as transformers names them.
    """
    assert config['hidden_act'] == 'gelu_pytorch_tanh'
    eps = config['layer_norm_eps']
    return VisionTransformer(
        img_size=config['image_size'],
        patch_size=config['patch_size'],
        embed_dim=config['hidden_size'],
        depth=config['num_hidden_layers'],
        num_heads=config['num_attention_heads'],
        mlp_ratio=config['intermediate_size'] / config['hidden_size'],
        class_token=False,
        global_pool='map',
        num_classes=0,
        norm_layer=lambda width, **settings: torch.nn.LayerNorm(width, eps=eps, **settings),
        act_layer='gelu_tanh',
    )


@torch.no_grad()
def check_siglip(file: Case, folder: Path) -> None:
    """A vision tower by the names of open_clip's files, as an encoder with two last blocks."""
    file.use('meta')
    config, wanted = file.inner('config'), file.inner('expected')
    image = file.inner('inputs')['image']
    visual = build_architecture(_SIGLIP).visual.eval()
    visual.trunk = siglip_trunk(config).eval()
    with saved(siglip=file['state']) as files:
        load_vision_weights(visual, read_state_dict(files['siglip']), 'the golden file')
    for block, tokens, dense in (
        ('vanilla', 'features', 'dense_plain'),
        ('maskclip', 'features_value', 'dense_value'),
    ):
        encoder = build_dense_encoder(visual, last_block=block)
        ours = encoder(image, frozenset({'tokens', 'embedding'}))
        maps = {tokens: ours.tokens, dense: ours.patch}
        wanted.compare(
            of_largest, {name: value.flatten(2).transpose(1, 2) for name, value in maps.items()}
        )
    wanted.compare(of_largest, pooled=ours.embedding)
