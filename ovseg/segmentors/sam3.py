"""SAM 3 as a semantic segmentor: an image once, then each phrase that may be there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor
from typing_extensions import override

from ovseg.budget import MemoryBudget
from ovseg.encoders.sam3 import EMBEDDED, load_sam3
from ovseg.encoders.sam3_concepts import ConceptFeatures, ConceptModel, square_pixels
from ovseg.encoders.sam3_context import ContextSettings
from ovseg.errors import UserError
from ovseg.images import Images
from ovseg.images.windows import Box, cut_windows
from ovseg.regions.mask_instances import Instances, find_instances
from ovseg.regions.mask_segments import Segments, SegmentSettings, find_segments
from ovseg.registry import MODELS, build_part
from ovseg.scores.concept_rule import ConceptDecision, ConceptRule
from ovseg.scores.encoding import image_boxes
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.scores.phrase_maps import Fusion, PhraseMaps
from ovseg.scores.preselection import PreviewSettings, active_phrases
from ovseg.scores.row_map import RowMap, WindowMaps, resized
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.mmseg_doors import refuse_pretrained
from ovseg.segmentors.sam3_answers import ConceptEncoding, ImageAnswers, KeptAnswers, ask_missing
from ovseg.segmentors.sam3_bank import read_bank
from ovseg.segmentors.sam3_boxes import VISUAL, keys_beside, shown_boxes, shown_labels
from ovseg.segmentors.sam3_competition import CompetingMaps, Competition, log_shares
from ovseg.segmentors.sam3_preselection import DensePreselection
from ovseg.segmentors.sam3_rules import settings_of
from ovseg.segmentors.sam3_segments import named_masks
from ovseg.segmentors.sam3_words import PhraseClassifier, PhraseRows
from ovseg.segmentors.words import Words
from ovseg.settings import read_settings
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary
from ovseg.weight_files import drop_frozen

Budget = Literal['dense', 'preselected', 'full']
# Images at a time: one of 1008 pixels takes 2 GB in float32 while it is encoded.
_IMAGES_AT_ONCE = 1


@MODELS.register_module()
class SAM3Segmentor(Segmentor):
    """Segments by asking SAM 3 for each phrase of a vocabulary.

    Args:
        sam3: arguments of :func:`~ovseg.encoders.sam3.load_sam3`.
        rule: a name of :data:`~ovseg.segmentors.sam3_rules.RULES`; the settings that follow are
            changes of it.
        image_size: side in pixels of the square that images, or windows, are squashed to; None for
            that of the config of the weights (1008).
        fusion: fields of :class:`~ovseg.scores.phrase_maps.Fusion`.
        decision: fields of :class:`~ovseg.scores.concept_rule.ConceptDecision`.
        canonical: whether words of benchmarks are replaced by what people say.
        context: fields of :class:`~ovseg.encoders.sam3_context.ContextSettings`; False for none.
        preview: fields of :class:`~ovseg.scores.preselection.PreviewSettings`; False for none.
        competition: fields of :class:`~ovseg.segmentors.sam3_competition.Competition`; False for
            none.
        preselection: arguments of :class:`~ovseg.segmentors.sam3_preselection.DensePreselection`:
            a dense model that says which classes may be there.
        budget: ``'full'`` asks for every phrase (or those of the preview), ``'preselected'`` for
            those of the preselection, ``'dense'`` for none: the dense model's own labels.
        bank: a file of :func:`~ovseg.segmentors.sam3_bank.save_bank` with a prompt a class.
        vocabulary: see :class:`~ovseg.segmentors.TrainingFreeSegmentor`.
        text: ``cache_dir`` of the phrases on disk.
        test_cfg: fields of :class:`InferenceSettings`; ``mode`` ``'whole'`` or ``'slide'``.
        block_megabytes: what a block of phrases may take at once.
        data_preprocessor: as in mmseg; images must reach the model at their own size.
        init_cfg: unused, for mmseg's builders.
        pretrained: None, likewise.
        train_cfg: unused, likewise.

    Raises:
        UserError: settings that do not fit each other, with the config key; see also the loader.
    """

    frozen_prefixes: ClassVar[tuple[str, ...]] = ('sam3.', 'preselection.')
    finds_segments: ClassVar[bool] = True
    # The authors' threshold of an instance's score.
    segment_settings = SegmentSettings(score_threshold=0.5)

    def __init__(
        self,
        sam3: Mapping[str, Any],
        rule: str = 'segearth',
        image_size: int | None = None,
        fusion: Mapping[str, Any] | None = None,
        decision: Mapping[str, Any] | None = None,
        canonical: bool | None = None,
        context: Mapping[str, Any] | bool | None = None,
        preview: Mapping[str, Any] | bool | None = None,
        competition: Mapping[str, Any] | bool | None = None,
        preselection: Mapping[str, Any] | None = None,
        budget: Budget = 'full',
        bank: str | Path | None = None,
        vocabulary: Any = None,
        text: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        block_megabytes: float = 2048.0,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
        pretrained: None = None,
        train_cfg: Any = None,
    ) -> None:
        refuse_pretrained(pretrained)
        if data_preprocessor is None:
            data_preprocessor = {
                'type': 'SegDataPreProcessor',
                'mean': [127.5] * 3,
                'std': [127.5] * 3,
                'bgr_to_rgb': True,
                'size_divisor': 1,
            }
        super().__init__(data_preprocessor=build_part(data_preprocessor), init_cfg=init_cfg)
        self.rule_name = rule
        boxes = settings_of(
            rule,
            {
                'fusion': fusion,
                'decision': decision,
                'canonical': canonical,
                'context': context,
                'preview': preview,
                'competition': competition,
            },
        )
        self.fusion = read_settings(Fusion, boxes.get('fusion'), 'model.fusion')
        self.decision = read_settings(ConceptDecision, boxes.get('decision'), 'model.decision')
        self.context = _box(ContextSettings, boxes, 'context')
        self.preview = _box(PreviewSettings, boxes, 'preview')
        self.competition = _box(Competition, boxes, 'competition')
        self.inference_settings = InferenceSettings.from_config(test_cfg)
        # Instances of windows end at their edges.
        self.finds_segments = self.inference_settings.mode == 'whole'  # type: ignore[misc]  # of this one
        self.block_budget = MemoryBudget(block_megabytes)
        self._check(budget, preselection is not None)
        self.sam3 = ConceptModel(load_sam3(**sam3))
        self.image_size = image_size or self.sam3.image_size
        for name, side in (('image_size', self.image_size), *self._preview_side()):
            try:
                self.sam3.check_size(side)
            except ValueError as error:
                raise UserError(f'model.{name}: {error}; choose one') from error
        # Moves with the model, whatever precision its parts keep.
        self.register_buffer('_place', torch.empty(0), persistent=False)
        self.preselection = None if preselection is None else DensePreselection(**preselection)
        self.budget_name: Budget = budget
        self.text = PhraseRows(
            self.sam3,
            text,
            self.context,
            bool(boxes.get('canonical', False)),
            None if bank is None else read_bank(bank, self.sam3),
        )
        self._answers = KeptAnswers()
        self.words = Words(self)
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)
        self.register_state_dict_post_hook(drop_frozen)

    def _check(self, budget: str, has_dense: bool) -> None:
        if self.inference_settings.mode == 'splice':
            raise UserError("test_cfg.mode of SAM3Segmentor must be 'whole' or 'slide'")
        if budget not in ('dense', 'preselected', 'full'):
            raise UserError(
                f"model.budget must be 'dense', 'preselected' or 'full', got {budget!r}"
            )
        if budget != 'full' and not has_dense:
            raise UserError(
                f'model.budget={budget!r} needs a dense model: set model.preselection.model'
            )

    def _preview_side(self) -> list[tuple[str, int]]:
        return [] if self.preview is None else [('preview.size', self.preview.size)]

    # Before a model is built ----------------------------------------------------------------

    @classmethod
    @override
    def needs_checkpoint(cls, config: Mapping[str, Any]) -> bool:
        return False

    @classmethod
    @override
    def place_checkpoint(cls, config: dict[str, Any], checkpoint: str | Path) -> str | Path | None:
        """A file or folder with SAM 3's weights, in any of the published formats."""
        config['sam3']['pretrained'] = str(checkpoint)
        return None

    @classmethod
    @override
    def randomise(cls, config: dict[str, Any]) -> None:
        if config['sam3'].get('model') not in EMBEDDED:  # whose weights are at hand
            config['sam3']['pretrained'] = 'random'
            if isinstance(config['sam3'].get('model', ''), str):
                config['sam3']['model'] = {}  # of the published size
        config.pop('bank', None)  # fits no other weights
        dense = (config.get('preselection') or {}).get('model')
        if isinstance(dense, dict):
            MODELS.get(dense['type']).randomise(dense)

    # Words ----------------------------------------------------------------------------------

    @override
    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        return self.text.classifier(vocabulary, rows)

    @property
    @override
    def device(self) -> torch.device:
        return self._place.device

    @override
    def rule(self, classifier: Classifier) -> ConceptRule:
        """Decides scores as they are, by absolute thresholds; see :class:`ConceptRule`."""
        names = classifier.vocabulary.names if isinstance(classifier, PhraseClassifier) else ()
        return ConceptRule(
            classifier.groups,
            1.0,
            classifier.rejection,
            classifier.background_index,
            sum_to_one=self.inference_settings.normalize_scores,
            decision=self.decision,
            class_thresholds=self.decision.thresholds(names, classifier.weight),
        )

    # Images ----------------------------------------------------------------------------------

    @override
    @torch.no_grad()
    def encode(self, images: Images, window_batch: int | None = None) -> list[ConceptEncoding]:
        pixels = self.pixels(images.inputs)
        boxes = image_boxes(images.size, self.inference_settings)
        count, space = len(boxes), self.text.space
        together = None
        if self.budget_name != 'dense':  # which needs nothing of SAM 3
            together = self._look(pixels, boxes, window_batch)
        return [
            ConceptEncoding(
                None if together is None else together[number * count : (number + 1) * count],
                boxes,
                images.size,
                image,
                space,
            )
            for number, image in enumerate(pixels)
        ]

    def _look(
        self, pixels: Tensor, boxes: list[Box], window_batch: int | None = None
    ) -> ConceptFeatures:
        """Features of the windows of images (B, 3, H, W) uint8, image by image."""
        # One size each, though the last ones are shifted back.
        windows = cut_windows(pixels, boxes)
        parts = [
            self.sam3.look(square_pixels(part, self.image_size))
            for part in windows.split(window_batch or _IMAGES_AT_ONCE)
        ]
        levels = tuple(torch.cat(each) for each in zip(*(p.levels for p in parts), strict=True))
        return replace(parts[0], levels=levels, geometry=torch.cat([p.geometry for p in parts]))

    def _features(self, encoding: ConceptEncoding) -> ConceptFeatures:
        """Those of an encoding; made now where the dense model alone had looked."""
        if encoding.features is not None:
            return encoding.features
        looks = self._answers.of(encoding).looks
        if 'features' not in looks:
            looks['features'] = self._look(encoding.image[None], encoding.boxes)
        return looks['features']

    def pixels(self, inputs: Tensor) -> Tensor:
        """Images (B, 3, H, W) uint8 RGB, as before the normalisation.

        Args:
            inputs: from the data preprocessor.
        """
        own = self.data_preprocessor
        inputs = inputs.float()
        if hasattr(own, 'mean'):
            inputs = inputs * own.std + own.mean
        # What is no number stays none for a byte; weights are to blame for those, not images.
        return inputs.round().clamp(0, 255).to(torch.uint8)

    @override
    def unasked(self, encoding: ConceptEncoding) -> ConceptEncoding:
        return replace(encoding)  # answers are kept by the object

    @override
    @torch.no_grad()
    def scores(
        self,
        encoding: ConceptEncoding,
        classifier: Classifier,
        size: tuple[int, int],
        budget: MemoryBudget | None = None,
    ) -> RowMap:
        """Scores in [0, 1] of the phrases; 0 for those that were not asked."""
        asked = _phrases_of(classifier)
        known = self._answers.of(encoding)
        if self.budget_name == 'dense':
            assert self.preselection is not None  # checked when made
            return self.preselection.row_shares(known.looks, encoding.image, asked, size)
        chosen = self.active(encoding, asked)
        maps = self._maps(encoding, known, asked, chosen, size)
        if self.competition is None:
            return maps
        shares = log_shares(self._features(encoding), encoding, asked, self.competition)
        return CompetingMaps(maps, resized(shares, maps.size), self.competition)

    def _maps(
        self,
        encoding: ConceptEncoding,
        known: ImageAnswers,
        asked: PhraseClassifier,
        chosen: Tensor,
        size: tuple[int, int],
    ) -> RowMap:
        seen, keys = self._features(encoding), self._ask(encoding, known, asked, chosen)
        is_chosen = set(chosen.tolist())
        rows = [
            [answers[key] if row in is_chosen else None for row, key in enumerate(keys)]
            for answers in known.windows
        ]
        template = seen.geometry.new_empty(0, dtype=torch.float32)
        size = (size[0], size[1])
        if len(encoding.boxes) == 1:
            return PhraseMaps(rows, [(0, 0, *size)], size, self.fusion, template)
        whole = PhraseMaps(rows, encoding.boxes, encoding.input_size, self.fusion, template)
        return resized(whole, size)

    def _ask(
        self,
        encoding: ConceptEncoding,
        known: ImageAnswers,
        asked: PhraseClassifier,
        chosen: Tensor,
    ) -> list[bytes]:
        """Asks what is not known yet of chosen rows, and returns the keys of all rows."""
        seen, shown = self._features(encoding), shown_labels(encoding.shown, asked)
        keys, labels = keys_beside(asked, shown), asked.class_index.tolist()
        for number, answers in enumerate(known.windows):
            window = seen[number : number + 1]
            for label in (None, *shown):  # all without boxes together
                index = {
                    keys[row]: row
                    for row in chosen.tolist()
                    if label == (labels[row] if labels[row] in shown else None)
                }
                phrases, tokens = asked.asked, None
                if label is not None:
                    tokens = self.sam3.box_tokens(window, *shown[label].tensors(window.geometry))
                    if not shown[label].with_words:
                        phrases = self.text.encode([VISUAL]).to(self.device)
                        index = dict.fromkeys(index, 0)
                ask_missing(
                    self.sam3,
                    window,
                    answers,
                    index,
                    phrases,
                    self.fusion,
                    self.block_budget,
                    shown=tokens,
                )
        return keys

    def show(
        self,
        encoding: ConceptEncoding,
        name: str,
        boxes: Sequence[Sequence[float]],
        absent: Sequence[Sequence[float]] = (),
        size: tuple[int, int] | None = None,
        with_words: bool = True,
    ) -> ConceptEncoding:
        """The encoding with boxes that say what a class means in this image.

        Args:
            encoding: of the image; stays as it is.
            name: of the class; boxes of before are replaced.
            boxes: (x1, y1, x2, y2) in pixels, end exclusive, around things that are meant.
            absent: likewise, around things that are not.
            size: (H, W) that the pixels count in; None for the input's.
            with_words: False asks for what the boxes show whatever the class is called.

        Raises:
            UserError: boxes that do not fit, or a model in windows.
        """
        if len(encoding.boxes) > 1:
            raise UserError(
                'boxes are shown in whole images, and this model looks at windows: set '
                "test_cfg.mode='whole'"
            )
        found = shown_boxes(boxes, absent, size or encoding.input_size, with_words)
        others = tuple(each for each in encoding.shown if each[0] != name)
        result = replace(encoding, shown=(*others, (name, found)))
        self._answers.share(encoding, result)
        return result

    def set_budget(self, budget: str) -> None:
        """Chooses how much is asked from now on.

        Args:
            budget: ``'dense'``, ``'preselected'`` or ``'full'``.

        Raises:
            UserError: another word, or there is no dense model.
        """
        self._check(budget, self.preselection is not None)
        self.budget_name = cast('Budget', budget)

    # Which phrases are asked ------------------------------------------------------------------

    @torch.no_grad()
    def active(self, encoding: ConceptEncoding, classifier: Classifier) -> Tensor:
        """Rows (A,) of a classifier, ascending, that an image is asked for.

        Args:
            encoding: of the image.
            classifier: of the words.
        """
        asked = _phrases_of(classifier)
        rows = torch.arange(len(asked.phrases))
        if self.budget_name == 'preselected':
            assert self.preselection is not None  # checked when made
            known = self._answers.of(encoding)
            classes = self.preselection.classes(known.looks, encoding.image, asked.vocabulary)
            is_asked = torch.isin(asked.class_index.cpu(), classes.cpu())
            return rows[is_asked | self._is_shown(encoding, asked)]
        if self.preview is None or len(rows) <= self.preview.at_most:
            return rows
        presence = self.preview_presence(encoding, asked)
        active = active_phrases(presence, self.preview.alpha, self.preview.at_most)[0]
        return rows[torch.isin(rows, active) | self._is_shown(encoding, asked)]

    def _is_shown(self, encoding: ConceptEncoding, asked: PhraseClassifier) -> Tensor:
        """Which rows (P,) have boxes in the image: people who draw them want an answer."""
        labels = torch.tensor(list(shown_labels(encoding.shown, asked)), dtype=torch.int64)
        return torch.isin(asked.class_index.cpu(), labels)

    @torch.no_grad()
    def preview_presence(self, encoding: ConceptEncoding, classifier: Classifier) -> Tensor:
        """Presence (P,) of the bare phrases in the small image, in [0, 1].

        Args:
            encoding: of the image.
            classifier: of the words.
        """
        assert self.preview is not None  # a model without one has no such look
        asked, known = _phrases_of(classifier), self._answers.of(encoding)
        missing = [row for row, key in enumerate(asked.keys) if key not in known.presence]
        side = self.preview.size
        if missing and 'preview' not in known.looks:
            known.looks['preview'] = self.sam3.look(square_pixels(encoding.image[None], side))
        size = self.block_budget.at_once(self.sam3.bytes_a_phrase(side, masks=False))
        for start in range(0, len(missing), size):
            block = missing[start : start + size]
            part = asked.bare[torch.tensor(block, device=self.device)]
            heads = self.sam3.ask(known.looks['preview'], part, ('presence',))
            assert heads.presence is not None  # asked for
            found = heads.presence.float().sigmoid().tolist()
            known.presence.update(
                (asked.keys[row], value) for row, value in zip(block, found, strict=True)
            )
        return torch.tensor([known.presence[key] for key in asked.keys])

    # Segments ---------------------------------------------------------------------------------

    @override
    @torch.no_grad()
    def find_segments(
        self,
        encoding: ConceptEncoding,
        size: tuple[int, int],
        classifier: Classifier | None = None,
        *,
        stuff: Collection[int] = frozenset(),
        settings: SegmentSettings | None = None,
        budget: MemoryBudget | None = None,
    ) -> Segments:
        """Segments of an encoded image: SAM 3's instances of things, a semantic map a stuff.

        A thing scores its instance's score, a stuff its presence. Published models score lower than
        MaskFormer's: None as settings takes SAM 3's threshold of 0.5.
        """
        asked, maps, scores = self._named(encoding, size, classifier, stuff)
        size = (size[0], size[1])
        if not maps.channels:
            nothing = torch.zeros(size, dtype=torch.int32, device=self.device)
            return Segments(nothing, ())
        return find_segments(
            maps,
            scores,
            size,
            self.budget if budget is None else budget,
            stuff=stuff,
            background=asked.background_index,
            settings=settings or self.segment_settings,
        )

    @override
    @torch.no_grad()
    def find_instances(
        self,
        encoding: ConceptEncoding,
        size: tuple[int, int],
        classifier: Classifier | None = None,
        *,
        stuff: Collection[int] = frozenset(),
        budget: MemoryBudget | None = None,
    ) -> Instances:
        """Instances of things, those above the rule's confidence."""
        asked, maps, scores = self._named(encoding, size, classifier, stuff)
        return find_instances(
            maps,
            scores,
            (size[0], size[1]),
            self.budget if budget is None else budget,
            stuff=stuff,
            background=asked.background_index,
        )

    def _named(
        self,
        encoding: ConceptEncoding,
        size: tuple[int, int],
        classifier: Classifier | None,
        stuff: Collection[int],
    ) -> tuple[PhraseClassifier, WindowMaps, Tensor]:
        """The classifier that is asked, masks of its phrases, and what they score."""
        if not self.finds_segments:
            raise UserError(
                'SAM3Segmentor in windows labels pixels and proposes no masks: set '
                "test_cfg.mode='whole'"
            )
        asked = _phrases_of(self.classifier if classifier is None else classifier.to(self.device))
        asked.check_model(encoding.text_space)
        chosen, known = self.active(encoding, asked), self._answers.of(encoding)
        keys = self._ask(encoding, known, asked, chosen)
        answers = {row: known.windows[0][keys[row]] for row in chosen.tolist()}
        return asked, *named_masks(answers, asked, (size[0], size[1]), stuff)

    # mmseg -----------------------------------------------------------------------------------

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The three levels of the squashed images, the finest first.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
        """
        return self.sam3.look(square_pixels(self.pixels(inputs), self.image_size)).levels

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """This method has nothing to train.

        Raises:
            UserError: always.
        """
        raise UserError(
            'SAM 3 is not trained here and has no loss; run tools/test.py with its config'
        )

    @override
    def protocol(self) -> dict[str, Any]:
        settings, words, fusion = self.inference_settings, self.words, self.fusion
        return {
            'model': self.sam3.name,
            'weights': self.sam3.weights,
            'rule': self.rule_name,
            'image_size': self.image_size,
            'confidence': fusion.confidence,
            'heads': [
                name
                for name, used in (('instances', fusion.instances), ('semantic', fusion.semantic))
                if used
            ],
            'measure': self.decision.measure,
            'preview': None if self.preview is None else self.preview.size,
            'budget': self.budget_name,
            'preselection': None if self.preselection is None else str(self.preselection),
            'mode': settings.mode,
            'window': settings.crop_size if settings.mode != 'whole' else None,
            'stride': settings.stride if settings.mode != 'whole' else None,
            **self.text.protocol(words.source, words.rejection),
        }


def _phrases_of(classifier: Classifier) -> PhraseClassifier:
    if not isinstance(classifier, PhraseClassifier):
        raise UserError(
            'SAM 3 is asked for phrases, and this classifier has rows of another model; make it by '
            'build_classifier of the SAM3Segmentor'
        )
    return classifier


def _box(kind: type, boxes: Mapping[str, Any], name: str) -> Any:
    """The settings of a box, None for a rule without it."""
    if name not in boxes:
        return None
    given = boxes[name]
    fields = cast('Mapping[str, Any]', {} if given is True else given)
    return read_settings(kind, fields, f'model.{name}')
