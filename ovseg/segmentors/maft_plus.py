"""MAFT+: FC-CLIP's network whose CLIP is tuned together with text rows that an image moves.

The method is told from the package by this module's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.encoders.clip_pyramid import ConvNeXtPyramid
from ovseg.encoders.fcclip_format import to_fcclip
from ovseg.errors import UserError
from ovseg.precision import keep_precision
from ovseg.regions.mask_classifier import MaskFeatures, MaskView
from ovseg.registry import MODELS
from ovseg.segmentors.fc_clip import FCCLIP
from ovseg.segmentors.mask_segmentor import ProposalEncoding
from ovseg.stages import stage
from ovseg.text import Classifier
from ovseg.text.cosine import cosine_logits
from ovseg.training.heads.text_transfer import (
    TextTransfer,
    channel_major_vectors,
    pixel_vectors,
)
from ovseg.training.losses.collaborative import mask_aware_loss, representation_compensation
from ovseg.weight_files import load_strictly

_CLIP, _TEACHER = 'clip.', 'teacher.'
# Of CLIP's trunk; its last norm, the projection and the text tower stay as they were.
_TUNED = ('stem', 'stages', 'norm_pre')


@dataclass(frozen=True, eq=False)
class TransferFeatures(MaskFeatures):
    """What is seen of the masks, and of the image as a whole.

    Attributes:
        image: (E, h, w), what moves the text rows.
    """

    image: Tensor


@MODELS.register_module()
class MAFTPlus(FCCLIP):
    """Names masks by a tuned CLIP and by text rows that are moved by the image.

    The queries' own classes only tell what is void.

    Args:
        clip: see :class:`FCCLIP`; a ConvNeXt.
        proposals: see :class:`FCCLIP`; published with 100 queries.
        transfer: arguments of :class:`~ovseg.training.heads.text_transfer.TextTransfer`, without
            the width.
        by_channels: the image is read as published, see
            :func:`~ovseg.training.heads.text_transfer.channel_major_vectors`; False reads it pixel
            by pixel, for weights that were trained so.
        teacher: keep the CLIP of the config as the teacher; for training.
        drop_path: stochastic depth in CLIP while training, at the rates of its own config; the
            published training had it, but not from the start and in the teacher, too.
        compensation_weight: of the representation compensation.
        settings: other arguments of :class:`FCCLIP`. `ensemble` has no use.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: MAFT+ (arXiv 2408.00744); jiaosiyu1999/MAFT-Plus for constants.
    """

    pyramid: ConvNeXtPyramid
    teacher: Any

    frozen_prefixes: ClassVar[tuple[str, ...]] = (
        *(f'clip.{name}' for name in ('positional_embedding', 'text_projection', 'logit_scale')),
        *(f'clip.{name}' for name in ('token_embedding.', 'transformer.', 'ln_final.', 'text.')),
        'clip.attn_mask',
        'clip.visual.head.',
        'clip.visual.trunk.head.',
        _TEACHER,
    )

    def __init__(
        self,
        clip: Mapping[str, Any],
        proposals: Mapping[str, Any],
        transfer: Mapping[str, Any] | None = None,
        by_channels: bool = True,
        teacher: bool = False,
        drop_path: bool = False,
        compensation_weight: float = 0.1,
        **settings: Any,
    ) -> None:
        super().__init__(
            clip, {'num_queries': 100, **proposals}, **{'resize_masks_first': False, **settings}
        )
        if not isinstance(self.pyramid, ConvNeXtPyramid):
            raise UserError(
                'MAFT+ moves text by what the head of a ConvNeXt makes of an image; set model.clip '
                'to one, such as convnext_base_w_320'
            )
        self.transfer = TextTransfer(self.pyramid.embed_dim, **(transfer or {}))
        keep_precision(self.transfer)
        self.by_channels, self.drop_path = by_channels, drop_path
        self.compensation_weight = compensation_weight
        trunk = self.clip.visual.trunk
        self.teacher = deepcopy(self.clip.visual).requires_grad_(False) if teacher else None
        for name in _TUNED:
            getattr(trunk, name).requires_grad_(True)
        self.train(self.training)

    # Images ----------------------------------------------------------------------------------

    @override
    def _look(self, view: MaskView) -> MaskFeatures:
        found = self.mask_classifier.look(view)
        image = self.image_feature(view.levels[-1][None])[0]
        return TransferFeatures(found.embeddings, found.valid, image)

    def image_feature(self, dense: Tensor) -> Tensor:
        """An image in the text space, (B, E, h, w): CLIP's head on the vectors of its last map.

        Args:
            dense: (B, C, h, w).
        """
        vectors = channel_major_vectors(dense) if self.by_channels else pixel_vectors(dense)
        return self.pyramid.embed_vectors(vectors).movedim(-1, 1)

    def moved_logits(self, embeddings: Tensor, image: Tensor, classifier: Classifier) -> Tensor:
        """Class logits (B, Q, K): cosines with the rows as each image moves them.

        The moved rows are not normalised again.

        Args:
            embeddings: (B, Q, E) of masks.
            image: (B, E, h, w), of :meth:`image_feature`.
            classifier: rows and classes.
        """
        moved = self.transfer(classifier.weight, image)
        scale = self.mask_classifier.scale
        logits = [
            classifier.groups.class_scores(cosine_logits(each, rows, scale))
            for each, rows in zip(embeddings, moved, strict=True)
        ]
        return torch.stack(logits)

    @override
    @torch.no_grad()
    def class_probabilities(self, encoding: ProposalEncoding, classifier: Classifier) -> Tensor:
        encoding = encoding.asked(classifier)
        of_queries = self.proposals.class_logits(encoding.proposals.embeddings, classifier)
        of_masks = self.mask_logits(encoding, classifier)
        void = of_queries.softmax(-1)[:, -1:]
        return torch.cat([of_masks.softmax(-1) * (1 - void), void], dim=-1)

    @override
    def mask_logits(self, encoding: ProposalEncoding, classifier: Classifier) -> Tensor:
        features = encoding.features
        assert isinstance(features, TransferFeatures)  # of our own _look
        return self.moved_logits(features.embeddings[None], features.image[None], classifier)[0]

    # Training --------------------------------------------------------------------------------

    @override
    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of the decoder, on maps without gradient, and those that tune CLIP.

        Args:
            inputs: see :meth:`FCCLIP.loss`.
            data_samples: likewise.

        Raises:
            UserError: there is no teacher.
        """
        if self.teacher is None:
            raise UserError(
                'MAFT+ is trained beside the CLIP that it began with: set model.teacher=True'
            )
        with stage('backbone'):
            levels = self.levels_of(inputs)
        teacher = ConvNeXtPyramid(self.teacher)
        with torch.no_grad():
            taught = teacher.levels(inputs.float())[-1]
        targets, classifier = self._targets(data_samples), self.classifier
        losses, outputs = self._supervise(
            [level.detach() for level in levels],
            targets,
            (inputs.shape[2], inputs.shape[3]),
            (teacher, taught),
        )
        dense, masks = levels[-1], outputs.mask_logits[-1].detach()
        embeddings = self.pyramid.embed_masks(dense, masks)
        logits = self.moved_logits(embeddings, self.image_feature(dense), classifier)
        return {
            **losses,
            'loss_ranking': mask_aware_loss(logits, masks, targets),
            'loss_compensation': self.compensation_weight
            * representation_compensation(dense, taught),
        }

    @override
    def train(self, mode: bool = True) -> MAFTPlus:
        """Sets the mode of what trains; CLIP's only with stochastic depth."""
        super().train(mode)
        if getattr(self, 'drop_path', False):
            self.clip.visual.trunk.train(mode)
        if getattr(self, 'teacher', None) is not None:
            self.teacher.eval()
        return self

    # Checkpoints and protocols ---------------------------------------------------------------

    @override
    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = super().from_published(state)
        taught = {key: own.pop(key) for key in list(own) if key.startswith(_TEACHER)}
        if self.teacher is not None and taught:
            visual = {key[len(_TEACHER) :]: value for key, value in taught.items()}
            load_strictly(self.teacher, visual, 'the checkpoint (backbone_t)')
        return own

    @override
    def to_published(self) -> dict[str, Tensor]:
        """See :meth:`FCCLIP.to_published`; with the teacher's vision tower where there is one."""
        taught = {} if self.teacher is None else self.teacher.state_dict(prefix=_TEACHER)
        return {**super().to_published(), **to_fcclip(taught)}

    @override
    def _kept_of_clip(self) -> dict[str, Tensor]:
        tower = self.clip.state_dict(prefix=_CLIP)
        return {
            key: value for key, value in tower.items() if not key.startswith(self.frozen_prefixes)
        }

    @override
    def protocol(self) -> dict[str, Any]:
        return {
            **super().protocol(),
            'ensemble': 'off: the tuned CLIP names masks alone',
            'transfer': f'{self.transfer.form}, '
            + ('as published' if self.by_channels else 'pixel by pixel'),
        }
