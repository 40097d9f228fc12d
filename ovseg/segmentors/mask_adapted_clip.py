"""OVSeg: mask proposals, each named by a mask-adapted CLIP and by its own embedding."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmseg.models.segmentors import BaseSegmentor
from torch import Tensor

from ovseg.encoders import DenseFeatures, load_clip
from ovseg.encoders.adapted_clip import AdaptedCLIP
from ovseg.encoders.clip import load_clip_weights
from ovseg.encoders.mask_prompted_vit import MaskPromptedViT, load_mask_prompted
from ovseg.encoders.ovseg_format import from_ovseg, to_ovseg
from ovseg.errors import UserError
from ovseg.regions.mask_maps import (
    mask_maps,
    mask_probabilities,
    segment_masks,
    select_queries,
    sum_of_masks,
)
from ovseg.regions.mask_proposals import ImageProposals, ProposalStage, pad_to_divisor
from ovseg.regions.mask_segments import Segments, SegmentSettings, find_segments
from ovseg.regions.region_crops import RegionSettings
from ovseg.regions.region_embeddings import embed_regions
from ovseg.regions.region_scores import (
    EnsembleSettings,
    ProposalScores,
    fuse,
    proposal_probabilities,
    region_probabilities,
)
from ovseg.registry import MODELS, build_part
from ovseg.scores.encoding import ImageEncoding
from ovseg.scores.test_settings import InferenceSettings
from ovseg.scores.upsample import ScoreMaps, labels_in_strips, output_strips
from ovseg.segmentors.prediction import VocabularyPrediction, drop_frozen
from ovseg.segmentors.words import OpenVocabulary
from ovseg.text import Classifier
from ovseg.text.cosine import cosine_logits
from ovseg.vocabulary import Vocabulary

_CLIP = 'clip.'


@dataclass(frozen=True)
class ProposalEncoding(ImageEncoding):
    """One image after proposals and CLIP: all that any vocabulary needs to be asked about it.

    ``features.patch`` are the N embeddings of the valid regions, (1, E, 1, N).

    Attributes:
        proposals: Q masks and their own embeddings.
        valid: (Q,) bool, masks that have a region; N of them.
    """

    proposals: ImageProposals | None = None
    valid: Tensor | None = None


@MODELS.register_module()
class OVSeg(OpenVocabulary, VocabularyPrediction, BaseSegmentor):
    """Names mask proposals by two classifiers against the same words.

    Proposals come from ``backbone`` and ``proposals`` (a MaskFormer that embeds its queries in the
    text space, trained here), or from any :class:`~ovseg.regions.mask_proposals.ProposalStage`,
    such as SAM's automatic masks; these have no embeddings, so CLIP alone names them.

    Args:
        clip: arguments of :func:`~ovseg.encoders.load_clip`; ``pretrained='random'`` where a
            checkpoint brings the weights of CLIP, too, as the published ones do.
        proposals: config of an ``OpenVocabularyMaskFormer`` or of a proposal source.
        backbone: config of mmseg's for the MaskFormer, None for other sources.
        mask_prompts: depth of the mask prompts; 0 runs plain CLIP on the regions.
        adapted: files of a CLIP adapted to masked regions, one or several in their order: what
            ``MaskAdaptation`` trained or a fine-tuned CLIP that OVSeg published. Each replaces what
            it has of `clip`'s image tower and mask prompts.
        regions: fields of :class:`~ovseg.regions.region_crops.RegionSettings`; ``size`` is
            CLIP's own.
        ensemble: fields of :class:`~ovseg.regions.region_scores.EnsembleSettings`.
        vocabulary: see :class:`~ovseg.segmentors.TrainingFreeSegmentor`.
        text: likewise; published models show the 14 templates ``vild``.
        test_cfg: ``mode='whole'`` and the memory settings of :class:`InferenceSettings`.
        data_preprocessor: as in mmseg, with ImageNet's statistics for published models.
        init_cfg: as in mmseg.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: OVSeg (arXiv 2210.04150).
    """

    scores_are_probabilities = True
    frozen_prefixes = (_CLIP,)

    def __init__(
        self,
        clip: Mapping[str, Any],
        proposals: Mapping[str, Any],
        backbone: Mapping[str, Any] | None = None,
        mask_prompts: int = 3,
        adapted: str | Sequence[str] | None = None,
        regions: Mapping[str, Any] | None = None,
        ensemble: Mapping[str, Any] | None = None,
        vocabulary: Any = None,
        text: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        preprocessor = None if data_preprocessor is None else build_part(data_preprocessor)
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        loaded = load_clip(**clip)
        self.clip, self.clip_name, self.clip_weights = loaded.model, loaded.name, loaded.weights
        self._random_clip = clip.get('pretrained') == 'random'
        self.mask_prompts = mask_prompts
        tower = MaskPromptedViT(self.clip.visual, max(mask_prompts, 1))
        self.clip.visual = tower.requires_grad_(False)
        self._adapt(adapted)
        self.region_settings = RegionSettings.from_config(
            {
                'size': tower.image_size[0],
                'mean': [255 * value for value in loaded.mean],
                'std': [255 * value for value in loaded.std],
                **(regions or {}),
            }
        )
        self.ensemble = EnsembleSettings.from_config(ensemble)
        self.inference_settings = InferenceSettings.from_config(test_cfg)
        if self.inference_settings.mode != 'whole':
            raise UserError("model.test_cfg.mode must be 'whole': proposals need the whole image")
        self.backbone = None if backbone is None else build_part(backbone)
        self.proposals = build_part(proposals)
        self._check_source()
        self.words_wait = self._random_clip
        self.init_words(loaded, vocabulary, text)
        self.register_state_dict_post_hook(drop_frozen)

    def _adapt(self, adapted: str | Sequence[str] | None) -> None:
        self.adapted = [adapted] if isinstance(adapted, str) else list(adapted or [])
        found = [AdaptedCLIP.read(path) for path in self.adapted]
        for file in found:
            if file.has_prompts and not self.mask_prompts:  # plain CLIP, whatever it was tuned with
                file = file.without_prompts()
            file.put_into(self.clip)
        self._has_prompts = any(file.has_prompts for file in found)

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

    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        """The classifier of a vocabulary, one row a class unless the best synonym counts.

        Rows share the softmax of both stages: a class of two synonyms would get half of it twice.

        Args:
            vocabulary: the classes.
            rows: see :meth:`set_vocabulary`.
        """
        return super().build_classifier(vocabulary, rows).folded()

    @classmethod
    def needs_checkpoint(cls, config: Mapping[str, Any]) -> bool:
        """Whether a model of this config has weights of its own to load."""
        return config.get('backbone') is not None

    @property
    def reads_originals(self) -> bool:
        """Whether the source of proposals wants images at their own size."""
        return getattr(self.proposals, 'reads_originals', False)

    @property
    def reads_names(self) -> bool:
        """Whether the source of proposals wants file names."""
        return getattr(self.proposals, 'reads_names', False)

    # Images ----------------------------------------------------------------------------------

    @torch.no_grad()
    def encode_images(
        self,
        inputs: Tensor,
        originals: Sequence[np.ndarray] | None = None,
        names: Sequence[str | None] | None = None,
    ) -> list[ImageEncoding]:
        """Proposes masks for images of one size and embeds their regions.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
            originals: the images before any resize; only some sources read them.
            names: their file names, likewise.
        """
        return [
            self._encode(image, found)
            for image, found in zip(
                self.pixels(inputs), self._propose(inputs, originals, names), strict=True
            )
        ]

    def _propose(
        self,
        inputs: Tensor,
        originals: Sequence[np.ndarray] | None,
        names: Sequence[str | None] | None,
    ) -> list[ImageProposals]:
        if self.backbone is None:
            source: ProposalStage = self.proposals
            return source.propose(inputs, originals, names)
        padded = pad_to_divisor(inputs)
        size, padded_size = tuple(inputs.shape[2:]), tuple(padded.shape[2:])
        found = self.proposals(self.backbone(padded), padded_size)
        return [
            ImageProposals(mask_maps(logits, padded_size, size), embeddings)
            for logits, embeddings in zip(found.mask_logits, found.embeddings, strict=True)
        ]

    def _encode(self, image: Tensor, found: ImageProposals) -> ProposalEncoding:
        if self.ensemble.enabled:
            regions = embed_regions(
                self.clip.visual,
                image,
                found.maps,
                self.region_settings,
                mask_prompts=self.mask_prompts > 0,
            )
            embeddings, valid = regions.embeddings, regions.valid
        else:
            embeddings = image.new_empty(0, self.clip.visual.output_dim)
            valid = torch.zeros(found.maps.maps.shape[1], dtype=torch.bool, device=image.device)
        size = (image.shape[1], image.shape[2])
        patch = embeddings.T[None, :, None]
        return ProposalEncoding(
            DenseFeatures(patch=patch), [(0, 0, *size)], size, proposals=found, valid=valid
        )

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
            encoding: from :meth:`encode_images`.
            classifier: its rows are asked.
        """
        rows = classifier.weight
        of_regions = region_probabilities(
            cosine_logits(encoding.features.patch[0, :, 0].T, rows), len(rows)
        )
        own = encoding.proposals.embeddings
        if own is None:
            # Only CLIP knows these masks; the first classifier has nothing to say.
            of_proposals = rows.new_ones(len(encoding.valid), len(rows))
        else:
            of_proposals = proposal_probabilities(self.proposals.classify(own, rows))
        return fuse(of_proposals, of_regions, encoding.valid, self.ensemble)

    def score(self, encoding: ProposalEncoding, classifier: Classifier) -> ScoreMaps:
        """Score maps at the network's input size, all of them at once.

        Args:
            encoding: from :meth:`encode_images`.
            classifier: its rows are asked.
        """
        found = self.score_proposals(encoding, classifier)
        maps = select_queries(encoding.proposals.maps, found.queries)
        sums = sum_of_masks(mask_probabilities(maps), found.scores)
        return ScoreMaps(sums[None], encoding.boxes, encoding.input_size)

    def segment_encoding(
        self,
        encoding: ProposalEncoding,
        original_size: tuple[int, int],
        classifier: Classifier | None = None,
        with_scores: bool = False,
        strip_megabytes: float | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Labels of an encoded image; see :class:`VocabularyPrediction`.

        Args:
            encoding: from :meth:`encode_images`.
            original_size: (height, width) of the labels in pixels.
            classifier: another one than the model's.
            with_scores: also return the score maps; their memory grows with the classes.
            strip_megabytes: replaces the setting of ``test_cfg``.

        Returns:
            (H, W) int64 labels; with scores also (K, H, W): sums of masks, at least 0, as published
            where rows are classes and none is rejected; else their shares, which are probabilities.
        """
        asked = self.classifier if classifier is None else classifier.to(self.device)
        found = self.score_proposals(encoding, asked)
        maps = select_queries(encoding.proposals.maps, found.queries)
        size = tuple(original_size)
        budget = int((strip_megabytes or self.inference_settings.strip_megabytes) * 2**20)
        is_plain = isinstance(asked, Classifier) and asked.rows_are_classes
        if is_plain and not asked.rejection.rejects:
            labels, scores = segment_masks(maps, found.scores, size, budget, with_scores)
            return (labels, scores) if with_scores else labels
        # The rule that decides wants all rows at once: shorter strips keep them within bounds.
        masks, rows = found.scores.shape
        strip_bytes = int(budget * masks / (masks + 2 * rows))

        def in_strips(decide: Any, collect: Any = None) -> tuple[Tensor, Tensor | None]:
            strips = (
                (start, stop, sum_of_masks(part, found.scores))
                for start, stop, part in output_strips(maps, size, strip_bytes, torch.sigmoid)
            )
            return labels_in_strips(maps, size, decide, budget, collect, strips)

        return self.decide_strips(asked, in_strips, with_scores)

    @torch.no_grad()
    def find_segments(
        self,
        encoding: ProposalEncoding,
        original_size: tuple[int, int],
        classifier: Classifier | None = None,
        *,
        stuff: Collection[int] = frozenset(),
        settings: SegmentSettings | None = None,
        strip_megabytes: float | None = None,
    ) -> Segments:
        """Segments of an encoded image: things one by one, each stuff as one.

        The best row of a class is its score. Of the classifier's rejection only the background's
        words are heard: their proposals are no segments.

        Args:
            encoding: from :meth:`encode_images`.
            original_size: (height, width) of the id map in pixels.
            classifier: another one than the model's.
            stuff: classes that are no things.
            settings: which proposals become segments.
            strip_megabytes: replaces the setting of ``test_cfg``.
        """
        asked = self.classifier if classifier is None else classifier.to(self.device)
        found = self.score_proposals(encoding, asked)
        queries, rows = found.queries, found.scores
        if self.ensemble.enabled:
            # Without a region p2 is 1, and a mask that CLIP never saw would win over seen ones.
            has_region = encoding.valid[queries]
            queries, rows = queries[has_region], rows[has_region]
        return find_segments(
            select_queries(encoding.proposals.maps, queries),
            asked.class_scores(rows.T[None])[0].T,
            tuple(original_size),
            int((strip_megabytes or self.inference_settings.strip_megabytes) * 2**20),
            stuff=stuff,
            background=asked.background_index,
            settings=settings,
        )

    # mmseg -----------------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """The backbone's levels of images padded to multiples of 32.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
        """
        if self.backbone is None:
            raise UserError(f'{type(self.proposals).__name__} has no backbone to extract from')
        return self.backbone(pad_to_divisor(inputs))

    def _forward(self, inputs: Tensor, data_samples: list | None = None) -> Tensor:
        return self.encode_decode(inputs, [])

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of the MaskFormer; CLIP's image tower has no part in them.

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

    def train(self, mode: bool = True) -> OVSeg:
        """Sets the mode of what trains; CLIP never does."""
        super().train(mode)
        self.clip.eval()
        return self

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
        load_mask_prompted(self.clip.visual, visual, 'the checkpoint', not self.mask_prompts)
        held = self.clip.visual.state_dict(prefix='visual.')
        text = {name: value for name, value in state.items() if not name.startswith('visual.')}
        load_clip_weights(self.clip, {**text, **held}, 'the checkpoint')
        self.clip_weights = 'of the checkpoint'
        self.words_wait = False
        self.forget_rows()

    def to_published(self) -> dict[str, Tensor]:
        """The state dict in the published format, CLIP's weights included."""
        clip = self.clip.state_dict(prefix=_CLIP)
        return to_ovseg({**self.state_dict(), **clip}, num_classes=self.num_classes)

    def protocol(self) -> dict[str, Any]:
        """The facts that give a number its meaning, as plain data."""
        source = self.proposals
        return {
            'model': self.clip_name,
            'weights': self.clip_weights,
            'proposals': repr(source) if self.backbone is None else type(source).__name__,
            'adapted': [Path(path).name for path in self.adapted],
            'mask_prompts': self.mask_prompts,
            'regions': f'threshold {self.region_settings.threshold}, '
            f'fill {self.region_settings.fill}',
            'ensemble': f'weight {self.ensemble.weight}' if self.ensemble.enabled else 'off',
            **self.words_protocol(),
        }
