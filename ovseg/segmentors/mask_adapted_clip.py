"""OVSeg: mask proposals, each named by a mask-adapted CLIP and by its own embedding.

The method is told from the package by this module's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from typing_extensions import override

from ovseg.encoders import load_clip
from ovseg.encoders.adapted_clip import AdaptedCLIP
from ovseg.encoders.clip_files import load_clip_weights
from ovseg.encoders.mask_prompted_vit import MaskPromptedViT, load_mask_prompted
from ovseg.encoders.ovseg_format import from_ovseg, to_ovseg
from ovseg.errors import UserError
from ovseg.regions.region_crops import RegionSettings
from ovseg.regions.region_embeddings import CropClassifier
from ovseg.registry import MODELS
from ovseg.segmentors.mask_segmentor import MaskSegmentor

_CLIP = 'clip.'


@MODELS.register_module()
class OVSeg(MaskSegmentor):
    """Names mask proposals by a CLIP that was adapted to masked regions.

    Args:
        clip: arguments of :func:`~ovseg.encoders.load_clip`; ``pretrained='random'`` where a
            checkpoint brings the weights of CLIP, too, as the published ones do.
        proposals: see :class:`MaskSegmentor`.
        mask_prompts: depth of the mask prompts; 0 runs plain CLIP on the regions.
        adapted: files of a CLIP adapted to masked regions, one or several in their order: what
            ``MaskAdaptation`` trained or a fine-tuned CLIP that OVSeg published. Each replaces what
            it has of `clip`'s image tower and mask prompts.
        regions: fields of :class:`~ovseg.regions.region_crops.RegionSettings`; ``size`` is
            CLIP's own.
        settings: other arguments of :class:`MaskSegmentor`. Published models show the 14 templates
            ``vild`` and normalise with ImageNet's statistics.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: OVSeg (arXiv 2210.04150).
    """

    def __init__(
        self,
        clip: Mapping[str, Any],
        proposals: Mapping[str, Any],
        mask_prompts: int = 3,
        adapted: str | Sequence[str] | None = None,
        regions: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        loaded = load_clip(**clip)
        tower = MaskPromptedViT(loaded.model.visual, max(mask_prompts, 1))
        loaded.model.visual = tower.requires_grad_(False)
        files = [adapted] if isinstance(adapted, str) else list(adapted or [])
        found = [AdaptedCLIP.read(path) for path in files]
        for file in found:
            if file.has_prompts and not mask_prompts:  # plain CLIP, whatever it was tuned with
                file = file.without_prompts()
            file.put_into(loaded.model)
        region_settings = RegionSettings.from_config(
            {
                'size': tower.image_size[0],
                'mean': [255 * value for value in loaded.mean],
                'std': [255 * value for value in loaded.std],
                **(regions or {}),
            }
        )
        is_random = clip.get('pretrained') == 'random'
        super().__init__(
            loaded,
            proposals,
            CropClassifier(tower, region_settings, mask_prompts > 0),
            words_wait=is_random,
            **settings,
        )
        self.mask_prompts, self.adapted, self.region_settings = mask_prompts, files, region_settings
        self._random_clip = is_random
        self._has_prompts = any(file.has_prompts for file in found)

    # Checkpoints and protocols ---------------------------------------------------------------

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our keys for a checkpoint of the published format; one of ours passes as it is.

        A file that holds CLIP's weights, fine-tuned ones, replaces those of the config, and the
        words are encoded anew.

        Args:
            state: tensors by name.

        Raises:
            UserError: no weights for CLIP, or weights that do not fit.
        """
        own = from_ovseg(state)
        clip = {name[len(_CLIP) :]: value for name, value in own.items() if name.startswith(_CLIP)}
        if clip:
            self._take_clip(clip)
        elif self._random_clip:
            raise UserError(
                "the checkpoint holds no CLIP and model.clip.pretrained is 'random'; name the "
                'weights of CLIP in the config'
            )
        elif self.ensemble.enabled and self.mask_prompts and not self._has_prompts:
            raise UserError(
                'the checkpoint holds no CLIP, so there are no mask prompts; name a file of them '
                'in model.adapted, or set model.mask_prompts=0'
            )
        return {name: value for name, value in own.items() if not name.startswith(_CLIP)}

    def _take_clip(self, state: dict[str, Tensor]) -> None:
        visual = {name: value for name, value in state.items() if name.startswith('visual.')}
        if not self.mask_prompts:  # plain CLIP on the regions, whatever it was tuned with
            visual.pop('visual.mask_embedding', None)
        tower = self.clip.visual
        assert isinstance(tower, MaskPromptedViT)  # put there by the constructor
        load_mask_prompted(tower, visual, 'the checkpoint', not self.mask_prompts)
        held = tower.state_dict(prefix='visual.')
        text = {name: value for name, value in state.items() if not name.startswith('visual.')}
        load_clip_weights(self.clip, {**text, **held}, 'the checkpoint')
        self.clip_weights = 'of the checkpoint'
        self.words.wait = False
        self.words.forget()

    def to_published(self) -> dict[str, Tensor]:
        """The state dict in the published format, CLIP's weights included."""
        clip = self.clip.state_dict(prefix=_CLIP)
        return to_ovseg({**self.state_dict(), **clip}, num_classes=self.num_classes)

    @override
    def protocol(self) -> dict[str, Any]:
        parts = super().protocol()
        parts.pop('mask_classifier')
        return {
            **parts,
            'adapted': [Path(path).name for path in self.adapted],
            'mask_prompts': self.mask_prompts,
            'regions': f'threshold {self.region_settings.threshold}, '
            f'fill {self.region_settings.fill}',
        }
