"""Images and words in, masks out: the Python interface for people."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, overload

import numpy as np
import torch

from ovseg.apis.asked import Asked
from ovseg.apis.building import build_model
from ovseg.apis.classifiers import KeptClassifiers
from ovseg.apis.contrast_words import ContrastWords
from ovseg.apis.encoded_image import EncodedImage
from ovseg.apis.loaded_image import ImageLoader, LoadedImage
from ovseg.apis.memory import BoundedMemory
from ovseg.apis.nearest_words import NearestWords, nearest_words
from ovseg.apis.one_class import beside_one_class, usual_background
from ovseg.apis.pretrained import folder_of_model, push_model, save_model
from ovseg.apis.results import SegmentationResult
from ovseg.apis.segments_result import SegmentsResult
from ovseg.apis.stream import Failed, Steps, answers_in_order, default_workers
from ovseg.apis.tasks import check_segment_task, no_words, stuff_labels
from ovseg.apis.teaching import taught_of, teach
from ovseg.budget import MemoryBudget
from ovseg.compiled import compile_encoders
from ovseg.config_files import read_config
from ovseg.devices import choose_device
from ovseg.errors import UserError, notify
from ovseg.exemplars import Bank, Rule, read_bank, write_bank
from ovseg.images import Images, resize_rule_of
from ovseg.images.batch import batch_of
from ovseg.images.reading import ImageSource, name_of
from ovseg.images.resize import ResizeRule
from ovseg.images.transport import Transport
from ovseg.precision import precision_of, set_precision
from ovseg.precision_choice import choose_precision
from ovseg.regions.mask_segments import SegmentSettings
from ovseg.scenes.small_world import prompts_of, small_world
from ovseg.scores.decide import Decision, rule_of_image
from ovseg.text import Classifier
from ovseg.text.decision_rule import DecisionRule
from ovseg.text.fingerprint import weights_written
from ovseg.torch_modes import plain_torch
from ovseg.vocabulary import Rejection, Vocabulary, build_vocabulary
from ovseg.vocabulary.word_lists import plain_separators
from ovseg.zoo import DEFAULT_MODEL, check_weights, resolve_model
from ovseg.zoo.worlds import SCENES

_CLASSIFIERS_KEPT = 16
_Item = TypeVar('_Item')
_Answer = TypeVar('_Answer')


_One: TypeAlias = 'ImageSource | LoadedImage | EncodedImage'
_Many: TypeAlias = 'Sequence[ImageSource | LoadedImage | EncodedImage]'
_Loaded: TypeAlias = 'LoadedImage | EncodedImage'


class OpenVocabSegmenter:
    """Finds what you name in images.

    Args:
        model: a name of ``ovseg.list_models()``, the path of a config, or the folder of a saved
            model (:meth:`save_pretrained`).
        checkpoint: a file with the CLIP weights, instead of those that the config names; for the
            config of a trained model, its checkpoint.
        device: 'cpu', 'cuda', 'mps', 'xpu', ...; None or 'auto' for the fastest there is, see
            :func:`~ovseg.devices.choose_device`.
        vocabulary: words for calls that give none, e.g. ``'cat, kitten; sofa'``.
        templates: a template set's name, a list of templates, or the path of a file with one a
            line, instead of the config's.
        background: words for "none of these", for calls that give none.
        batch_size: how many images of one size go through the encoder at once.
        on: the data set whose published settings are taken; by default a name's settings for any
            images, or the first data set of a config.
        precision: of the products in the image encoders: ``'float32'``, ``'bfloat16'``,
            ``'float16'``, or ``'auto'`` for the fastest that the device has instructions for, see
            :func:`~ovseg.precision_choice.choose_precision`. All else is float32.
        compile: have torch compile the image encoders, which the first image waits for, see
            :mod:`ovseg.compiled`.
        text: further arguments of :func:`~ovseg.text.build_classifier` instead of the config's:
            such as ``combine``, ``descriptions`` and ``experts``.
        contrast: what else may be in the images, as "none of these": ``'background'``, ``'auto'``
            or a file, see :func:`~ovseg.text.contrast.with_contrast`; None for nothing.
        rejection: the rule by which a pixel is none of the classes, for words that state none of
            their own: whatever :meth:`~ovseg.vocabulary.Rejection.build` takes, such as a file of
            ``ovseg calibrate``.

    Raises:
        UserError: unknown model, device or precision, a precision that the device has not,
            weights that do not fit, words that cannot be read.
        FileNotFoundError: there is no such config or weights file.

    Example::

        segment = OpenVocabSegmenter('maskclip-tiny')
        result = segment('photo.jpg', 'cat, kitten; sofa; wall')
        print(result.table())
        result.save('outputs')

        image = segment.encode('photo.jpg')              # slow, once
        segment(image, 'red sofa; wooden floor')         # words are encoded, once
        segment(image, 'red sofa; wooden floor')         # milliseconds
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        checkpoint: str | Path | None = None,
        device: str | torch.device | None = None,
        vocabulary: Any = None,
        templates: str | Path | Sequence[str] | None = None,
        background: str | Sequence[str] | None = None,
        batch_size: int = 8,
        on: str | None = None,
        precision: str = 'auto',
        compile: bool = False,
        text: Mapping[str, Any] | None = None,
        contrast: str | Path | None = None,
        rejection: Any = None,
    ) -> None:
        self._rejection = Rejection.build(rejection)
        self.device = choose_device(device)
        choose_precision(precision, self.device)  # what cannot be is said before minutes go by
        self.name, place = resolve_model(model, on)
        self.config_path = place.path
        check_weights(self.config_path, checkpoint, '--checkpoint FILE (checkpoint= in Python)')
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, but is {batch_size}.')
        config = read_config(place.path, place.on)
        self.config = config
        self.has_own_weights = checkpoint is not None or config.get('saved') is not None
        self.loader = ImageLoader(
            resize_rule_of(config), small_world(config, checkpoint, self.name)
        )
        self.model = build_model(config, checkpoint, templates, text).to(self.device).eval()
        set_precision(self.model, precision)
        if compile:
            compile_encoders(self.model)
        self._classifiers = KeptClassifiers(self._make_classifier, _CLASSIFIERS_KEPT)
        self._transport = Transport(self.device)
        self._memory = BoundedMemory(self.model, self.name, self.device, batch_size)
        self._background = background
        self._contrast = ContrastWords(self.model, contrast, self.loader.world)
        self._vocabulary = self.model.vocabulary
        if vocabulary is not None:
            self._vocabulary = self._read_words(vocabulary, background, None)
            self._classifier(self._vocabulary)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        **settings: Any,
    ) -> OpenVocabSegmenter:
        """A saved model, from a folder or the Hugging Face hub; no code of it is executed.

        Args:
            source: a folder of :meth:`save_pretrained`, or ``'organisation/name'`` on the hub,
                whose files are fetched into the hub's own cache.
            revision: on the hub: a branch, tag or commit; None for the newest.
            token: of the hub; None for that of the user who is logged in.
            settings: further ones of this class, such as ``device`` or ``templates``.

        Raises:
            FileNotFoundError: there is no such folder or model.
            UserError: it is no model of ovseg, damaged, not open to this user, or out of reach.
        """
        segmenter = cls(folder_of_model(source, revision, token), **settings)
        if not os.path.isdir(os.path.expanduser(source)):
            segmenter.name = str(source)
        return segmenter

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        licence: str | None = None,
        measured: Mapping[str, float] | None = None,
    ) -> Path:
        """Write the model with all its weights, and a card, as a folder that needs nothing else.

        The words given at the start are its words. ``--model FOLDER`` takes it, too.

        Args:
            folder: made if missing.
            licence: of the weights; None for that of ``list_models()`` where they are those.
            measured: mIoU in percent by data set, measured with these weights; for the card, which
                keeps published numbers apart.

        Returns:
            The folder.

        Raises:
            UserError: the model is not in float32, a setting of its config names a file of this
                machine, or the folder cannot be written.
        """
        return save_model(self, folder, licence, measured)

    def push_to_hub(
        self,
        name: str,
        *,
        licence: str,
        measured: Mapping[str, float] | None = None,
        private: bool = False,
        token: str | bool | None = None,
        message: str = 'Model of ovseg',
    ) -> str:
        """Send the model, as :meth:`save_pretrained` writes it, to the Hugging Face hub.

        Args:
            name: ``'organisation/name'``; made if it is not there.
            licence: of the weights, which you say: others will rely on it.
            measured: as in :meth:`save_pretrained`.
            private: whether a new repository is.
            token: of the hub; None for that of the user who is logged in.
            message: of the commit.

        Returns:
            The address of its page.

        Raises:
            UserError: as :meth:`save_pretrained`; or the hub refuses it or cannot be reached.
        """
        return push_model(self, name, licence, measured, private, token, message)

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The classes of calls that give no words."""
        return self._vocabulary

    @property
    def resize(self) -> ResizeRule:
        """How images are resized before the model sees them."""
        return self.loader.rule

    @property
    def world(self) -> str | None:
        """The small world whose words and pictures alone the model knows; None for most."""
        return None if self.loader.world is None else SCENES

    @property
    def batch_size(self) -> int:
        """How many images go through the encoder at once; falls where memory does not suffice."""
        return self._memory.batch_size

    @property
    def precision(self) -> str:
        """What the products in the image encoders are computed in, such as ``'float32'``."""
        return precision_of(self.model)

    def __repr__(self) -> str:
        precision = '' if self.precision == 'float32' else f", precision='{self.precision}'"
        return f"OpenVocabSegmenter('{self.name}', device='{self.device}'{precision})"

    @overload
    def __call__(self, image: _One, words: Any = None, **settings: Any) -> SegmentationResult: ...

    @overload
    def __call__(
        self, image: _Many, words: Any = None, **settings: Any
    ) -> list[SegmentationResult]: ...

    def __call__(
        self, image: _One | _Many, words: Any = None, **settings: Any
    ) -> SegmentationResult | list[SegmentationResult]:
        """The same as :meth:`segment`."""
        return self.segment(image, words, **settings)

    @overload
    def segment(  # type: ignore[overload-overlap]  # a str is a sequence of str, but one image
        self,
        image: _One,
        words: Any = None,
        *,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
        scores: bool = False,
    ) -> SegmentationResult: ...

    @overload
    def segment(
        self,
        image: _Many,
        words: Any = None,
        *,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
        scores: bool = False,
    ) -> list[SegmentationResult]: ...

    def segment(
        self,
        image: _One | _Many,
        words: Any = None,
        *,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
        scores: bool = False,
    ) -> SegmentationResult | list[SegmentationResult]:
        """Masks of the words in one image, or in each of a list.

        Args:
            image: whatever :func:`~ovseg.images.reading.load_rgb` reads (path, PIL, array, tensor),
                an encoded image, or a list of these. Images of one size in a list are encoded
                together.
            words: what to look for: ``'cat, kitten; sofa'`` (classes by ``;``, synonyms by ``,``),
                a list, the path of a ``.txt`` or ``.json`` file, a data set's METAINFO, or a
                :class:`~ovseg.vocabulary.Vocabulary`. None for the words given at the start, or
                else for the model's own: those of its training or of its config. One class alone
                gets a background, which is said.
            background: words for "none of these"; pixels that they win are background.
            threshold: pixels whose best class has a smaller probability, in [0, 1], are background.
            scores: keep the probabilities of all classes; memory grows with their number.

        Returns:
            A result, or a list of them in the order of the images.

        Raises:
            UserError: the image or the words cannot be read, no words were given, or memory does
                not suffice.
            FileNotFoundError: there is no such image.

        Warns:
            Notice: a model of a small world is asked for words or an image that it cannot know; one
                class alone was given.
        """
        vocabulary, classifier = self.question(words, background, threshold)
        return self._answer(
            image, lambda encoded: self._decide(encoded, vocabulary, classifier, scores)
        )

    @overload
    def segments(  # type: ignore[overload-overlap]  # a str is a sequence of str, but one image
        self,
        image: _One,
        words: Any = None,
        *,
        task: str = 'panoptic',
        stuff: Any = None,
        background: str | Sequence[str] | None = None,
        score_threshold: float = SegmentSettings.score_threshold,
        overlap_threshold: float = SegmentSettings.overlap_threshold,
    ) -> SegmentsResult: ...

    @overload
    def segments(
        self,
        image: _Many,
        words: Any = None,
        *,
        task: str = 'panoptic',
        stuff: Any = None,
        background: str | Sequence[str] | None = None,
        score_threshold: float = SegmentSettings.score_threshold,
        overlap_threshold: float = SegmentSettings.overlap_threshold,
    ) -> list[SegmentsResult]: ...

    def segments(
        self,
        image: _One | _Many,
        words: Any = None,
        *,
        task: str = 'panoptic',
        stuff: Any = None,
        background: str | Sequence[str] | None = None,
        score_threshold: float = SegmentSettings.score_threshold,
        overlap_threshold: float = SegmentSettings.overlap_threshold,
    ) -> SegmentsResult | list[SegmentsResult]:
        """Segments in one image, or in each of a list: things mask by mask, each stuff as a whole.

        It takes a model that proposes masks, and tells things apart as far as its masks do.
        Probability thresholds and smallest areas of the vocabulary are rules for pixels and play no
        part here.

        Args:
            image: as in :meth:`segment`.
            words: as in :meth:`segment`.
            task: ``'panoptic'``, or ``'instance'`` for the things of the same segments alone.
            stuff: which of the classes are no things, by name: ``'sky; grass'``, a list, a file.
            background: words for "none of these"; masks that they win are no segments.
            score_threshold: in [0, 1]; masks whose best class does not score above it are left
                out. Published for probabilities of a trained model; the scores of OVSeg's two
                classifiers together are smaller, so a lower one may be wanted.
            overlap_threshold: in [0, 1]; a mask is left out if others take more of it than leaves
                this share.

        Returns:
            A result, or a list of them in the order of the images.

        Raises:
            UserError: as in :meth:`segment`; a model without mask proposals; stuff that is none of
                the classes; a threshold out of range.
            FileNotFoundError: there is no such image.
        """
        settings = SegmentSettings(score_threshold, overlap_threshold)
        return self._answer(image, self._finder(words, task, stuff, background, settings))

    def _finder(
        self,
        words: Any,
        task: str,
        stuff: Any,
        background: str | Sequence[str] | None,
        settings: SegmentSettings,
    ) -> Callable[[EncodedImage], SegmentsResult]:
        """What :meth:`segments` asks each image."""
        self._check_segments(task)
        vocabulary = self._read_words(words, background, None)
        of_stuff = stuff_labels(stuff, vocabulary)
        classifier = self._classifier(vocabulary)

        def find(encoded: EncodedImage) -> SegmentsResult:
            size = encoded.image.shape[:2]
            found = self._memory.in_strips(
                lambda budget: self.model.find_segments(
                    encoded.encoding,
                    size,
                    classifier,
                    stuff=of_stuff,
                    settings=settings,
                    budget=budget,
                ),
                size,
                classifier.num_classes,
            )
            found = found.things() if task == 'instance' else found
            return SegmentsResult(
                image=encoded.image,
                ids=found.ids.cpu().numpy(),
                segments=found.segments,
                names=tuple(vocabulary.names),
                palette=tuple(vocabulary.palette),
                task=task,
                stuff=of_stuff,
                background_index=vocabulary.background_index,
                source=encoded.source,
                model=self.name,
            )

        return find

    @overload
    def stream(
        self,
        images: Iterable[_One | Failed],
        words: Any = None,
        *,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
        scores: bool = False,
        then: None = None,
        workers: int | None = None,
    ) -> Iterator[SegmentationResult | Failed]: ...

    @overload
    def stream(
        self,
        images: Iterable[_One | Failed],
        words: Any = None,
        *,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
        scores: bool = False,
        then: Callable[[SegmentationResult], _Answer],
        workers: int | None = None,
    ) -> Iterator[_Answer | Failed]: ...

    def stream(
        self,
        images: Iterable[_One | Failed],
        words: Any = None,
        *,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
        scores: bool = False,
        then: Callable[[SegmentationResult], Any] | None = None,
        workers: int | None = None,
    ) -> Iterator[Any]:
        """Masks of the words in many images, one after the other: any number in little memory.

        While the encoder runs, threads read the images to come and decide those that are encoded.
        Images of one size after resizing are encoded together, also where others stand between
        them. At most ``5 * batch_size + 3 * workers`` images are held, so that ``images`` may
        be endless; as many are taken from it before the first result, or all there are.

        Args:
            images: each as in :meth:`segment`; a generator, say, or a ``DataLoader`` whose worker
                processes read them by ``segment.loader``.
            words: as in :meth:`segment`.
            background: as in :meth:`segment`.
            threshold: as in :meth:`segment`.
            scores: as in :meth:`segment`.
            then: called with each result in one of the threads; what it returns is given back
                instead of the result. Files are written there while the next images are encoded:
                ``then=lambda result: result.save('outputs')``.
            workers: threads beside the caller's; None for as many as the process may use cores,
                8 at most.

        Returns:
            An iterator with one item an image, in their order: what :meth:`segment` returns for
            it, or what ``then`` makes of that; a :class:`~ovseg.apis.stream.Failed` for an image
            that could not be read, segmented or handed to ``then``.

        Raises:
            UserError: the words cannot be read, or none were given; said at once.
            ValueError: less than one worker.

        Example::

            for path, result in zip(paths, segment.stream(paths, 'cat; sofa')):
                if isinstance(result, Failed):
                    print(result)
        """
        vocabulary, classifier = self.question(words, background, threshold)
        return self._answers(
            images,
            lambda encoded: self._decide(encoded, vocabulary, classifier, scores),
            then,
            workers,
        )

    def stream_segments(
        self,
        images: Iterable[_One | Failed],
        words: Any = None,
        *,
        task: str = 'panoptic',
        stuff: Any = None,
        background: str | Sequence[str] | None = None,
        score_threshold: float = SegmentSettings.score_threshold,
        overlap_threshold: float = SegmentSettings.overlap_threshold,
        then: Callable[[SegmentsResult], Any] | None = None,
        workers: int | None = None,
    ) -> Iterator[Any]:
        """Segments in many images, one after the other: :meth:`segments` as a :meth:`stream`.

        Args:
            images: as in :meth:`stream`.
            words: as in :meth:`segment`.
            task: as in :meth:`segments`.
            stuff: as in :meth:`segments`.
            background: as in :meth:`segments`.
            score_threshold: as in :meth:`segments`.
            overlap_threshold: as in :meth:`segments`.
            then: as in :meth:`stream`.
            workers: as in :meth:`stream`.

        Returns:
            An iterator as that of :meth:`stream`, of what :meth:`segments` returns.

        Raises:
            UserError: as in :meth:`segments`, of words, task, stuff and thresholds; said at once.
            ValueError: less than one worker.
        """
        settings = SegmentSettings(score_threshold, overlap_threshold)
        find = self._finder(words, task, stuff, background, settings)
        return self._answers(images, find, then, workers)

    def _answers(
        self,
        images: Iterable[_One | Failed],
        ask: Callable[[EncodedImage], _Answer],
        then: Callable[[_Answer], Any] | None,
        workers: int | None,
    ) -> Iterator[Any]:
        """What ``then`` makes of what ``ask`` says of each image; see :meth:`stream`."""
        workers = default_workers() if workers is None else workers
        if workers < 1:
            raise ValueError(f'workers must be at least 1, but is {workers}.')

        def encode(loaded: Sequence[_Loaded]) -> list[EncodedImage]:
            with plain_torch():
                return self._encode_loaded(loaded)

        def answer(encoded: EncodedImage) -> Any:
            answered = ask(encoded)
            return answered if then is None else then(answered)

        steps = Steps(_called, self._load, _size_of, encode, answer)
        return answers_in_order(images, steps, lambda: self.batch_size, workers)

    def prepare(
        self,
        words: Any = None,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
        task: str = 'semantic',
        stuff: Any = None,
    ) -> Vocabulary:
        """Encodes words ahead of the first image, so that what cannot be asked for is said now.

        Args:
            words: as in :meth:`segment`.
            background: as in :meth:`segment`.
            threshold: as in :meth:`segment`.
            task: ``'semantic'`` for :meth:`segment`, or one of :meth:`segments`.
            stuff: as in :meth:`segments`.

        Returns:
            The classes as results will have them, with a background where there is one.

        Raises:
            UserError: no words, or words that cannot be read or that the model does not know; a
                model that cannot do the task.
        """
        if task != 'semantic':
            self._check_segments(task)
        vocabulary, _ = self.question(words, background, threshold)
        stuff_labels(stuff, vocabulary)
        return vocabulary

    def question(
        self,
        words: Any = None,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
    ) -> tuple[Vocabulary, Classifier]:
        """The classes of words and their classifier, for asking :attr:`model` by oneself.

        Args:
            words: as in :meth:`segment`.
            background: as in :meth:`segment`.
            threshold: as in :meth:`segment`.

        Raises:
            UserError: no words, or words that cannot be read or that the model does not know.
        """
        vocabulary = self._read_words(words, background, threshold)
        return vocabulary, self._classifier(vocabulary)

    @property
    def memory(self) -> BoundedMemory:
        """Runs parts of :attr:`model` in smaller pieces where memory does not suffice."""
        return self._memory

    def _check_segments(self, task: str) -> None:
        check_segment_task(task)
        if not self.model.finds_segments:
            raise UserError(
                f'The model {self.name} labels pixels and proposes no masks, so it finds no '
                f'{task} segments: take a model with mask proposals, such as ovseg-tiny, or ask '
                'for labels (--task semantic, or segment(...) in Python).'
            )

    @overload
    def encode(  # type: ignore[overload-overlap]  # a str is a sequence of str, but one image
        self, image: _One
    ) -> EncodedImage: ...

    @overload
    def encode(self, image: _Many) -> list[EncodedImage]: ...

    def encode(self, image: _One | _Many) -> EncodedImage | list[EncodedImage]:
        """Run the encoder, the slow part, once: the result stands for the image in :meth:`segment`.

        Args:
            image: as in :meth:`segment`, one or a list.

        Raises:
            UserError: the image cannot be read, memory does not suffice, or the image was encoded
                by another model.
            FileNotFoundError: there is no such image.
        """
        return self._answer(image, lambda encoded: encoded)

    def nearest_words(
        self,
        image: _One,
        words: Any = None,
        *,
        at: tuple[int, int],
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
    ) -> NearestWords:
        """Why a pixel gets its label: the words that compete for it, the nearest first.

        Args:
            image: as in :meth:`segment`, one; an encoded one is asked in no time.
            words: as in :meth:`segment`.
            at: (row, column) of the pixel in the upright image.
            background: as in :meth:`segment`.
            threshold: as in :meth:`segment`.

        Raises:
            UserError: as in :meth:`segment`; a place outside of the image.
            FileNotFoundError: there is no such image.
        """
        vocabulary, classifier = self.question(words, background, threshold)
        answer = self._answer(
            image, lambda encoded: self.explain_pixel(encoded, vocabulary, classifier, at)
        )
        assert isinstance(answer, NearestWords)  # of one image
        return answer

    def explain_pixel(
        self,
        encoded: EncodedImage,
        vocabulary: Vocabulary,
        classifier: Classifier,
        at: tuple[int, int],
    ) -> NearestWords:
        """The answer of :meth:`nearest_words` to a question of :meth:`question`.

        Args:
            encoded: of :meth:`encode`.
            vocabulary: what is asked for.
            classifier: of the vocabulary.
            at: (row, column) of the pixel in the upright image.

        Raises:
            UserError: a place outside of the image.
        """
        row, column = at
        size = height, width = encoded.image.shape[0], encoded.image.shape[1]
        if not (0 <= row < height and 0 <= column < width):
            raise UserError(
                f'There is no pixel at row {row}, column {column}: the image has {height} rows '
                f'and {width} columns.'
            )

        def scored(budget: MemoryBudget) -> tuple[torch.Tensor, DecisionRule]:
            scores = self.model.scores(encoded.encoding, classifier, size, budget)
            rule = rule_of_image(scores, self.model.rule(classifier), budget)
            return scores.rows(row, row + 1)[:, 0, column], rule

        with plain_torch():
            result = self._decide(encoded, vocabulary, classifier, False)
            scores, rule = self._memory.in_strips(scored, size, classifier.num_classes)
        label, moves = int(result.labels[row, column]), self.model.moves_pixels
        return nearest_words(scores, label, at, vocabulary, classifier, rule, moves)

    # Examples --------------------------------------------------------------------------------

    def teach(
        self,
        name: str,
        image: _One,
        mask: Any = None,
        *,
        scribble: Any = None,
        has_words: bool = True,
    ) -> Bank:
        """Shows an example of a class, which counts from the next question on.

        Args:
            name: of the class, as it will be asked for.
            image: as in :meth:`segment`, one.
            mask: of the thing in the upright image: a bool array (H, W), the path of a PNG (what is
                not 0), a box (x1, y1, x2, y2), or clicks, a list of (x, y). Of a box the model's
                SAM finds the thing, where it has one; a click is a disc of a patch.
            scribble: instead of it a line [(x, y), ...], as broad as a patch.
            has_words: False for a name that means nothing to a text model, such as 'part 7': the
                class is then known by its examples alone.

        Returns:
            All examples.

        Raises:
            UserError: a model that takes no examples; an image or a mask that cannot be read or
                does not fit. What was taught before stays.
            FileNotFoundError: there is no such image or mask.

        Warns:
            Notice: a box is taken as it is.
        """
        taught_of(self)
        return teach(self, name, self.encode(image), mask, scribble, has_words)

    def forget(self, name: str | None = None, image: str | None = None) -> None:
        """Takes examples out: those of a class, of an image, or all.

        Args:
            name: of the class; None for all of them.
            image: its path as it was given; None for all of them.

        Raises:
            UserError: a model that takes no examples; there are none of this name.
        """
        taught = taught_of(self)
        bank = taught.bank
        if name is not None or image is not None:
            if bank is None:
                raise UserError('Nothing was taught, so that nothing can be forgotten.')
            taught.bank = bank.without(name, image)
        else:
            taught.bank = None
        self.model.words.forget()

    @property
    def bank(self) -> Bank | None:
        """All examples; None where nothing was taught, or for a model that takes none."""
        return None if self.model.taught is None else self.model.taught.bank

    def save_bank(self, path: str | Path, note: str | None = None) -> Path:
        """Writes the examples: vectors, no pixels; a few kilobytes each.

        Args:
            path: of the file, ``.safetensors``.
            note: about the licence of the images, which goes with it.

        Raises:
            UserError: nothing was taught, or the file cannot be written.
        """
        bank = taught_of(self).bank
        if bank is None:
            raise UserError('Nothing was taught, so that there is no bank to save.')
        return write_bank(bank if note is None else replace(bank, note=note), path)

    def load_bank(self, path: str | Path, rule: str | Mapping[str, Any] | None = None) -> Bank:
        """Takes the examples of a file, instead of those there are.

        Args:
            path: of :meth:`save_bank` or ``ovseg teach``.
            rule: by which they count: ``'proto'`` (default), ``'kindred'``, ``'bayes'``, ``'gda'``,
                ``'tip'``, ``'proto-clip'``, ``'rns'``, ``'text'`` for words alone, or a table of
                ``name`` and settings; None leaves it.

        Raises:
            UserError: no bank, or one of another encoder; what was taught before stays.
            FileNotFoundError: there is no such file.
        """
        taught, bank = taught_of(self), read_bank(path)
        chosen = None if rule is None else Rule(rule)
        taught.bank = bank
        if chosen is not None:
            taught.rule = chosen
        self.model.words.forget()
        return bank

    # Words -----------------------------------------------------------------------------------

    def _read_words(
        self, words: Any, background: str | Sequence[str] | None, threshold: float | None
    ) -> Vocabulary:
        background = self._background if background is None else background
        vocabulary = self._vocabulary if words is None else build_vocabulary(words)
        if vocabulary is None:
            raise no_words()
        if self._rejection is not None and (words is None or not vocabulary.has_own_rule):
            vocabulary = vocabulary.with_rejection(self._rejection)
        vocabulary = _with_rejection(vocabulary, background, threshold, self._rejection)
        vocabulary = self._contrast.beside(vocabulary)
        if words is not None:  # a config's one class may be meant as it is
            vocabulary = beside_one_class(vocabulary, self._other_words(vocabulary))
        if self.loader.world is not None:
            _say(self.loader.world.doubt_of_words(vocabulary))
        return vocabulary

    def _other_words(self, vocabulary: Vocabulary) -> list[str] | None:
        """Words for all that is not asked for; None where the model takes no words."""
        if not self.model.takes_templates:
            return None
        prompts, world = prompts_of(vocabulary), self.loader.world
        return usual_background(prompts) if world is None else world.other_words(prompts)

    def _classifier(self, vocabulary: Vocabulary) -> Classifier:
        taught = self.model.taught
        mark = None if taught is None else taught.mark
        return self._classifiers.get(vocabulary, (weights_written(self.model), mark))

    def _make_classifier(self, vocabulary: Vocabulary) -> Classifier:
        with plain_torch():
            return self.model.build_classifier(vocabulary).to(self.device)

    # Images ----------------------------------------------------------------------------------

    def _answer(
        self, image: _One | _Many, ask: Callable[[EncodedImage], _Answer]
    ) -> _Answer | list[_Answer]:
        """What ``ask`` says of an image, or of each of a list."""
        with plain_torch():
            if not isinstance(image, (list, tuple)):
                return ask(self._encode_chunk([cast('_One', image)])[0])  # other sequences are none
            return [
                ask(encoded)
                for chunk in _chunks(image, self.batch_size)
                for encoded in self._encode_chunk(chunk)
            ]

    def _encode_chunk(self, images: Sequence[_One]) -> list[EncodedImage]:
        """Encoded images in order; those of one size after resizing in one batch."""
        loaded = [self._load(image) for image in images]
        by_size: dict[Hashable, list[int]] = {}
        for index, image in enumerate(loaded):
            by_size.setdefault(_size_of(image), []).append(index)
        encoded: dict[int, EncodedImage] = {}
        for indices in by_size.values():
            some = self._encode_loaded([loaded[index] for index in indices])
            encoded.update(zip(indices, some, strict=True))
        return [encoded[index] for index in range(len(images))]

    def _load(self, image: _One | Failed) -> _Loaded:
        """An image as it was read, and as the encoder will see it."""
        if isinstance(image, EncodedImage):
            return image.of_model(self.model, self.name)
        if isinstance(image, Failed):
            raise image.error
        if isinstance(image, LoadedImage):
            loaded = self.loader.check(image)
        else:
            loaded = self.loader.load(image)
        return replace(loaded, sent=self._transport.send(loaded.resized))

    def _encode_loaded(self, loaded: Sequence[_Loaded]) -> list[EncodedImage]:
        """Images of one size after resizing, encoded, in order; those that are encoded as is."""
        images = [image for image in loaded if isinstance(image, LoadedImage)]
        if not images:
            return [image for image in loaded if isinstance(image, EncodedImage)]
        for image in images:
            _say(image.doubt)
        inputs = batch_of(
            [image.sent or image.resized for image in images], self.model.data_preprocessor
        )
        paths = [image.path for image in images]
        originals = [image.pixels for image in images]
        encodings = self._memory.encode(Images(inputs, originals, paths))
        names = ['' if path is None else name_of(path) for path in paths]
        return [
            EncodedImage(pixels, encoding, name, self.model)
            for pixels, encoding, name in zip(originals, encodings, names, strict=True)
        ]

    def _decide(
        self, encoded: EncodedImage, vocabulary: Vocabulary, classifier: Classifier, scores: bool
    ) -> SegmentationResult:
        size = encoded.image.shape[:2]
        decision: Decision = self._memory.in_strips(
            lambda budget: self.model.segment(
                encoded.encoding,
                size,
                classifier,
                keep_scores=scores,
                measure=True,
                budget=budget,
            ),
            size,
            classifier.num_classes,
            scores,
        )
        kept = decision.scores
        won = self._memory.in_strips(
            lambda budget: self._contrast.won(
                encoded.encoding, vocabulary, classifier, decision.labels, budget
            ),
            size,
            classifier.num_classes,
        )
        return SegmentationResult(
            image=encoded.image,
            labels=decision.labels.cpu().numpy().astype(np.int32),
            names=tuple(vocabulary.names),
            palette=tuple(vocabulary.palette),
            background_index=vocabulary.background_index,
            mean_scores=decision.mean_scores().cpu().numpy(),
            scores=None if kept is None else kept.cpu().numpy(),
            source=encoded.source,
            model=self.name,
            contrast=won,
            asked=Asked(
                self, vocabulary, classifier, encoded.image, encoded.source, weakref.ref(encoded)
            ),
        )


def _say(doubt: str | None) -> None:
    if doubt is not None:
        notify(doubt)


def _called(image: _One | Failed) -> str:
    if isinstance(image, (EncodedImage, Failed)):
        return image.source
    if isinstance(image, LoadedImage):
        return image.path or 'the image in memory'
    return name_of(image)


def _size_of(image: _Loaded) -> Hashable:
    """What images must share to be encoded together; those that are encoded already share it."""
    return image.size if isinstance(image, LoadedImage) else None


def _with_rejection(
    vocabulary: Vocabulary,
    background: str | Sequence[str] | None,
    threshold: float | None,
    further: Rejection | None = None,
) -> Vocabulary:
    """The vocabulary with the caller's background words and threshold laid over its own rule.

    Words replace the vocabulary's rule, but not the caller's own, `further`.
    """
    rule = vocabulary.rejection
    if background is not None:
        text = background if isinstance(background, str) else ';'.join(background)
        text = plain_separators(text)
        words = tuple(word.strip() for word in text.replace(';', ',').split(',') if word.strip())
        rule = Rejection('background', threshold or 0.0, words)
        if further is not None and further.kind not in ('none', 'class_zero'):
            limit = further.threshold if threshold is None else threshold
            rule = replace(further, kind='background', words=words, threshold=limit)
    elif threshold is not None and rule.kind == 'none':
        rule = Rejection('threshold', threshold)
    elif threshold is not None:
        rule = replace(rule, threshold=threshold)
    return vocabulary if rule == vocabulary.rejection else vocabulary.with_rejection(rule)


def _chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
