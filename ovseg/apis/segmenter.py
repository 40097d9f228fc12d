"""Images and words in, masks out: the Python interface for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import torch

from ovseg.apis.loaded_model import ManyImages, OneImage
from ovseg.apis.pretrained_model import PretrainedModel
from ovseg.apis.questions import Questions
from ovseg.apis.results import SegmentationResult
from ovseg.apis.segments_result import SegmentsResult
from ovseg.apis.stream import Failed
from ovseg.apis.taught_model import TaughtModel
from ovseg.regions.mask_segments import SegmentSettings
from ovseg.vocabulary import Rejection
from ovseg.zoo import DEFAULT_MODEL

_Answer = TypeVar('_Answer')


class OpenVocabSegmenter(PretrainedModel, TaughtModel):
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
        rule = Rejection.build(rejection)
        super().__init__(
            model, checkpoint, device, templates, batch_size, on, precision, compile, text
        )
        self._questions = Questions(self.model, self.loader.world, background, contrast, rule)
        if vocabulary is not None:
            given = self._questions.read(vocabulary, None, None)
            self._questions.classifier(given)
            self._questions.vocabulary = given

    def __repr__(self) -> str:
        precision = '' if self.precision == 'float32' else f", precision='{self.precision}'"
        return f"OpenVocabSegmenter('{self.name}', device='{self.device}'{precision})"

    @overload
    def __call__(
        self, image: OneImage, words: Any = None, **settings: Any
    ) -> SegmentationResult: ...

    @overload
    def __call__(
        self, image: ManyImages, words: Any = None, **settings: Any
    ) -> list[SegmentationResult]: ...

    def __call__(
        self, image: OneImage | ManyImages, words: Any = None, **settings: Any
    ) -> SegmentationResult | list[SegmentationResult]:
        """The same as :meth:`segment`."""
        return self.segment(image, words, **settings)

    @overload
    def segment(  # type: ignore[overload-overlap]  # a str is a sequence of str, but one image
        self,
        image: OneImage,
        words: Any = None,
        *,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
        scores: bool = False,
    ) -> SegmentationResult: ...

    @overload
    def segment(
        self,
        image: ManyImages,
        words: Any = None,
        *,
        background: str | Sequence[str] | None = None,
        threshold: float | None = None,
        scores: bool = False,
    ) -> list[SegmentationResult]: ...

    def segment(
        self,
        image: OneImage | ManyImages,
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
        return self._answer(image, self._labeller(words, background, threshold, scores))

    @overload
    def segments(  # type: ignore[overload-overlap]  # a str is a sequence of str, but one image
        self,
        image: OneImage,
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
        image: ManyImages,
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
        image: OneImage | ManyImages,
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

    @overload
    def stream(
        self,
        images: Iterable[OneImage | Failed],
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
        images: Iterable[OneImage | Failed],
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
        images: Iterable[OneImage | Failed],
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
        label = self._labeller(words, background, threshold, scores)
        return self._streamed(images, label, then, workers)

    def stream_segments(
        self,
        images: Iterable[OneImage | Failed],
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
        return self._streamed(images, find, then, workers)
