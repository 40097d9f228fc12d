"""Dense encoders: an image in, patch features in the text space out."""

from __future__ import annotations

from ovseg.encoders.any_backbone import BackboneWithAttentionPool
from ovseg.encoders.build import build_dense_encoder
from ovseg.encoders.clip import LoadedCLIP, load_clip
from ovseg.encoders.clip_resnet import CLIPResNetEncoder
from ovseg.encoders.clip_vit import CLIPViTEncoder
from ovseg.encoders.companions import (
    DINOCompanion,
    DINOv2Companion,
    DINOv3Companion,
    RADIOCompanion,
    SAMCompanion,
)
from ovseg.encoders.dense import DenseEncoder, DenseFeatures, TextAlignedFeatures
from ovseg.encoders.dinotxt import load_dinotxt
from ovseg.encoders.mask_prompted_vit import MaskPromptedViT
from ovseg.encoders.radio_text import load_text_aligned_radio
from ovseg.encoders.text_context import ContextTextEncoder
from ovseg.encoders.tipsv2 import load_tipsv2
from ovseg.encoders.trained_clip_resnet import CLIPResNet, CLIPResNetWithAttention
from ovseg.encoders.trained_clip_vit import CLIPVisionTransformer
from ovseg.encoders.transformers_clip import load_transformers_clip
from ovseg.encoders.vision_language import VisionLanguageModel, build_vision_language

__all__ = [
    'BackboneWithAttentionPool',
    'CLIPResNet',
    'CLIPResNetEncoder',
    'CLIPResNetWithAttention',
    'CLIPViTEncoder',
    'CLIPVisionTransformer',
    'ContextTextEncoder',
    'DINOCompanion',
    'DINOv2Companion',
    'DINOv3Companion',
    'DenseEncoder',
    'DenseFeatures',
    'LoadedCLIP',
    'MaskPromptedViT',
    'RADIOCompanion',
    'SAMCompanion',
    'TextAlignedFeatures',
    'VisionLanguageModel',
    'build_dense_encoder',
    'build_vision_language',
    'load_clip',
    'load_dinotxt',
    'load_text_aligned_radio',
    'load_tipsv2',
    'load_transformers_clip',
]
