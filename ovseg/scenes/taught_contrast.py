"""Trains a ConvNeXt CLIP by captions and by what an embedded CLIP sees in each place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders.clip import load_clip
from ovseg.encoders.clip_pyramid import ConvNeXtPyramid, clip_pyramid
from ovseg.encoders.dense import DenseEncoder
from ovseg.errors import UserError
from ovseg.registry import MODELS
from ovseg.scenes.clip_contrast import CLIPContrast


@MODELS.register_module()
class TaughtContrast(CLIPContrast):
    """A CLIP that learns words as the CLIP whose text tower it has, and from its patches, too.

    The teacher sees each picture at the size that it was trained with. Where it looks at a patch,
    the ConvNeXt has a place of its last map; the head's embedding of each place is drawn to the
    teacher's embedding of the patch. Neither knows labels: the teacher learnt from captions.

    Args:
        clip: see :class:`CLIPContrast`; a ConvNeXt.
        start: likewise; this CLIP is the teacher, and its text tower stays as it is.
        last_block: of the teacher, see :func:`~ovseg.encoders.build.build_dense_encoder`.
        patch_weight: of the patches' loss, one minus the cosine, beside that of the captions.
        settings: other arguments of :class:`CLIPContrast`.

    Raises:
        UserError: see :class:`CLIPContrast`; a vision tower that is no convolutional one.
    """

    def __init__(
        self,
        clip: dict[str, Any],
        start: str,
        last_block: dict[str, Any] | str = 'vanilla',
        patch_weight: float = 5.0,
        **settings: Any,
    ) -> None:
        super().__init__(clip, start=start, text_learns=False, **settings)
        visual: Any = self.clip.visual
        pyramid = clip_pyramid(visual)
        if not isinstance(pyramid, ConvNeXtPyramid):
            raise UserError('model.clip of TaughtContrast has a ResNet; give it a ConvNeXt')
        self.pyramid = pyramid
        teacher = load_clip(start, 'embedded')
        self.teacher_size = int(teacher.model.visual.image_size[0])
        # No part of what is trained or saved.
        encoder = teacher.dense_encoder({'last_block': last_block}, teacher.mean, teacher.std)
        self._teacher: list[Any] = [encoder]
        self.patch_weight = patch_weight

    @property
    def supervision(self) -> str:
        """See :class:`CLIPContrast`."""
        return (
            f'image-caption pairs of Scenes and the patches of {self.start}, whose text tower it '
            'has; no pixel labels'
        )

    @property
    def teacher(self) -> DenseEncoder:
        """Embeds the patches of pictures of its own size."""
        return self._teacher[0].to(self.mean.device)

    def forward(
        self,
        inputs: Sequence[Tensor] | Tensor,
        caption: Sequence[str],
        meaning: Sequence[int] | Tensor,
        mode: str = 'loss',
    ) -> dict[str, Tensor] | tuple[Tensor, Tensor]:
        """See :class:`CLIPContrast`; mode 'loss' also has ``loss_patches``.

        Raises:
            UserError: the ConvNeXt's last map has other places than the teacher has patches.
        """
        if mode != 'loss':
            return super().forward(inputs, caption, meaning, mode)
        pixels = self._pixels(inputs)
        dense = self.pyramid.levels(pixels)[-1]
        images = F.normalize(self.pyramid.embed_vectors(dense.mean((2, 3))), dim=-1)
        losses = self._losses(images, self._of_captions(caption), meaning)
        places = self.pyramid.embed_vectors(dense.movedim(1, -1)).movedim(-1, 1)
        with torch.no_grad():
            size = (self.teacher_size, self.teacher_size)
            small = F.interpolate(pixels, size, mode='bilinear', antialias=True)
            patches = self.teacher(small).patch
        if patches.shape[2:] != places.shape[2:]:
            raise UserError(
                f'the pictures have {places.shape[2]} x {places.shape[3]} places of the ConvNeXt '
                f'and {patches.shape[2]} x {patches.shape[3]} patches of the teacher; train on '
                f'pictures of {16 * patches.shape[2]} pixels'
            )
        cosines = F.cosine_similarity(places, patches, dim=1)
        return {**losses, 'loss_patches': self.patch_weight * (1 - cosines).mean()}
