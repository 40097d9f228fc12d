"""The training-free segmentor: dense CLIP features, a guide, words, refiners, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmseg.models.segmentors import BaseSegmentor
from open_clip.transformer import VisionTransformer
from torch import Tensor

from ovseg.encoders import DenseFeatures, LoadedCLIP, build_dense_encoder, load_clip
from ovseg.encoders.maskclip_format import (
    load_maskclip_visual,
    read_maskclip_files,
)
from ovseg.errors import UserError
from ovseg.guides import apply_guide
from ovseg.registry import MODELS, build_part
from ovseg.scores.encoding import ImageEncoding, encode_images
from ovseg.scores.pixel_stage import PixelRefiner
from ovseg.scores.test_settings import InferenceSettings
from ovseg.scores.upsample import ScoreMaps
from ovseg.segmentors.prediction import VocabularyPrediction, drop_frozen
from ovseg.segmentors.words import OpenVocabulary
from ovseg.text import Classifier

# How far statistics in pixel values may be rounded and still mean the weights' own.
_ROUNDED = 1e-4


@MODELS.register_module()
class TrainingFreeSegmentor(OpenVocabulary, VocabularyPrediction, BaseSegmentor):
    """Segments with a frozen CLIP and a vocabulary that may change at any time.

    Args:
        clip: arguments of :func:`~ovseg.encoders.load_clip`; ``maskclip_files`` (a list) takes the
            vision tower from files in the published MaskCLIP format instead.
        encoder: arguments of the dense encoder that fits the tower.
        vocabulary: anything :func:`~ovseg.vocabulary.build_vocabulary` takes; None to set it later.
        text: arguments of :func:`~ovseg.text.build_classifier` (``templates``, ``combine``,
            ``average``, ``logit_scale``); ``cache_dir`` of the text encoder; ``embeddings``, a
            ``*_clip_text.pth`` file whose rows replace the text tower's for the vocabulary of the
            config.
        guide: config of a guide, by whose affinity the features are pooled, or None.
        refiners: configs of refiners, applied in order on the patch grid.
        pixel_refiner: config of a refiner that works at the image's own size, such as PAMR.
        test_cfg: fields of :class:`InferenceSettings`.
        data_preprocessor: as in mmseg; None normalises with the statistics of the CLIP weights.
        init_cfg: unused, for mmseg's builders.

    Raises:
        UserError: settings that do not fit each other, with the config key.
    """

    needs_checkpoint = False
    frozen_prefixes = ('clip.', 'encoder.', 'guide.')

    def __init__(
        self,
        clip: Mapping[str, Any],
        encoder: Mapping[str, Any] | None = None,
        vocabulary: Any = None,
        text: Mapping[str, Any] | None = None,
        guide: Mapping[str, Any] | None = None,
        refiners: Sequence[Mapping[str, Any]] = (),
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
        pixel_refiner: Mapping[str, Any] | None = None,
    ) -> None:
        clip = dict(clip)
        maskclip_files = clip.pop('maskclip_files', ())
        loaded = load_clip(**clip)
        if data_preprocessor is None:
            data_preprocessor = {
                'type': 'SegDataPreProcessor',
                'mean': [255 * value for value in loaded.mean],
                'std': [255 * value for value in loaded.std],
                'bgr_to_rgb': True,
                'size_divisor': 1,  # training crops are stacked as they are
            }
        super().__init__(data_preprocessor=build_part(data_preprocessor), init_cfg=init_cfg)
        self.clip, self.tokenizer = loaded.model, loaded.tokenizer
        self.clip_name, self.clip_weights = loaded.name, loaded.weights
        if maskclip_files:
            state = read_maskclip_files(maskclip_files)
            load_maskclip_visual(self.clip.visual, state, ', '.join(map(str, maskclip_files)))
            self.clip_weights = f'{self.clip_weights} + {", ".join(map(str, maskclip_files))}'
        self._take_statistics(loaded)
        self.encoder = build_dense_encoder(self.clip.visual, **self._encoder_settings(encoder))
        self.guide = None if guide is None else build_part(guide)
        self.refiners = [build_part(refiner) for refiner in refiners]
        self.pixel_refiner: PixelRefiner | None = (
            None if pixel_refiner is None else build_part(pixel_refiner)
        )
        self.inference_settings = InferenceSettings.from_config(test_cfg)
        if (
            self.inference_settings.upsampling == 'direct'
            and getattr(self.encoder, 'padding', None) == 'centred'
        ):
            raise UserError(
                "test_cfg.upsampling='direct' does not go with encoder.padding='centred', whose "
                'map reaches beyond the image; choose another padding'
            )
        self.init_words(loaded, vocabulary, text)
        self.register_state_dict_post_hook(drop_frozen)

    def _take_statistics(self, loaded: LoadedCLIP) -> None:
        """What pixels are normalised with, for undoing it; see :meth:`pixels`."""
        for name, own, none in (('mean', loaded.mean, 0.0), ('std', loaded.std, 1.0)):
            used = getattr(self.data_preprocessor, name, torch.full((3,), 255 * none))
            value = used.flatten() / 255
            if torch.allclose(value, torch.tensor(own), atol=_ROUNDED):
                value = torch.tensor(own)
            self.register_buffer(f'pixel_{name}', value.view(1, 3, 1, 1), persistent=False)

    def _encoder_settings(self, encoder: Mapping[str, Any] | None) -> dict[str, Any]:
        settings = dict(encoder or {})
        if isinstance(self.clip.visual, VisionTransformer) and hasattr(
            self.data_preprocessor, 'mean'
        ):
            # The encoder pads with black pixels as they look after normalisation; a companion
            # looks at pixels with statistics of its own.
            settings.setdefault('mean', self.pixel_mean.flatten().tolist())
            settings.setdefault('std', self.pixel_std.flatten().tolist())
        return settings

    # Image -----------------------------------------------------------------------------------

    def encode_images(
        self, inputs: Tensor, originals: Sequence[np.ndarray] | None = None
    ) -> list[ImageEncoding]:
        """Runs the encoder once over a batch of images of one size.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
            originals: the same images before any resize, each (H', W', 3) uint8 RGB; only models
                with ``reads_originals`` look at them.
        """
        parts = [*self.refiners, *([] if self.guide is None else [self.guide])]
        outputs = frozenset().union(*(part.needs for part in parts))
        guiding = None if self.guide is None else self._guide
        return encode_images(
            self.encoder,
            inputs,
            self.inference_settings,
            outputs,
            guiding,
            keep_image=self.pixel_refiner is not None,
        )

    def _guide(self, features: DenseFeatures, inputs: Tensor) -> DenseFeatures:
        return apply_guide(self.guide, features, self.pixels(inputs))

    def pixels(self, inputs: Tensor) -> Tensor:
        """Images as the encoder sees them, but not normalised: what guides look at.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.

        Returns:
            (B, 3, H', W') RGB in [0, 1], filled up to the encoder's patch. A preprocessor that has
            CLIP's statistics rounded is undone with the unrounded ones, as the released code of
            ProxyCLIP and Trident does; their thresholds notice the difference.
        """
        return self.encoder.pad(inputs) * self.pixel_std + self.pixel_mean

    def score(self, encoding: ImageEncoding, classifier: Classifier) -> ScoreMaps:
        """Scores the patches of an image for each row of the classifier, refined.

        Args:
            encoding: from :meth:`encode_image`.
            classifier: its rows are asked.
        """
        scores = classifier.row_scores(encoding.features.patch)
        for refiner in self.refiners:
            scores = refiner(scores, encoding.features, classifier)
        return ScoreMaps(scores, encoding.boxes, encoding.input_size, encoding.margins)

    @property
    def scores_are_probabilities(self) -> bool:
        """Whether the refined score maps hold probabilities instead of cosines."""
        return any(refiner.gives_probabilities for refiner in self.refiners)

    # mmseg -----------------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Patch features in the text space, (B, D, h, w)."""
        return self.encoder(inputs).patch

    def _forward(self, inputs: Tensor, data_samples: list | None = None) -> Tensor:
        return self.encode_decode(inputs, [])

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """This method has nothing to train.

        Raises:
            UserError: always.
        """
        raise UserError(
            'this method needs no training and has no loss; run tools/test.py with its config'
        )

    def protocol(self) -> dict[str, Any]:
        """The facts that give a number its meaning, as plain data."""
        settings = self.inference_settings
        return {
            'model': self.clip_name,
            'weights': self.clip_weights,
            'last_block': str(getattr(self.encoder, 'last_block', self.encoder.__class__.__name__)),
            'guide': '' if self.guide is None else str(self.guide),
            'refiners': [str(refiner) for refiner in self.refiners],
            'padding': getattr(self.encoder, 'padding', None),
            'position_resize': getattr(self.encoder, 'position_resize', None),
            'logit_scale': None
            if self._classifier is None
            else round(self._classifier.logit_scale, 4),
            'pixel_refiner': None if self.pixel_refiner is None else str(self.pixel_refiner),
            'mode': settings.mode,
            'window': settings.crop_size if settings.mode != 'whole' else None,
            'stride': settings.stride if settings.mode != 'whole' else None,
            **self.words_protocol(),
        }
