"""What every segmentor is: three verbs, and the only way from images to their labels.

    encode(Images) -> encodings          once an image
    scores(encoding, classifier, size)   -> a map that is read by rows
    finish(decision, encoding)           -> the decision, its pixels moved; most methods have none

Everything else is here, once: strips within a memory budget, paddings, flips, scores on request,
mmseg's ``predict``, and what tools ask about a model before it is built.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.exemplars.taught import Taught
from ovseg.images import Images
from ovseg.precision import casts, exact_parts_kept, forget_products
from ovseg.regions.mask_instances import Instances
from ovseg.regions.mask_segments import Segments, SegmentSettings
from ovseg.scores.decide import Decision, decide
from ovseg.scores.encoding import ImageEncoding
from ovseg.scores.expert_map import Expert, ExpertMap
from ovseg.scores.inference_settings import InferenceSettings
from ovseg.scores.row_map import RowMap
from ovseg.segmentors.fitted_rules import check_fit
from ovseg.segmentors.mmseg_doors import MMSegDoors
from ovseg.segmentors.samples import batches_of, by_size, flipped_axes, stuff_asked_for
from ovseg.segmentors.words import Words
from ovseg.stages import stage
from ovseg.text import Classifier
from ovseg.text.decision_rule import DecisionRule
from ovseg.text.experts import ExpertClassifier, refuse_experts
from ovseg.torch_modes import evaluating, quick_torch
from ovseg.vocabulary import Rejection, Vocabulary

# Below any real log-probability; keeps classes that no row stands for finite.
_SMALLEST_PROBABILITY = 1e-12


class Segmentor(MMSegDoors, BaseSegmentor):
    """Base of all segmentors; before an mmseg class, if any, in the list of bases.

    Attributes:
        reads: what :meth:`encode` looks at beside the inputs, of ``{'originals', 'names',
            'paths'}``; paths are names of which nothing but the folders is read.
        finds_segments: whether :meth:`find_segments` tells things apart.
        takes_templates: whether a model of this kind encodes words in sentences of the user's.
        frozen_prefixes: parts whose weights are loaded in the constructor and not saved.
        networks: parts from other packages whose products :func:`~ovseg.precision.set_precision`
            casts; our encoders say for themselves that it does.
        inference_settings: the ``test_cfg``.
        segment_settings: which masks become segments where nobody says otherwise; None for models
            that propose none.
        words: the present vocabulary and its classifier.
    """

    reads: frozenset[str] = frozenset()
    finds_segments: ClassVar[bool] = False
    takes_templates: ClassVar[bool] = False
    frozen_prefixes: ClassVar[tuple[str, ...]] = ()
    networks: ClassVar[tuple[str, ...]] = ()
    inference_settings: InferenceSettings
    segment_settings: SegmentSettings | None = None
    words: Words
    _fit_checked: Vocabulary | None = None

    # Before a model is built ----------------------------------------------------------------

    @classmethod
    def needs_checkpoint(cls, config: Mapping[str, Any]) -> bool:
        """Whether a model of this config would segment with untrained weights.

        Args:
            config: the model's settings.
        """
        return True

    @classmethod
    def place_checkpoint(cls, config: dict[str, Any], checkpoint: str | Path) -> str | Path | None:
        """Puts a file where a model of this config takes it from.

        Args:
            config: the model's settings; changed in place where they name the file.
            checkpoint: a file, or a name that the settings know.

        Returns:
            What is to be loaded into the model once it is built, or None.
        """
        return checkpoint

    @classmethod
    def randomise(cls, config: dict[str, Any]) -> None:
        """Takes out of a config what loads weights: for measuring time, not for masks.

        Args:
            config: the model's settings; changed in place.
        """

    # The three verbs ------------------------------------------------------------------------

    @abstractmethod
    def encode(self, images: Images, window_batch: int | None = None) -> list[Any]:
        """Runs the encoders: all that any words need to be asked about the images.

        Args:
            images: of one size.
            window_batch: windows that go through an encoder at once, instead of the setting of
                ``test_cfg``.

        Returns:
            One :class:`~ovseg.scores.encoding.ImageEncoding` an image.
        """

    @abstractmethod
    def scores(
        self,
        encoding: Any,
        classifier: Classifier,
        size: tuple[int, int],
        budget: MemoryBudget | None = None,
    ) -> RowMap:
        """Scores of an image for each row of a classifier, or of what :meth:`rule` decides.

        Args:
            encoding: from :meth:`encode`.
            classifier: its rows are asked.
            size: (H, W) of the result in pixels.
            budget: what maps may hold while they are read; None for that of ``test_cfg``.
        """

    @property
    def moves_pixels(self) -> bool:
        """Whether :meth:`finish` gives pixels other labels; scores are then measured after it."""
        return False

    def finish(self, decision: Decision, encoding: Any) -> Decision:
        """The decision after what may move pixels between classes.

        Args:
            decision: of the scores.
            encoding: from :meth:`encode`.
        """
        return decision

    def unasked(self, encoding: Any) -> Any:
        """The encoding as if nothing had been asked of it, which costs nothing.

        Models that keep answers with an image say them again in no time: who measures what a
        question costs asks an image that does not know it.

        Args:
            encoding: from :meth:`encode`; left as it is.
        """
        return encoding

    # Weights --------------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Segmentor:
        """What ``to``, ``half``, ``cuda`` and their like do; constants keep their precision."""
        text = getattr(self, 'text', None)
        is_cast = casts(self, fn)
        space = text.space if text is not None and is_cast else None
        with exact_parts_kept(self):
            super()._apply(fn, recurse)
        if is_cast:
            forget_products(self)
        if text is not None and space is not None:
            text.stay_in(space)
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # torch comes here after a property that raised: its own words are the better ones.
            if isinstance(getattr(type(self), name, None), property):
                return object.__getattribute__(self, name)
            raise

    # Words ----------------------------------------------------------------------------------

    @abstractmethod
    def build_classifier(self, vocabulary: Vocabulary, rows: str | None = None) -> Classifier:
        """The classifier of a vocabulary on this model's features.

        Args:
            vocabulary: the classes.
            rows: a ``*_clip_text.pth`` file with one row a class, instead of the text tower; for
                models that have one.

        Raises:
            UserError: words that the model cannot take.
        """

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the model's parameters are."""

    @property
    def scores_are_probabilities(self) -> bool:
        """Whether score maps hold probabilities instead of scores."""
        return False

    def set_vocabulary(
        self, source: Any, rejection: Rejection | None = None, rows: str | None = None
    ) -> None:
        """Changes the classes of predictions; see :meth:`Words.set`."""
        self.words.set(source, rejection, rows)

    @property
    def taught(self) -> Taught | None:
        """Examples beside the words; None for a model that takes none."""
        return None

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The present classes."""
        return self.words.vocabulary

    @property
    def classifier(self) -> Classifier:
        """The classifier of the present vocabulary, on the model's device."""
        return self.words.classifier

    @property
    def num_classes(self) -> int:
        """K, the number of classes of the present vocabulary, background included."""
        return 0 if self.vocabulary is None else len(self.vocabulary)

    @property
    def out_channels(self) -> int:
        """The same under mmseg's name."""
        return self.num_classes

    @property
    def budget(self) -> MemoryBudget:
        """What deciding an image may take at once."""
        return MemoryBudget(self.inference_settings.strip_megabytes)

    # From images to labels ------------------------------------------------------------------

    def segment(
        self,
        encoding: ImageEncoding,
        size: tuple[int, int],
        classifier: Classifier | None = None,
        *,
        keep_scores: bool = False,
        measure: bool = False,
        budget: MemoryBudget | None = None,
    ) -> Decision:
        """Labels of an encoded image.

        Args:
            encoding: from :meth:`encode`.
            size: (H, W) of the labels in pixels.
            classifier: another one than the model's.
            keep_scores: also keep class probabilities; their memory grows with the classes.
            measure: also measure the probability of each pixel's own label.
            budget: instead of that of ``test_cfg``.

        Raises:
            UserError: the classifier's rows were made by another text model than the features.
        """
        asked = self.classifier if classifier is None else classifier.to(self.device)
        if classifier is None:
            self._check_fit(asked)
        asked.check_model(encoding.text_space)
        budget = self.budget if budget is None else budget
        size = (size[0], size[1])
        with stage('scores'):
            scores, rule = self._scores_and_rule(encoding, asked, size, budget)
        with stage('decide'):
            first = measure and not self.moves_pixels
            decision = decide(scores, rule, budget, first, keep_scores)
        with stage('finish'):
            decision = self.finish(decision, encoding)
        return decision.measured(budget) if measure else decision

    def _check_fit(self, asked: Classifier) -> None:
        """Once for a vocabulary: whether its rejection rule was fitted to scores of this kind."""
        vocabulary = self.vocabulary
        if asked.rejection.fitted is not None and vocabulary is not self._fit_checked:
            assert vocabulary is not None  # it has a classifier
            check_fit(self, vocabulary, asked)
            self._fit_checked = vocabulary

    def _scores_and_rule(
        self, encoding: Any, asked: Classifier, size: tuple[int, int], budget: MemoryBudget
    ) -> tuple[RowMap, DecisionRule]:
        """Scores of the rows and how they are decided; those of template experts fused."""
        scores, rule = self.scores(encoding, asked, size, budget), self.rule(asked)
        if not isinstance(asked, ExpertClassifier):
            return scores, rule
        experts = [
            Expert(labels, self.scores(encoding, each, size, budget), self.rule(each))
            for labels, each in asked.experts
        ]
        fused = ExpertMap(scores, rule, experts)
        return fused, fused.fused_rule

    def rule(self, classifier: Classifier) -> DecisionRule:
        """How this model's scores are decided.

        Args:
            classifier: whose rows were asked.
        """
        return classifier.rule(
            self.scores_are_probabilities, self.inference_settings.normalize_scores
        )

    def find_segments(
        self,
        encoding: Any,
        size: tuple[int, int],
        classifier: Classifier | None = None,
        *,
        stuff: Collection[int] = frozenset(),
        settings: SegmentSettings | None = None,
        budget: MemoryBudget | None = None,
    ) -> Segments:
        """Segments of an encoded image: things one by one, each stuff as one.

        Args:
            encoding: from :meth:`encode`.
            size: (H, W) of the id map in pixels.
            classifier: another one than the model's.
            stuff: classes that are no things.
            settings: which masks become segments; None for ``segment_settings``.
            budget: instead of that of ``test_cfg``.

        Raises:
            UserError: a model that labels pixels and proposes no masks.
        """
        raise UserError(f'{type(self).__name__} labels pixels and proposes no masks')

    def find_instances(
        self,
        encoding: Any,
        size: tuple[int, int],
        classifier: Classifier | None = None,
        *,
        stuff: Collection[int] = frozenset(),
        budget: MemoryBudget | None = None,
    ) -> Instances | None:
        """Things of an encoded image whose masks may overlap, for average precision.

        Args:
            encoding: from :meth:`encode`.
            size: (H, W) of the masks in pixels.
            classifier: another one than the model's.
            stuff: classes that are no things.
            budget: instead of that of ``test_cfg``.

        Returns:
            None for a model whose segments are all that it has.
        """
        return None

    # mmseg ----------------------------------------------------------------------------------

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None,
        keep_scores: bool | None = None,
    ) -> list[SegDataSample]:
        """Fills ``pred_sem_seg`` (1, H, W) and, if asked for, ``seg_logits`` (K, H, W).

        Of samples with ``stuff_labels``, as panoptic data sets give them, ``pred_segments`` is
        filled in instead, a :class:`~ovseg.regions.mask_segments.Segments`, and, if the model
        finds some, ``pred_instances``, :class:`~ovseg.regions.mask_instances.Instances`.

        Args:
            inputs: (B, 3, H, W), from the data preprocessor.
            data_samples: with ``ori_shape``, and ``img_padding_size``, ``flip`` and
                ``stuff_labels`` where they apply; None means that the input size is the original
                size.
            keep_scores: whether log-probabilities are filled in; None as ``test_cfg`` says.

        Raises:
            UserError: features or scores that are not numbers, or weights that were never given.
        """
        self.check_weights_were_given()
        with quick_torch(), evaluating(self):
            return self._predict(inputs, data_samples, keep_scores)

    def _predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None, keep_scores: bool | None
    ) -> list[SegDataSample]:
        keep = self.inference_settings.save_logits if keep_scores is None else keep_scores
        samples = data_samples or [
            SegDataSample(metainfo={'ori_shape': tuple(inputs.shape[-2:])}) for _ in inputs
        ]
        encodings: list[ImageEncoding] = []
        for images in batches_of(inputs, samples, self.reads):
            with stage('encode'):
                encodings += self.encode(images)
        check_encodings(encodings, type(self).__name__)
        for encoding, sample in zip(encodings, samples, strict=True):
            stuff = stuff_asked_for(sample)
            if stuff is not None:
                size = sample.ori_shape[:2]
                found = self.find_segments(encoding, size, stuff=stuff)
                instances = self.find_instances(encoding, size, stuff=stuff)
                sample.set_field(found, 'pred_segments', dtype=Segments)
                if instances is not None:
                    sample.set_field(instances, 'pred_instances', dtype=Instances)
                continue
            axes = flipped_axes(sample)
            decision = self.segment(encoding, sample.ori_shape[:2], keep_scores=keep)
            sample.pred_sem_seg = PixelData(data=decision.labels.flip(axes)[None])
            if decision.scores is not None:
                probabilities = decision.scores.flip([axis + 1 for axis in axes])
                logits = probabilities.clamp_min(_SMALLEST_PROBABILITY).log()
                sample.seg_logits = PixelData(data=logits)
        return samples

    def test_step(self, data: Any) -> list[SegDataSample]:
        """Predictions of a batch of a data loader; its images may differ in size."""
        return by_size(super().test_step, data)

    def val_step(self, data: Any) -> list[SegDataSample]:
        """The same while a training is validated."""
        return by_size(super().val_step, data)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Class scores at the input size, (B, K, H, W): mmseg's name for it."""
        size, classifier = (inputs.shape[2], inputs.shape[3]), self.classifier
        refuse_experts(classifier, 'encode_decode')
        maps = [
            self.scores(encoding, classifier, size).whole(self.budget)
            for encoding in self.encode(Images(inputs))
        ]
        return self.rule(classifier).groups.class_scores(torch.stack(maps))

    def _forward(self, inputs: Tensor, data_samples: list | None = None) -> Tensor:
        return self.encode_decode(inputs, [])

    # What a number means --------------------------------------------------------------------

    @abstractmethod
    def protocol(self) -> dict[str, Any]:
        """The facts that give a number its meaning, as plain data."""


def check_encodings(encodings: Sequence[Any], name: str) -> None:
    """Stops at features that are not numbers: all labels would be class 0.

    Args:
        encodings: of images.
        name: of the model, for the message.

    Raises:
        UserError: NaN or infinity in an encoding.
    """
    if not all(getattr(encoding, 'is_finite', True) for encoding in encodings):
        raise UserError(
            f'The model {name} gave features that are not numbers: its weights hold NaN or '
            'infinity, or are too large for their precision; load an intact file.'
        )
