"""The training-free segmentor: features of a frozen model, a guide, words, refiners, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.encoders import DenseFeatures, VisionLanguageModel, build_vision_language
from ovseg.encoders.maskclip_format import load_maskclip_visual, read_maskclip_files
from ovseg.errors import UserError
from ovseg.exemplars.taught import Taught
from ovseg.guides import apply_guide
from ovseg.images import Images
from ovseg.refiners.grid import GridRefiner
from ovseg.registry import MODELS, build_part
from ovseg.scores.encoding import ImageEncoding, encode_images, window_maps
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.scores.pixel_refiner import PixelRefiner, RefinedPixels
from ovseg.scores.row_map import RowMap, resized
from ovseg.scores.window_probabilities import WindowProbabilities
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.exemplar_features import FeatureIdentity
from ovseg.segmentors.mmseg_doors import refuse_pretrained
from ovseg.segmentors.text_rows import TextRows, place_clip, randomise_parts, text_cache_of
from ovseg.segmentors.words import Words
from ovseg.stages import stage
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary
from ovseg.weight_files import drop_frozen

# How far statistics in pixel values may be rounded and still mean the weights' own.
_ROUNDED = 1e-4


@MODELS.register_module()
class TrainingFreeSegmentor(Segmentor):
    """Segments with a frozen vision-language model and a vocabulary that may change at any time.

    Args:
        clip: arguments of :func:`~ovseg.encoders.load_clip`, or ``type`` and the arguments of a
            registered :class:`~ovseg.encoders.VisionLanguageModel`; ``maskclip_files`` (a list)
            takes open_clip's vision tower from files in the published MaskCLIP format instead.
        encoder: arguments of the dense encoder that fits the tower.
        vocabulary: anything :func:`~ovseg.vocabulary.build_vocabulary` takes; None to set it later.
        text: arguments of :func:`~ovseg.text.build_classifier` (``templates``, ``combine``,
            ``average``, ``logit_scale``); ``cache_dir`` of the text encoder; ``embeddings``, a
            ``*_clip_text.pth`` file whose rows replace the text tower's for the vocabulary of the
            config; ``bank`` and ``rule`` of examples, see :mod:`ovseg.exemplars`.
        guide: config of a guide, by whose affinity the features are pooled, or None.
        refiners: configs of refiners, applied in order on the patch grid.
        pixel_refiner: config of a refiner that works at the image's own size, such as PAMR.
        test_cfg: fields of :class:`InferenceSettings`.
        data_preprocessor: as in mmseg; None normalises with the statistics of the weights.
        init_cfg: unused, for mmseg's builders.
        pretrained: None, likewise.
        train_cfg: unused, likewise.

    Raises:
        UserError: settings that do not fit each other, with the config key.
    """

    frozen_prefixes: ClassVar[tuple[str, ...]] = ('clip.', 'encoder.', 'guide.')
    takes_templates: ClassVar[bool] = True

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
        pretrained: None = None,
        train_cfg: Any = None,
    ) -> None:
        refuse_pretrained(pretrained)
        clip = dict(clip)
        maskclip_files = clip.pop('maskclip_files', ())
        loaded = build_vision_language(clip, text_cache_of(text))
        if data_preprocessor is None:
            data_preprocessor = {
                'type': 'SegDataPreProcessor',
                'mean': [255 * value for value in loaded.mean],
                'std': [255 * value for value in loaded.std],
                'bgr_to_rgb': True,
                'size_divisor': 1,  # training crops are stacked as they are
            }
        super().__init__(data_preprocessor=build_part(data_preprocessor), init_cfg=init_cfg)
        self.clip = loaded.model
        self.clip_name, self.clip_weights = loaded.name, loaded.weights
        if maskclip_files:
            state = read_maskclip_files(maskclip_files)
            visual = self.clip.get_submodule('visual')
            load_maskclip_visual(visual, state, ', '.join(map(str, maskclip_files)))
            self.clip_weights = f'{self.clip_weights} + {", ".join(map(str, maskclip_files))}'
        self._take_statistics(loaded)
        mean, std = (value.flatten().tolist() for value in (self.pixel_mean, self.pixel_std))
        self.encoder = loaded.dense_encoder(encoder or {}, mean, std)
        self.guide = None if guide is None else build_part(guide)
        self.refiners: list[GridRefiner] = [build_part(refiner) for refiner in refiners]
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
        self._check_average()
        self.text = TextRows(loaded, text, FeatureIdentity(self))
        self.words = Words(self)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, rows=self.text.ready)
        self.register_state_dict_post_hook(drop_frozen)

    def _check_average(self) -> None:
        if self.inference_settings.average == 'scores':
            return
        has_regions = type(self).with_regions is not TrainingFreeSegmentor.with_regions
        if has_regions or any(refiner.gives_probabilities for refiner in self.refiners):
            raise UserError(
                "test_cfg.average='probabilities' makes probabilities of scores in pixels; it goes "
                'neither with a refiner that makes them on the patch grid nor with votes of regions'
            )

    def _take_statistics(self, loaded: VisionLanguageModel) -> None:
        """What pixels are normalised with, for undoing it; see :meth:`pixels`."""
        for name, own, none in (('mean', loaded.mean, 0.0), ('std', loaded.std, 1.0)):
            used = getattr(self.data_preprocessor, name, torch.full((3,), 255 * none))
            value = used.flatten() / 255
            if torch.allclose(value, torch.tensor(own), atol=_ROUNDED):
                value = torch.tensor(own)
            self.register_buffer(f'pixel_{name}', value.view(1, 3, 1, 1), persistent=False)

    # Before a model is built ----------------------------------------------------------------

    @classmethod
    @override
    def needs_checkpoint(cls, config: Mapping[str, Any]) -> bool:
        return False

    @classmethod
    @override
    def place_checkpoint(cls, config: dict[str, Any], checkpoint: str | Path) -> str | Path | None:
        place_clip(config, checkpoint)
        return None

    @classmethod
    @override
    def randomise(cls, config: dict[str, Any]) -> None:
        randomise_parts(config)

    # Words ----------------------------------------------------------------------------------

    @property
    @override
    def taught(self) -> Taught | None:
        return self.text.taught

    @override
    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        return self.text.classifier(vocabulary, rows)

    @property
    @override
    def device(self) -> torch.device:
        return self.pixel_mean.device

    # Image -----------------------------------------------------------------------------------

    @override
    def encode(self, images: Images, window_batch: int | None = None) -> list[ImageEncoding]:
        parts = [*self.refiners, *([] if self.guide is None else [self.guide])]
        outputs = frozenset().union(*(part.needs for part in parts))
        encodings = encode_images(
            self.encoder,
            images.inputs,
            self.inference_settings.with_window_batch(window_batch),
            outputs,
            None if self.guide is None else self.guided,
            keep_image=self.pixel_refiner is not None,
        )
        return self.in_text_space(encodings)

    def in_text_space(self, encodings: list[ImageEncoding]) -> list[ImageEncoding]:
        """The same, saying in whose text space their features are."""
        space = self.text.space
        return [replace(encoding, text_space=space) for encoding in encodings]

    def guided(self, features: DenseFeatures, inputs: Tensor) -> DenseFeatures:
        """Features after the guide's pooling.

        Args:
            features: (B, D, h, w) and what the guide needs beside.
            inputs: (B, 3, H, W), what the encoder saw.
        """
        assert self.guide is not None  # else nobody calls this
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

    @override
    def scores(
        self,
        encoding: ImageEncoding,
        classifier: Classifier,
        size: tuple[int, int],
        budget: MemoryBudget | None = None,
    ) -> RowMap:
        patches = classifier.row_scores(encoding.features.patch)
        with stage('refiners'):
            for refiner in self.refiners:
                patches = refiner(patches, encoding.features, classifier)
        maps = window_maps(encoding, patches, size, self.inference_settings.upsampling)
        if self.inference_settings.average == 'probabilities':
            maps = WindowProbabilities(
                maps.maps, maps.boxes, maps.input_size, maps.margins, classifier.logit_scale
            )
        scores = resized(self.with_regions(maps, encoding, classifier), size)
        if self.pixel_refiner is None or encoding.image is None:
            return scores
        return RefinedPixels(scores, self.pixel_refiner, encoding.image, budget or self.budget)

    def with_regions(self, maps: RowMap, encoding: ImageEncoding, classifier: Classifier) -> RowMap:
        """Score maps at the input size with what is known of whole regions, for methods with any.

        Args:
            maps: of the patches.
            encoding: from :meth:`encode`.
            classifier: its rows are asked.
        """
        return maps

    @property
    @override
    def scores_are_probabilities(self) -> bool:
        averaged = self.inference_settings.average == 'probabilities'
        return averaged or any(refiner.gives_probabilities for refiner in self.refiners)

    # mmseg -----------------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Patch features in the text space, (B, D, h, w)."""
        return self.encoder(inputs).patch

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """This method has nothing to train.

        Raises:
            UserError: always.
        """
        raise UserError(
            'this method needs no training and has no loss; run tools/test.py with its config'
        )

    @override
    def protocol(self) -> dict[str, Any]:
        settings, words = self.inference_settings, self.words
        return {
            'model': self.clip_name,
            'weights': self.clip_weights,
            'last_block': str(getattr(self.encoder, 'last_block', self.encoder.__class__.__name__)),
            'guide': '' if self.guide is None else str(self.guide),
            'refiners': [str(refiner) for refiner in self.refiners],
            'padding': getattr(self.encoder, 'padding', None),
            'position_resize': getattr(self.encoder, 'position_resize', None),
            'logit_scale': words.logit_scale,
            'pixel_refiner': None if self.pixel_refiner is None else str(self.pixel_refiner),
            'mode': settings.mode,
            'window': settings.crop_size if settings.mode != 'whole' else None,
            'stride': settings.stride if settings.mode != 'whole' else None,
            **self.text.protocol(words.source, words.rejection),
        }
