"""CLIP-DINOiser: a frozen CLIP whose guide of two convolutions is trained without labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.encoders import CLIPViTEncoder
from ovseg.errors import UserError
from ovseg.guides import DINOiserGuide, DINOTeacher
from ovseg.registry import MODELS, build_part
from ovseg.scores.encoding import map_images
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.sizes import spatial_size
from ovseg.training.losses import correlation_loss, foreground_loss
from ovseg.weight_files import is_there, read_state_dict


@MODELS.register_module()
class CLIPDINOiser(TrainingFreeSegmentor):
    """Segments as its parent does, and trains its guide against DINO and FOUND.

    Only the guide's two layers train, and only they are in checkpoints. The published checkpoint
    (``last.pt``) loads like one of ours.

    Args:
        guide: config of a :class:`~ovseg.guides.DINOiserGuide`.
        teacher: config of a :class:`~ovseg.guides.DINOTeacher` with ``found``; needed for training
            only.
        kwargs: as in :class:`TrainingFreeSegmentor`.

    Raises:
        UserError: another guide, or a teacher without foreground.

    Source: CLIP-DINOiser (arXiv 2312.12359) section 3.
    """

    frozen_prefixes: ClassVar[tuple[str, ...]] = ('clip.', 'encoder.', 'teacher.')
    encoder: CLIPViTEncoder
    guide: DINOiserGuide

    def __init__(
        self,
        guide: Mapping[str, Any],
        teacher: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(guide=guide, **kwargs)
        if not isinstance(self.guide, DINOiserGuide):
            raise UserError(
                f"model.guide of CLIPDINOiser must be a DINOiserGuide, got '{guide.get('type')}'"
            )
        self.teacher: DINOTeacher | None = None if teacher is None else build_part(teacher)
        if self.teacher is not None and self.teacher.found is None:
            raise UserError('model.teacher of CLIPDINOiser needs `found`: it learns the foreground')

    @classmethod
    @override
    def needs_checkpoint(cls, config: Mapping[str, Any]) -> bool:
        return config['guide'].get('weights') is None

    @classmethod
    @override
    def place_checkpoint(cls, config: dict[str, Any], checkpoint: str | Path) -> str | Path | None:
        """A file of the guide's two layers is loaded later; any other is the CLIP's."""
        if not _holds_layers(checkpoint):
            return super().place_checkpoint(config, checkpoint)
        config['guide']['weights'] = None
        return checkpoint

    @classmethod
    @override
    def randomise(cls, config: dict[str, Any]) -> None:
        super().randomise(config)
        config['guide']['weights'] = None

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our names for the keys of the published checkpoint; ours stay as they are.

        Args:
            state: tensors by name.
        """
        layers = ('obj_proj.', 'bkg_decoder.')
        return {
            f'guide.{name}' if name.startswith(layers) else name: value
            for name, value in state.items()
        }

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of a batch of images; labels are not looked at.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor, sides multiples of the patch.
            data_samples: unused.

        Returns:
            ``loss_correlation`` and ``loss_foreground``, of equal weight.

        Raises:
            UserError: the config has no teacher.
        """
        if self.teacher is None:
            raise UserError(
                'training CLIPDINOiser needs model.teacher (a DINOTeacher) in the config'
            )
        with torch.no_grad():
            read = self._read(inputs)
            taught = self.teacher.look(self.pixels(inputs), spatial_size(read))
            assert taught.foreground is not None  # the teacher has `found`
        projected, foreground = self.guide.predict(read)
        return {
            'loss_correlation': correlation_loss(projected, taught.affinity),
            'loss_foreground': foreground_loss(foreground, taught.foreground),
        }

    def _read(self, inputs: Tensor) -> Tensor:
        """What the guide reads of the images, (B, C, h, w)."""

        def compute(batch: Tensor) -> Tensor:
            if self.guide.reads == 'patch':
                return self.encoder(batch).patch
            return self.encoder.mlp_input(batch)

        return map_images(compute, self.encoder, inputs, self.inference_settings)


def _holds_layers(checkpoint: str | Path) -> bool:
    """Whether a file holds CLIP-DINOiser's two layers, and not a CLIP."""
    if not is_there(checkpoint):
        return False  # may be a tag of CLIP
    return any(name.endswith('obj_proj.weight') for name in read_state_dict(checkpoint))
