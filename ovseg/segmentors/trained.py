"""Segmentors of mmseg whose classes are fixed by their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmseg.models.segmentors import EncoderDecoder
from mmseg.utils import add_prefix
from torch import Tensor, nn

from ovseg.errors import UserError
from ovseg.registry import MODELS, build_part
from ovseg.scores.encoding import ImageEncoding, encode_images
from ovseg.scores.test_settings import InferenceSettings
from ovseg.scores.upsample import ScoreMaps
from ovseg.segmentors.prediction import VocabularyPrediction
from ovseg.segmentors.trained_encoder import TrainedEncoder
from ovseg.segmentors.trained_words import trained_classifier
from ovseg.text import Classifier
from ovseg.training.heads.decode_loss import decode_loss
from ovseg.vocabulary import Rejection, Vocabulary, build_vocabulary

Heads = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@MODELS.register_module()
class TrainedSegmentor(VocabularyPrediction, EncoderDecoder):
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

    Raises:
        UserError: settings that do not fit each other, with the config key.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        decode_head: Mapping[str, Any],
        vocabulary: Any,
        neck: Mapping[str, Any] | None = None,
        auxiliary_head: Heads | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        if vocabulary is None:
            raise UserError(
                'a trained segmentor has fixed classes; set model.vocabulary to their names in '
                'label order, such as "cat; sofa; wall"'
            )
        trained = build_vocabulary(vocabulary)
        classes = len(trained)
        super().__init__(
            _in_our_scope(backbone),
            _with_classes(decode_head, classes, 'decode_head'),
            neck=neck and _in_our_scope(neck),
            auxiliary_head=_auxiliary(auxiliary_head, classes),
            train_cfg=train_cfg,
            data_preprocessor=None if data_preprocessor is None else build_part(data_preprocessor),
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
        self.trained_vocabulary = self.vocabulary = trained
        self.backbone_name = str(backbone['type'])

    # Words -----------------------------------------------------------------------------------

    def set_vocabulary(self, source: Any, rejection: Rejection | None = None) -> None:
        """Chooses among the trained classes for predictions.

        Args:
            source: anything :func:`~ovseg.vocabulary.build_vocabulary` takes.
            rejection: replaces the source's rejection rule.

        Raises:
            UserError: a class that was not trained; the old vocabulary stays.
        """
        vocabulary = build_vocabulary(source)
        if rejection is not None:
            vocabulary = vocabulary.with_rejection(rejection)
        self.build_classifier(vocabulary)
        self.vocabulary = vocabulary

    def build_classifier(self, vocabulary: Vocabulary) -> Classifier:
        """A classifier whose rows pick the scores of trained classes.

        Args:
            vocabulary: trained classes, or some of them, in any order.

        Raises:
            UserError: a class that was not trained.
        """
        rows = torch.eye(len(self.trained_vocabulary), device=self.device)
        return trained_classifier(
            vocabulary, list(self.trained_vocabulary), rows, None, self._refuse_words
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
    def classifier(self) -> Classifier:
        """The classifier of the present vocabulary, on the model's device."""
        return self.build_classifier(self.vocabulary)

    @property
    def device(self) -> torch.device:
        """Where the decoder's parameters are."""
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

    def encode_images(
        self, inputs: Tensor, originals: Sequence[np.ndarray] | None = None
    ) -> list[ImageEncoding]:
        """Runs the network over a batch of images of one size.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
            originals: not read; as in the other segmentors.

        Returns:
            Encodings whose features are the scores of the trained classes.
        """
        encoder = TrainedEncoder(self._forward, len(self.trained_vocabulary))
        return encode_images(encoder, inputs, self.inference_settings)

    def score(self, encoding: ImageEncoding, classifier: Classifier) -> ScoreMaps:
        """Scores of the classes asked for, on the decoder's grid.

        Args:
            encoding: from :meth:`encode_images`.
            classifier: from :meth:`build_classifier`.
        """
        scores = classifier.row_scores(encoding.features.patch, normalize=False)
        return ScoreMaps(scores, encoding.boxes, encoding.input_size)

    def protocol(self) -> dict[str, Any]:
        """The facts that give a number its meaning, as plain data."""
        settings = self.inference_settings
        return {
            'model': type(self).__name__,
            'backbone': self.backbone_name,
            'decode_head': type(self.decode_head).__name__,
            'mode': settings.mode,
            'window': settings.crop_size if settings.mode != 'whole' else None,
            'stride': settings.stride if settings.mode != 'whole' else None,
            'vocabulary': f'{len(self.trained_vocabulary)} trained classes',
            'background': self.vocabulary.rejection.describe(),
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
