"""Modules that have another name than in version 0.1.0, under their old ones.

Users' code and the ``custom_imports`` of recorded configs may name them. The old name gives the
very module of the new one, with a warning that tells it. To go with version 0.3.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

_PACKAGE = 'ovseg.'
# Old name -> new name, both below ovseg.
MOVED = {
    'apis.zoo': 'zoo',
    'apis.devices': 'devices',
    'apis.images': 'images.reading',
    'apis.preprocess': 'images',
    'datasets.antialiased_resize': 'images',
    'visualization.writing': 'files',
    'datasets.renumbering': 'datasets.preparation.renumbering',
    'backbones.checkpoints': 'weight_files',
    'backbones.download': 'downloads',
    'guides.proxy': 'affinity.proxy',
    'attention.last_block': 'affinity.last_block',
    'attention.variants': 'affinity.variants',
    'attention.neighbours': 'affinity.neighbours',
    'attention.region_tokens': 'affinity.region_tokens',
    'guides.correlation': 'affinity.correlation',
    'guides.region_scope': 'affinity.region_scope',
    'guides.region_maps': 'regions.region_maps',
    'guides.region_proposals': 'regions.region_proposals',
    'guides.retrieval': 'regions.retrieval',
    'backbones.proxy_clip': 'guides.mixed_clip',
    'backbones.corr_clip': 'guides.mixed_clip',
    'backbones.adapted_clip': 'encoders.adapted_clip',
    'backbones.any_backbone': 'encoders.any_backbone',
    'backbones.attention_pool': 'encoders.attention_pool',
    'backbones.clip': 'encoders.clip',
    'backbones.clip_initialisation': 'encoders.clip_initialisation',
    'backbones.clip_resnet': 'encoders.clip_resnet',
    'backbones.clip_vit': 'encoders.clip_vit',
    'backbones.companions': 'encoders.companions',
    'backbones.dense': 'encoders.dense',
    'backbones.dino': 'encoders.dino',
    'backbones.dinov2': 'encoders.dinov2',
    'backbones.embedded': 'encoders.embedded',
    'backbones.found': 'encoders.found',
    'backbones.key_names': 'weight_files',
    'backbones.mask_prompted_vit': 'encoders.mask_prompted_vit',
    'backbones.maskclip_format': 'encoders.maskclip_format',
    'backbones.maskclip_plus_format': 'encoders.maskclip_plus_format',
    'backbones.ovseg_format': 'encoders.ovseg_format',
    'backbones.position': 'encoders.position',
    'backbones.sam': 'encoders.sam',
    'backbones.sam_architecture': 'encoders.sam_architecture',
    'backbones.sam_encoder': 'encoders.sam_encoder',
    'backbones.sam_image': 'encoders.sam_encoder',
    'backbones.text_aligned': 'encoders.dense',
    'backbones.tiny': 'encoders.tiny',
    'backbones.tiny_dino': 'encoders.tiny_dino',
    'backbones.tiny_sam': 'encoders.tiny_sam',
    'backbones.trained_clip_resnet': 'encoders.trained_clip_resnet',
    'backbones.trained_clip_vit': 'encoders.trained_clip_vit',
    'segmentors.windows': 'images.windows',
    'segmentors.encoding': 'scores.encoding',
    'segmentors.splicing': 'scores.splicing',
    'segmentors.inference': 'scores.inference_settings',
    'segmentors.upsample': 'scores.row_map',
    'segmentors.pixel_stage': 'scores.pixel_refiner',
    'segmentors.dense_sampling': 'regions.sampled_features',
    'segmentors.region_crops': 'regions.region_crops',
    'segmentors.region_embeddings': 'regions.region_embeddings',
    'segmentors.region_scores': 'regions.region_scores',
    'segmentors.mask_maps': 'regions.mask_maps',
    'segmentors.mask_proposals': 'regions.mask_proposals',
    'segmentors.mask_segments': 'regions.mask_segments',
    'segmentors.ovseg': 'segmentors.mask_adapted_clip',
    'segmentors.pseudo_labels': 'training.pseudo_labels',
    'refiners.coarse_map': 'scores.coarse_map',
    'refiners.regions': 'refiners.label_regions',
    'heads.context_decoder': 'training.heads.context_decoder',
    'heads.decode_loss': 'training.heads.decode_loss',
    'heads.decode_modules': 'training.heads.decode_modules',
    'heads.identity': 'training.heads.identity',
    'heads.maskclip_plus': 'training.heads.maskclip_plus',
    'heads.maskformer_settings': 'training.heads.open_vocabulary_maskformer',
    'heads.open_vocabulary_maskformer': 'training.heads.open_vocabulary_maskformer',
    'heads.pixel_text_matching': 'training.heads.pixel_text_matching',
    'losses.box_segmentation': 'training.losses.box_segmentation',
    'losses.cross_entropy': 'training.losses.cross_entropy',
    'losses.guide_distillation': 'training.losses.guide_distillation',
    'losses.mask_losses': 'training.losses.mask_losses',
    'detectors.dense_clip': 'training.detectors.dense_clip',
    'detectors.text_aligned': 'training.detectors.text_aligned',
    'pretraining.mask_adaptation': 'training.mask_adaptation',
    'pretraining.mask_prompts': 'training.mask_prompts',
    'pretraining.region_nouns': 'training.region_nouns',
    'text.context': 'encoders.text_context',
    'text.nouns': 'training.nouns',
    'pretraining.gathering': 'training.gathering',
    'pretraining.clip_contrast': 'scenes.clip_contrast',
    'pretraining.found': 'scenes.found',
    'pretraining.promptable_masks': 'scenes.promptable_masks',
    'pretraining.self_distillation': 'scenes.self_distillation',
    'datasets.scenes': 'scenes.datasets',
    'datasets.scenes_captions': 'scenes.captions',
    'datasets.scenes_crops': 'scenes.crops',
    'datasets.scenes_demo': 'scenes.demo',
    'datasets.scenes_draw': 'scenes.draw',
    'datasets.scenes_instances': 'scenes.instances',
    'datasets.scenes_masks': 'scenes.masks',
    'datasets.scenes_pictures': 'scenes.pictures',
    'datasets.scenes_sprites': 'scenes.sprites',
    'datasets.scenes_textures': 'scenes.textures',
    'datasets.scenes_views': 'scenes.views',
    'datasets.scenes_world': 'scenes.world',
    'backbones': 'encoders',
    'attention': 'affinity',
    'heads': 'training.heads',
    'losses': 'training.losses',
    'detectors': 'training.detectors',
    'pretraining': 'training',
}


class _Alias(Loader):
    """Hands out the module of the new name."""

    def __init__(self, new: str) -> None:
        self._new = new
        self._own_spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        warnings.warn(f'{spec.name} is now {self._new}', DeprecationWarning, stacklevel=2)
        module = import_module(self._new)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Runs nothing, as the module ran under its new name; import gave it the old one's spec."""
        module.__spec__ = self._own_spec


class _MovedModules(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        new = MOVED.get(fullname.removeprefix(_PACKAGE))
        if new is None or not fullname.startswith(_PACKAGE):
            return None
        return spec_from_loader(fullname, _Alias(_PACKAGE + new))


def install() -> None:
    """Makes old names importable; a second call does nothing."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        # First: the folder of a renamed package would be searched for a second copy.
        sys.meta_path.insert(0, _MovedModules())
