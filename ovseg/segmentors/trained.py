"""Segmentors of mmseg whose classes are fixed by their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from mmseg.models.segmentors import EncoderDecoder
from mmseg.utils import add_prefix
from torch import Tensor, nn
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.precision import computed_by, dtype_of
from ovseg.registry import MODELS, build_part
from ovseg.scores.encoding import ImageEncoding, encode_images, window_maps
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.scores.row_map import RowMap, resized
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.mmseg_doors import refuse_pretrained
from ovseg.segmentors.trained_encoder import LEAST_SIDE, TrainedEncoder
from ovseg.segmentors.trained_words import trained_classifier
from ovseg.segmentors.words import Words
from ovseg.text import Classifier
from ovseg.training.heads.decode_loss import decode_loss
from ovseg.training.heads.two_classes import two_classes_welcome
from ovseg.vocabulary import Rejection, Vocabulary, VocabularySource, build_vocabulary

Heads = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@MODELS.register_module()
class TrainedSegmentor(Segmentor, EncoderDecoder):
    """mmseg's ``EncoderDecoder`` with class names, and predictions in bounded memory.

    Backbone, neck and heads are configured, trained and saved as mmseg does. The plain-CLIP
    baselines of DenseCLIP are of this class.

    Args:
        backbone: config, as in mmseg.
        decode_head: config of a head whose ``forward`` gives class scores; ``num_classes`` may be
            left out.
        vocabulary: the classes in label order, anything
            :func:`~ovseg.vocabulary.build_vocabulary` takes.
        neck: config, as in mmseg.
        auxiliary_head: config or configs of heads for training.
        train_cfg: handed to the heads' losses, as in mmseg.
        test_cfg: fields of :class:`InferenceSettings`.
        data_preprocessor: as in mmseg.
        init_cfg: as in mmseg.
        pretrained: None, which mmseg's interfaces set.

    Raises:
        UserError: settings that do not fit each other, with the config key.
    """

    # mmseg's constructor writes both: of a trained model they are what it was trained for.
    num_classes = 0
    out_channels = 0
    networks: ClassVar[tuple[str, ...]] = ('backbone', 'neck')

    def __init__(
        self,
        backbone: Mapping[str, Any],
        decode_head: Mapping[str, Any],
        vocabulary: VocabularySource | None,
        neck: Mapping[str, Any] | None = None,
        auxiliary_head: Heads | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
        pretrained: Any = None,
    ) -> None:
        refuse_pretrained(pretrained)
        if vocabulary is None:
            raise UserError(
                'a trained segmentor has fixed classes; set model.vocabulary to their names in '
                'label order, such as "cat; sofa; wall"'
            )
        trained = build_vocabulary(vocabulary)
        classes = len(trained)
        with two_classes_welcome():
            super().__init__(
                _in_our_scope(backbone),
                _with_classes(decode_head, classes, 'decode_head'),
                neck=neck and _in_our_scope(neck),
                auxiliary_head=_auxiliary(auxiliary_head, classes),
                train_cfg=train_cfg,
                data_preprocessor=None
                if data_preprocessor is None
                else build_part(data_preprocessor),
                init_cfg=init_cfg,
            )
        if self.align_corners:
            raise UserError(
                'model.decode_head.align_corners is True, but score maps are upsampled with '
                'align_corners=False; set it to False'
            )
        self.inference_settings = InferenceSettings.from_config(test_cfg)
        if self.inference_settings.mode == 'splice':
            raise UserError(
                "model.test_cfg.mode='splice' is for frozen encoders; a trained segmentor takes "
                "'whole' or 'slide'"
            )
        self.trained_vocabulary = trained
        self.words = Words(self, keeps=False)
        self.words.vocabulary = trained
        self.backbone_name = str(backbone['type'])

    # Words -----------------------------------------------------------------------------------

    @override
    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        """A classifier whose rows pick the scores of trained classes, in any order."""
        count = len(self.trained_vocabulary)
        identity = torch.eye(count, device=self.device, dtype=torch.float32)
        return trained_classifier(
            vocabulary, list(self.trained_vocabulary), identity, None, self._refuse_words
        )

    def _refuse_words(self, vocabulary: Vocabulary) -> Classifier:
        names = self.trained_vocabulary.names
        trained = {item.prompts for item in self.trained_vocabulary}
        new = next(label for label, item in enumerate(vocabulary) if item.prompts not in trained)
        if new == vocabulary.background_index:
            raise UserError(
                f'this {type(self).__name__} knows its {len(names)} trained classes only, so words '
                'for the background mean nothing to it: give a threshold instead'
            )
        raise UserError(
            f'this {type(self).__name__} was trained for {len(names)} classes ({"; ".join(names)}) '
            f"and '{vocabulary[new].name}' is none of them: leave the words out to get these, or "
            'choose a model with an open vocabulary'
        )

    @property
    @override
    def device(self) -> torch.device:
        return next(self.decode_head.parameters()).device

    # Losses ----------------------------------------------------------------------------------

    def _decode_head_forward_train(self, inputs: Any, data_samples: list) -> dict[str, Tensor]:
        return self._losses_of(self.decode_head, 'decode', inputs, data_samples)

    def _auxiliary_head_forward_train(self, inputs: Any, data_samples: list) -> dict[str, Tensor]:
        if not isinstance(self.auxiliary_head, nn.ModuleList):
            return self._losses_of(self.auxiliary_head, 'aux', inputs, data_samples)
        losses: dict[str, Tensor] = {}
        for number, head in enumerate(self.auxiliary_head):
            losses.update(self._losses_of(head, f'aux_{number}', inputs, data_samples))
        return losses

    def _losses_of(
        self, head: nn.Module, name: str, inputs: Any, data_samples: list
    ) -> dict[str, Tensor]:
        return add_prefix(decode_loss(head, inputs, data_samples, self.train_cfg), name)

    # Images ----------------------------------------------------------------------------------

    @override
    def encode(self, images: Images, window_batch: int | None = None) -> list[ImageEncoding]:
        """Runs the network; the features are the scores of the trained classes."""
        encoder = TrainedEncoder(self._decoded, len(self.trained_vocabulary), LEAST_SIDE)
        settings = self.inference_settings.with_window_batch(window_batch)
        return encode_images(encoder, images.inputs, settings)

    def extract_feat(self, inputs: Tensor) -> Any:
        """The backbone's levels (B, C_i, h_i, w_i), after the neck if there is one.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
        """
        levels = computed_by(self.backbone, inputs)
        return computed_by(self.neck, levels) if self.with_neck else levels

    def _decoded(self, inputs: Tensor) -> Tensor:
        return self.decode_head.forward(self.extract_feat(inputs.to(dtype_of(self.backbone))))

    @override
    def _forward(self, inputs: Tensor, data_samples: list | None = None) -> Tensor:
        return self._decoded(inputs)

    @override
    def scores(
        self,
        encoding: ImageEncoding,
        classifier: Classifier,
        size: tuple[int, int],
        budget: MemoryBudget | None = None,
    ) -> RowMap:
        scores = classifier.row_scores(encoding.features.patch, normalize=False)
        upsampling = self.inference_settings.upsampling
        return resized(window_maps(encoding, scores, size, upsampling), size)

    @override
    def protocol(self) -> dict[str, Any]:
        settings = self.inference_settings
        return {
            'model': type(self).__name__,
            'backbone': self.backbone_name,
            'decode_head': type(self.decode_head).__name__,
            'mode': settings.mode,
            'window': settings.crop_size if settings.mode != 'whole' else None,
            'stride': settings.stride if settings.mode != 'whole' else None,
            'vocabulary': f'{len(self.trained_vocabulary)} trained classes',
            'background': (self.words.rejection or Rejection()).describe(),
        }


def _in_our_scope(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config, built by our names whatever the current default scope is."""
    return {'_scope_': 'ovseg', **config}


def _with_classes(head: Mapping[str, Any], classes: int, key: str) -> dict[str, Any]:
    given = head.get('num_classes', classes)
    if given != classes:
        raise UserError(
            f'model.{key}.num_classes is {given}, but model.vocabulary has {classes} classes; '
            'leave num_classes out'
        )
    return _in_our_scope({**head, 'num_classes': classes})


def _auxiliary(heads: Heads | None, classes: int) -> Any:
    if heads is None:
        return None
    if isinstance(heads, Mapping):
        return _with_classes(heads, classes, 'auxiliary_head')
    return [_with_classes(head, classes, 'auxiliary_head') for head in heads]
