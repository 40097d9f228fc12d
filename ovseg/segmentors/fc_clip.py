"""FC-CLIP: one frozen convolutional CLIP proposes masks and names them, in one pass of an image.

The method is told from the package by this module's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from mmengine.structures import InstanceData
from torch import Tensor
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.encoders import load_clip
from ovseg.encoders.clip_files import load_clip_weights
from ovseg.encoders.clip_pyramid import (
    CLIPPyramid,
    ConvNeXtPyramid,
    ResNetPyramid,
    clip_pyramid,
)
from ovseg.encoders.fcclip_format import from_fcclip, loss_weights, to_fcclip
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.precision import keep_precision
from ovseg.regions.mask_maps import WeighedMasks, masks_at, masks_resized_first, select_queries
from ovseg.regions.mask_proposals import pad_to_divisor
from ovseg.regions.mask_segments import SegmentSettings
from ovseg.regions.pooled_embeddings import PooledClassifier
from ovseg.regions.region_scores import ProposalScores
from ovseg.regions.void_ensemble import class_weights, geometric_ensemble, released_scores
from ovseg.registry import MODELS
from ovseg.scores.decide import check_scores
from ovseg.scores.row_map import RowMap, WindowMaps
from ovseg.segmentors.mask_segmentor import MaskSegmentor, ProposalEncoding, image_proposals
from ovseg.segmentors.wordless_encoding import WordlessEncoding
from ovseg.settings import read_settings
from ovseg.stages import stage
from ovseg.text import Classifier
from ovseg.text.decision_rule import DecisionRule
from ovseg.training.drawn_words import DrawnWords, target_embeddings
from ovseg.training.heads.masked_attention_head import LARGEST_SCALE
from ovseg.training.heads.masked_decoding import LayerOutputs
from ovseg.training.heads.text_queries import class_masks

_CLIP, _TEACHER = 'clip.', 'teacher.'
# A file of ours never has it: the tower that it belongs to is not saved.
_WHOLE_CLIP = 'clip.logit_scale'
_RELEASED_SEGMENTS = {'score_threshold': 0.0, 'won_counts': True, 'in_query_order': True}


@MODELS.register_module()
class FCCLIP(MaskSegmentor):
    """Proposes masks from the maps of a frozen CLIP, and names them by two classifiers of it.

    Args:
        clip: arguments of :func:`~ovseg.encoders.load_clip`, of a ConvNeXt or ResNet;
            ``pretrained='random'`` where a checkpoint brings the weights of CLIP, too, as the
            published ones do.
        proposals: config of a
            :class:`~ovseg.training.heads.masked_attention_head.MaskedAttentionHead`;
            ``in_channels`` and ``embed_dim`` are CLIP's.
        only_filled: masks that cover no place of CLIP's last map are named by the proposals' own
            classes alone; None for what is published: with ResNets.
        resize_masks_first: masks are resized to the image's own size before their sigmoid, as
            published where panoptic or instance masks are found, too; else the sums are resized.
        drawn_words: fields of :class:`~ovseg.training.drawn_words.DrawnWords`: words that change
            from step to step of a training; None for the same ones, as published.
        settings: other arguments of :class:`MaskSegmentor`. Published models show the 14 templates
            ``vild``, let the best synonym of a class count (``combine='max'``), and weigh the
            masks' classes by 0.4 where the training had them and by 0.8 elsewhere.

    Raises:
        UserError: settings that do not fit each other, with the config key.

    Source: FC-CLIP (arXiv 2308.02487); bytedance/fc-clip for constants.
    """

    # Torch's modules are typed as if they held nothing but modules and tensors.
    clip: Any
    mask_classifier: PooledClassifier
    pyramid: ConvNeXtPyramid | ResNetPyramid

    _masks_of_segments = staticmethod(masks_resized_first)
    checkpoint_ignore: ClassVar[tuple[str, ...]] = (_TEACHER,)

    def __init__(
        self,
        clip: Mapping[str, Any],
        proposals: Mapping[str, Any],
        only_filled: bool | None = None,
        resize_masks_first: bool = True,
        drawn_words: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        loaded = load_clip(**clip)
        pyramid = clip_pyramid(loaded.model.visual)
        is_resnet = isinstance(pyramid, ResNetPyramid)
        self._only_filled = is_resnet if only_filled is None else only_filled
        is_random = clip.get('pretrained') == 'random'
        decoder = {'in_channels': pyramid.channels, 'embed_dim': pyramid.embed_dim, **proposals}
        super().__init__(
            loaded,
            decoder,
            PooledClassifier(pyramid, self._only_filled, LARGEST_SCALE),
            backbone=pyramid,
            words_wait=is_random,
            **settings,
        )
        self.pyramid = pyramid
        # The rules of the release, which a config may change one by one.
        self.segment_settings = read_settings(
            SegmentSettings,
            {**_RELEASED_SEGMENTS, **(self.inference_settings.segments or {})},
            'model.test_cfg.segments',
        )
        self._random_clip, self._resize_masks_first = is_random, resize_masks_first
        self._drawn_words = DrawnWords.from_config(drawn_words)
        # Masks are cut off at a threshold: what they come from stays in float32, as published.
        keep_precision(self.proposals)
        keep_precision(self.clip.visual)
        self._read_scale()

    def _read_scale(self) -> None:
        """CLIP's own temperature, at most 100, for the masks' cosines."""
        scale = min(float(self.clip.logit_scale.exp()), LARGEST_SCALE)
        self.mask_classifier = PooledClassifier(self.pyramid, self._only_filled, scale)

    @classmethod
    @override
    def needs_checkpoint(cls, config: Mapping[str, Any]) -> bool:
        return True

    # Images ----------------------------------------------------------------------------------

    @override
    @torch.no_grad()
    def encode(self, images: Images, window_batch: int | None = None) -> list[Any]:
        """Proposes masks and looks at each; where masks follow words, both wait for these.

        A :class:`ProposalEncoding` an image, or a :class:`WordlessEncoding`.
        """
        if not self.proposals.is_guided:
            return super().encode(images, window_batch)
        padded = pad_to_divisor(images.inputs)
        with stage('backbone'):
            levels = self.levels_of(padded)
        with stage('proposals'):
            maps = self.proposals.pixel_maps(levels)
        return [
            WordlessEncoding(
                images=images[number : number + 1],
                maps=each,
                levels=[level[number : number + 1] for level in levels],
                text_space=self.text.space,
                propose=self._propose_for,
            )
            for number, each in enumerate(maps.single())
        ]

    @torch.no_grad()
    def _propose_for(self, encoding: WordlessEncoding, classifier: Classifier) -> ProposalEncoding:
        with stage('proposals'):
            found = self.proposals.propose(encoding.maps, classifier.weight)
        padded_size = _padded_size(pad_to_divisor(encoding.images.inputs))
        proposals = image_proposals(found, padded_size, encoding.images.size)
        (seen,) = self._seen(encoding.images, proposals, encoding.levels)
        return seen

    @override
    def levels_of(self, padded: Tensor) -> Sequence[Tensor]:
        return self.pyramid.levels(padded.float())

    @override
    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """CLIP's maps of images padded to multiples of 32.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
        """
        return self.levels_of(pad_to_divisor(inputs))

    @override
    def unasked(self, encoding: Any) -> Any:
        return encoding.unasked() if isinstance(encoding, WordlessEncoding) else encoding

    @torch.no_grad()
    def class_probabilities(self, encoding: ProposalEncoding, classifier: Classifier) -> Tensor:
        """Probabilities (Q, K + 1) of the classes and of void, for each mask.

        Args:
            encoding: from :meth:`encode`.
            classifier: its rows are asked; the best of a class is its own.
        """
        encoding = encoding.asked(classifier)
        of_queries = self.proposals.class_logits(encoding.proposals.embeddings, classifier)
        if not self.ensemble.enabled:
            return of_queries.softmax(-1)
        valid, of_masks = encoding.features.valid, torch.zeros_like(of_queries[:, :-1])
        of_masks[valid] = self.mask_logits(encoding, classifier)
        weight = class_weights(
            classifier.seen,
            self.ensemble.weight,
            self.ensemble.unseen_weight,
            classifier.num_classes,
        ).to(of_queries)
        return geometric_ensemble(of_queries, of_masks, weight * valid[:, None])

    def mask_logits(self, encoding: ProposalEncoding, classifier: Classifier) -> Tensor:
        """Class logits (N, K) of the valid masks by CLIP's own map.

        Args:
            encoding: from :meth:`encode`.
            classifier: its rows are asked.
        """
        return self.mask_classifier.class_logits(encoding.features, classifier)

    @override
    def _score_proposals(
        self, encoding: ProposalEncoding, classifier: Classifier
    ) -> ProposalScores:
        """Scores of all masks, a column a class with words; void has its share and no column."""
        scores = released_scores(self.class_probabilities(encoding, classifier))
        scores = scores[:, classifier.class_index[classifier.groups.first_rows]]
        check_scores(scores)
        return ProposalScores(scores, torch.arange(len(scores), device=scores.device))

    @override
    def rule(self, classifier: Classifier) -> DecisionRule:
        """Scores are those of classes already: the best synonym was chosen mask by mask."""
        return one_row_a_class(classifier).rule(
            self.scores_are_probabilities, self.inference_settings.normalize_scores
        )

    @override
    def scores(
        self,
        encoding: ProposalEncoding,
        classifier: Classifier,
        size: tuple[int, int],
        budget: MemoryBudget | None = None,
    ) -> RowMap:
        """Sums of masks weighed by their scores, a map a class; at least 0, not normalised."""
        encoding = encoding.asked(classifier)
        found = self.score_proposals(encoding, classifier)
        return WeighedMasks(self._masks_of(encoding.proposals.maps, size), found.scores)

    @property
    def _masks_of(self) -> Any:
        return masks_resized_first if self._resize_masks_first else masks_at

    # Things and stuff ------------------------------------------------------------------------

    @override
    def _judged(
        self, encoding: ProposalEncoding, classifier: Classifier | None
    ) -> tuple[Classifier, WindowMaps, Tensor]:
        """A mask whose best class is void is no segment."""
        asked, encoding, scores = self._with_void(encoding, classifier)
        queries = (scores.argmax(1) < scores.shape[1] - 1).nonzero().flatten()
        return asked, select_queries(encoding.proposals.maps, queries), scores[queries, :-1]

    @override
    def _judged_instances(
        self, encoding: ProposalEncoding, classifier: Classifier | None
    ) -> tuple[Classifier, WindowMaps, Tensor]:
        """Void only takes its share of the scores."""
        asked, encoding, scores = self._with_void(encoding, classifier)
        return asked, encoding.proposals.maps, scores[:, :-1]

    def _with_void(
        self, encoding: ProposalEncoding, classifier: Classifier | None
    ) -> tuple[Classifier, ProposalEncoding, Tensor]:
        """Who is asked, the masks, and their scores (Q, K + 1), void last."""
        asked = self.classifier if classifier is None else classifier.to(self.device)
        asked.check_model(encoding.text_space)
        encoding = encoding.asked(asked)
        scores = released_scores(self.class_probabilities(encoding, asked))
        check_scores(scores)
        return asked, encoding, scores

    # Training --------------------------------------------------------------------------------

    @override
    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of the decoder; CLIP learns nothing.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor, sides multiples of 32.
            data_samples: with ``gt_instances`` (a mask and a label each), or ``gt_sem_seg``.
        """
        with torch.no_grad(), stage('backbone'):
            levels = self.levels_of(inputs)
        losses, _ = self._supervise(levels, self._targets(data_samples), _padded_size(inputs))
        return losses

    def _supervise(
        self,
        levels: Sequence[Tensor],
        targets: Sequence[InstanceData],
        size: tuple[int, int],
        teacher: tuple[CLIPPyramid, Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], LayerOutputs]:
        """Losses of the decoder, by the words of this step.

        Args:
            levels: of the images, without gradient.
            targets: of :meth:`_targets`.
            size: (height, width) of the images.
            teacher: the CLIP that knows what targets show, and its last map; None for the one that
                the levels come from.
        """
        classifier = self.classifier
        taught: list[Tensor] | None = None
        if self._drawn_words.draws or self.proposals.relation_weight:
            pyramid, dense = teacher or (self.pyramid, levels[-1])
            taught = target_embeddings(pyramid, dense, targets)
            scale = self.mask_classifier.scale
            classifier, targets = self._drawn_words.draw(classifier, targets, taught, scale)
        return self.proposals.supervise(levels, classifier, targets, size, taught)

    def _targets(self, data_samples: Sequence[Any]) -> list[InstanceData]:
        return [targets_of(sample, self.proposals.ignore_index) for sample in data_samples]

    # Checkpoints and protocols ---------------------------------------------------------------

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our keys for a checkpoint of the published format; one of ours passes as it is.

        A file that holds a whole CLIP replaces that of the config, and words are encoded anew.

        Args:
            state: tensors by name.

        Raises:
            UserError: no weights for CLIP, or weights that do not fit.
        """
        own = from_fcclip(state)
        if _WHOLE_CLIP in own:
            # Options of the decoder that no published file has begin as they are.
            options = self.proposals.option_weights()
            own |= {f'proposals.{name}': value for name, value in options.items()}
            clip = {key[len(_CLIP) :]: own.pop(key) for key in list(own) if key.startswith(_CLIP)}
            load_clip_weights(self.clip, clip, 'the checkpoint')
            self.clip_weights = 'of the checkpoint'
            self._read_scale()
            self.words.wait = False
            self.words.forget()
            own |= self._kept_of_clip()
        elif self._random_clip:
            raise UserError(
                "the checkpoint holds no CLIP and model.clip.pretrained is 'random'; name the "
                'weights of CLIP in the config'
            )
        return own

    def _kept_of_clip(self) -> dict[str, Tensor]:
        """Weights of CLIP that a checkpoint of ours holds: none, CLIP is frozen."""
        return {}

    def to_published(self) -> dict[str, Tensor]:
        """The state dict in the published format, CLIP's weights included."""
        clip = self.clip.state_dict(prefix=_CLIP)
        weights = loss_weights(self.num_classes, self.proposals.no_object_weight)
        own = self.state_dict()
        own.pop('proposals.relation_scale', None)  # which only trains
        return {**to_fcclip({**own, **clip}), **weights}

    @override
    def protocol(self) -> dict[str, Any]:
        own = self.ensemble
        weights = f'weights {own.weight} (seen) and {own.unseen_weight} (others)'
        return {
            **super().protocol(),
            'mask_classifier': 'CLIP pooled in masks',
            'ensemble': weights if own.enabled else 'off',
            'resize': 'masks first' if self._resize_masks_first else 'sums of masks',
            **({'masks': 'follow the words'} if self.proposals.is_guided else {}),
        }


def one_row_a_class(classifier: Classifier) -> Classifier:
    """A classifier with the first row of each class that has any: how scores of classes are read.

    Args:
        classifier: whose classes they are.
    """
    first = classifier.groups.first_rows
    return Classifier(
        weight=classifier.weight[first],
        class_index=classifier.class_index[first],
        num_classes=classifier.num_classes,
        logit_scale=classifier.logit_scale,
        rejection=classifier.rejection,
        background_index=classifier.background_index,
    )


def targets_of(sample: Any, ignore_index: int) -> InstanceData:
    """What a data sample holds: a mask and a label for each thing and stuff.

    Args:
        sample: with ``gt_instances`` of ``labels`` (n,) and ``masks`` (n, H, W); or ``gt_sem_seg``,
            in which each class is one mask, or each segment where ``segment_labels`` tells their
            classes (:class:`~ovseg.datasets.panoptic_targets.SegmentNumbers`).
        ignore_index: pixels of nobody in label maps.
    """
    found = getattr(sample, 'gt_instances', None)
    if found is not None:
        return InstanceData(labels=found.labels.long(), masks=found.masks.long())
    target = class_masks(sample.gt_sem_seg.data.squeeze(0), ignore_index)
    classes = getattr(sample, 'segment_labels', None)
    if classes is not None:
        table = torch.tensor(classes, dtype=torch.long, device=target.labels.device)
        target.labels = table[target.labels]
    return target


def _padded_size(inputs: Tensor) -> tuple[int, int]:
    return inputs.shape[2], inputs.shape[3]
