"""Masks first, then names: proposals named by a mask classifier and by their own embeddings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.encoders import VisionLanguageModel, build_vision_language
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.precision import dtype_of
from ovseg.regions.mask_classifier import MaskClassifier, MaskFeatures, MaskView
from ovseg.regions.mask_instances import Instances, find_instances
from ovseg.regions.mask_maps import WeighedMasks, mask_maps, masks_at, select_queries
from ovseg.regions.mask_proposals import ImageProposals, ProposalStage, pad_to_divisor
from ovseg.regions.mask_segments import Segments, SegmentSettings, find_segments
from ovseg.regions.region_scores import (
    EnsembleSettings,
    ProposalScores,
    fuse,
    proposal_probabilities,
)
from ovseg.registry import MODELS, build_part
from ovseg.scores.decide import check_scores
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.scores.row_map import RowMap, WindowMaps
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.mmseg_doors import refuse_pretrained
from ovseg.segmentors.text_rows import TextRows, place_clip, randomise_parts, text_cache_of
from ovseg.segmentors.words import Words
from ovseg.settings import read_settings
from ovseg.stages import stage
from ovseg.text import Classifier
from ovseg.text.experts import refuse_experts
from ovseg.training.heads.text_queries import Proposals
from ovseg.vocabulary import Vocabulary
from ovseg.weight_files import drop_frozen


@dataclass(frozen=True, eq=False)
class ProposalEncoding:
    """One image after proposals and mask classifier: all that any words need to be asked about it.

    Attributes:
        proposals: Q masks and their own embeddings.
        features: what the mask classifier saw of the valid ones.
        input_size: (height, width) of the network's input in pixels.
        text_space: see :class:`~ovseg.scores.encoding.ImageEncoding`.
    """

    proposals: ImageProposals
    features: MaskFeatures
    input_size: tuple[int, int]
    text_space: str = ''

    @property
    def is_finite(self) -> bool:
        """Whether masks and embeddings are numbers."""
        found = (self.proposals.maps.maps, self.proposals.embeddings, self.features.embeddings)
        return all(bool(torch.isfinite(part).all()) for part in found if part is not None)

    def asked(self, classifier: Classifier) -> ProposalEncoding:
        """Itself: these masks know no words.

        Args:
            classifier: who asks.
        """
        return self


@MODELS.register_module()
class MaskSegmentor(Segmentor):
    """Names mask proposals by two classifiers against the same words.

    Proposals come from ``backbone`` and ``proposals`` (a decoder that embeds its queries in the
    text space, trained here), or from any :class:`~ovseg.regions.mask_proposals.ProposalStage`,
    such as SAM's automatic masks; these have no embeddings, so the mask classifier alone names
    them.

    Args:
        clip: arguments of :func:`~ovseg.encoders.build_vision_language`, or such a model: its text
            tower reads the words.
        proposals: config of an ``OpenVocabularyMaskFormer`` or of a proposal source.
        mask_classifier: config of a :class:`~ovseg.regions.mask_classifier.MaskClassifier`, or such
            an object.
        backbone: config of mmseg's for the decoder, None for other sources.
        ensemble: fields of :class:`~ovseg.regions.region_scores.EnsembleSettings`.
        vocabulary: see :class:`~ovseg.segmentors.TrainingFreeSegmentor`.
        text: likewise.
        test_cfg: ``mode='whole'``, the memory settings of :class:`InferenceSettings`, and
            ``segments``, the fields of :class:`SegmentSettings`.
        data_preprocessor: as in mmseg.
        init_cfg: as in mmseg.
        words_wait: words are encoded when they are first asked for: a checkpoint brings the weights
            of the text tower.
        pretrained: None, which mmseg's interfaces set.
        train_cfg: unused, likewise.

    Raises:
        UserError: settings that do not fit each other, with the config key.
    """

    finds_segments: ClassVar[bool] = True
    most_instances: int = 100
    # How masks of segments and instances are brought to the size of the image.
    _masks_of_segments = staticmethod(masks_at)
    takes_templates: ClassVar[bool] = True
    frozen_prefixes: ClassVar[tuple[str, ...]] = ('clip.',)
    # The backbone, whose masks are cut off at a threshold, stays in float32: in bfloat16 up to 6 %
    # of an image's pixels changed their labels.
    networks: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        clip: Mapping[str, Any] | VisionLanguageModel,
        proposals: Mapping[str, Any],
        mask_classifier: Mapping[str, Any] | MaskClassifier,
        backbone: Mapping[str, Any] | Any = None,
        ensemble: Mapping[str, Any] | None = None,
        vocabulary: Any = None,
        text: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
        words_wait: bool = False,
        pretrained: None = None,
        train_cfg: Any = None,
    ) -> None:
        refuse_pretrained(pretrained)
        preprocessor = None if data_preprocessor is None else build_part(data_preprocessor)
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        loaded = (
            build_vision_language(clip, text_cache_of(text)) if isinstance(clip, Mapping) else clip
        )
        self.clip, self.clip_name, self.clip_weights = loaded.model, loaded.name, loaded.weights
        # Moves with the model, whether or not its parts have parameters.
        self.register_buffer('_place', torch.empty(0), persistent=False)
        self.ensemble = EnsembleSettings.from_config(ensemble)
        self.inference_settings = InferenceSettings.from_config(test_cfg)
        self.segment_settings = read_settings(
            SegmentSettings, self.inference_settings.segments, 'model.test_cfg.segments'
        )
        if self.inference_settings.mode != 'whole':
            raise UserError("model.test_cfg.mode must be 'whole': proposals need the whole image")
        self.backbone: Any = build_part(backbone) if isinstance(backbone, Mapping) else backbone
        self.proposals: Any = build_part(proposals)
        self._check_source()
        if self.backbone is None:
            self.reads = self.proposals.reads
        self.mask_classifier: MaskClassifier = (
            build_part(mask_classifier) if isinstance(mask_classifier, Mapping) else mask_classifier
        )
        self.text = TextRows(loaded, text)
        self.words = Words(self)
        self.words.wait = words_wait
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, rows=self.text.ready)
        self.register_state_dict_post_hook(drop_frozen)

    def _check_source(self) -> None:
        embeds = hasattr(self.proposals, 'classify')
        if embeds != (self.backbone is not None):
            raise UserError(
                f'model.proposals={type(self.proposals).__name__} '
                + ('needs a model.backbone' if embeds else 'takes no model.backbone: remove it')
            )
        if not embeds and not (self.ensemble.enabled and self.ensemble.weight == 0):
            raise UserError(
                f'model.proposals={type(self.proposals).__name__} gives masks that only CLIP can '
                'name; set model.ensemble=dict(weight=0.0)'
            )

    # Before a model is built ----------------------------------------------------------------

    @classmethod
    @override
    def needs_checkpoint(cls, config: Mapping[str, Any]) -> bool:
        return config.get('backbone') is not None

    @classmethod
    @override
    def place_checkpoint(cls, config: dict[str, Any], checkpoint: str | Path) -> str | Path | None:
        """A file for the model if that is trained, else one for its CLIP."""
        if cls.needs_checkpoint(config):
            return checkpoint
        place_clip(config, checkpoint)
        return None

    @classmethod
    @override
    def randomise(cls, config: dict[str, Any]) -> None:
        randomise_parts(config)

    # Words ----------------------------------------------------------------------------------

    @override
    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        """The classifier of a vocabulary, one row a class unless the best synonym counts.

        Rows share the softmax of both stages: a class of two synonyms would get half of it twice.
        """
        classifier = self.text.classifier(vocabulary, rows).folded()
        refuse_experts(classifier, 'a model that names masks')
        return replace(classifier, seen=self.ensemble.knows(vocabulary))

    @property
    @override
    def device(self) -> torch.device:
        return self._place.device

    @property
    @override
    def scores_are_probabilities(self) -> bool:
        return True

    # Images ----------------------------------------------------------------------------------

    @override
    @torch.no_grad()
    def encode(self, images: Images, window_batch: int | None = None) -> list[Any]:
        """Proposes masks and has each looked at by the mask classifier."""
        return self._seen(images, *self._propose(images))

    def _seen(
        self, images: Images, found: Sequence[ImageProposals], levels: Sequence[Tensor]
    ) -> list[ProposalEncoding]:
        """Encodings of images whose masks are there: each is looked at."""
        space = self.text.space
        pixels = self.pixels(images.inputs)
        encodings = []
        for number, proposals in enumerate(found):
            features = self._look(
                MaskView(
                    pixels[number],
                    images.inputs[number],
                    proposals.maps,
                    [level[number] for level in levels],
                )
            )
            encodings.append(ProposalEncoding(proposals, features, images.size, space))
        return encodings

    def _propose(self, images: Images) -> tuple[list[ImageProposals], Sequence[Tensor]]:
        """Proposals of each image, and the backbone's levels of the batch."""
        if self.backbone is None:
            source: ProposalStage = self.proposals
            return source.propose(images), ()
        padded = pad_to_divisor(images.inputs)
        padded_size = (padded.shape[2], padded.shape[3])
        with stage('backbone'):
            levels = self.levels_of(padded)
        with stage('proposals'):
            found = self.proposals(levels, padded_size)
        return image_proposals(found, padded_size, images.size), levels

    def levels_of(self, padded: Tensor) -> Sequence[Tensor]:
        """The backbone's levels, fine to coarse, of images (B, 3, H, W), normalised and padded."""
        return self.backbone(padded.to(dtype_of(self.backbone)))

    def _look(self, view: MaskView) -> MaskFeatures:
        if self.ensemble.enabled:
            return self.mask_classifier.look(view)
        nothing = torch.zeros(view.masks.channels, dtype=torch.bool, device=view.image.device)
        return MaskFeatures(view.image.new_empty(0, 0), nothing)

    def pixels(self, inputs: Tensor) -> Tensor:
        """Images (B, 3, H, W) RGB in [0, 255], whole numbers, as before the normalisation.

        Args:
            inputs: from the data preprocessor.
        """
        own = self.data_preprocessor
        if not hasattr(own, 'mean'):
            return inputs
        return (inputs * own.std + own.mean).round().clamp(0, 255)

    @torch.no_grad()
    def score_proposals(self, encoding: ProposalEncoding, classifier: Classifier) -> ProposalScores:
        """Scores of the masks that count, one column for each row of the classifier.

        Args:
            encoding: from :meth:`encode`.
            classifier: its rows are asked.
        """
        with stage('mask scores'):
            return self._score_proposals(encoding, classifier)

    def _score_proposals(
        self, encoding: ProposalEncoding, classifier: Classifier
    ) -> ProposalScores:
        rows, features = classifier.weight, encoding.features
        of_regions = rows.new_empty(0, len(rows))
        if self.ensemble.enabled:
            of_regions = self.mask_classifier.probabilities(features, classifier)
        own = encoding.proposals.embeddings
        if own is None:
            # Only the mask classifier knows these masks; the first one has nothing to say.
            of_proposals = rows.new_ones(len(features.valid), len(rows))
        else:
            of_proposals = proposal_probabilities(self.proposals.classify(own, rows))
        is_seen = None
        if classifier.seen is not None:
            is_seen = torch.tensor(classifier.seen, device=rows.device)[classifier.class_index]
        found = fuse(of_proposals, of_regions, features.valid, self.ensemble, is_seen)
        check_scores(found.scores)
        return found

    @override
    def scores(
        self,
        encoding: ProposalEncoding,
        classifier: Classifier,
        size: tuple[int, int],
        budget: MemoryBudget | None = None,
    ) -> RowMap:
        """Sums of masks weighed by their scores; at least 0, not normalised."""
        found = self.score_proposals(encoding, classifier)
        masks = masks_at(select_queries(encoding.proposals.maps, found.queries), size)
        return WeighedMasks(masks, found.scores)

    @override
    @torch.no_grad()
    def find_segments(
        self,
        encoding: ProposalEncoding,
        size: tuple[int, int],
        classifier: Classifier | None = None,
        *,
        stuff: Collection[int] = frozenset(),
        settings: SegmentSettings | None = None,
        budget: MemoryBudget | None = None,
    ) -> Segments:
        """Segments of an encoded image: things one by one, each stuff as one.

        The best row of a class is its score. Of the classifier's rejection only the background's
        words are heard: their proposals are no segments.
        """
        asked, maps, scores = self._judged(encoding, classifier)
        return find_segments(
            maps,
            scores,
            (size[0], size[1]),
            self.budget if budget is None else budget,
            stuff=stuff,
            background=asked.background_index,
            settings=settings or self.segment_settings,
            masks_of=self._masks_of_segments,
        )

    @override
    @torch.no_grad()
    def find_instances(
        self,
        encoding: ProposalEncoding,
        size: tuple[int, int],
        classifier: Classifier | None = None,
        *,
        stuff: Collection[int] = frozenset(),
        budget: MemoryBudget | None = None,
    ) -> Instances:
        """Instances of an encoded image, by the scores of :meth:`find_segments`."""
        asked, maps, scores = self._judged_instances(encoding, classifier)
        return find_instances(
            maps,
            scores,
            (size[0], size[1]),
            self.budget if budget is None else budget,
            stuff=stuff,
            background=asked.background_index,
            most=self.most_instances,
            masks_of=self._masks_of_segments,
        )

    def _judged_instances(
        self, encoding: ProposalEncoding, classifier: Classifier | None
    ) -> tuple[Classifier, WindowMaps, Tensor]:
        """Likewise for instances, which may overlap."""
        return self._judged(encoding, classifier)

    def _judged(
        self, encoding: ProposalEncoding, classifier: Classifier | None
    ) -> tuple[Classifier, WindowMaps, Tensor]:
        """Who is asked, the M masks that compete, and their scores (M, K) for its classes."""
        asked = self.classifier if classifier is None else classifier.to(self.device)
        asked.check_model(encoding.text_space)
        found = self.score_proposals(encoding, asked)
        queries, rows = found.queries, found.scores
        if self.ensemble.enabled:
            # Without a region p2 is 1, and a mask that CLIP never saw would win over seen ones.
            has_region = encoding.features.valid[queries]
            queries, rows = queries[has_region], rows[has_region]
        scores = asked.groups.of_probabilities().class_scores(rows.T[None])[0].T
        return asked, select_queries(encoding.proposals.maps, queries), scores

    # mmseg -----------------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """The backbone's levels of images padded to multiples of 32.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
        """
        if self.backbone is None:
            raise UserError(f'{type(self.proposals).__name__} has no backbone to extract from')
        return self.backbone(pad_to_divisor(inputs))

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of the decoder; the image tower of CLIP has no part in them.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor, sides multiples of 32.
            data_samples: with ``gt_sem_seg``.

        Raises:
            UserError: proposals that do not train, or words that do not give one row a class.
        """
        if self.backbone is None:
            raise UserError(f'{type(self.proposals).__name__} has nothing to train')
        rows = self.classifier.weight
        if len(rows) != self.num_classes:
            raise UserError("training needs one text row a class: set model.text.combine='mean'")
        return self.proposals.loss(self.backbone(inputs), rows, data_samples)

    def train(self, mode: bool = True) -> MaskSegmentor:
        """Sets the mode of what trains; CLIP never does."""
        super().train(mode)
        self.clip.eval()
        return self

    @override
    def protocol(self) -> dict[str, Any]:
        source = self.proposals
        return {
            'model': self.clip_name,
            'weights': self.clip_weights,
            'proposals': repr(source) if self.backbone is None else type(source).__name__,
            'mask_classifier': str(self.mask_classifier),
            'ensemble': f'weight {self.ensemble.weight}' if self.ensemble.enabled else 'off',
            **self.text.protocol(self.words.source, self.words.rejection),
        }


def image_proposals(
    found: Proposals, padded_size: tuple[int, int], size: tuple[int, int]
) -> list[ImageProposals]:
    """The proposals of a batch, image by image.

    Args:
        found: of a decoder.
        padded_size: (height, width) of the padded images.
        size: (H, W) of the images in them.
    """
    return [
        ImageProposals(mask_maps(logits, padded_size, size), embeddings)
        for logits, embeddings in zip(
            found.mask_logits.float(), found.embeddings.float(), strict=True
        )
    ]
