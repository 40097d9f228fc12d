"""A model on its device, with what brings images into its encoder."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, overload

import torch

from ovseg.apis.building import build_model
from ovseg.apis.encoded_image import EncodedImage
from ovseg.apis.loaded_image import ImageLoader, LoadedImage
from ovseg.apis.memory import BoundedMemory
from ovseg.apis.stream import Failed, Steps, answers_in_order, default_workers
from ovseg.compiled import compile_encoders
from ovseg.config_files import read_config
from ovseg.devices import choose_device
from ovseg.errors import notify
from ovseg.images import Images, resize_rule_of
from ovseg.images.batch import batch_of
from ovseg.images.reading import ImageSource, name_of
from ovseg.images.resize import ResizeRule
from ovseg.images.transport import Transport
from ovseg.precision import precision_of, set_precision
from ovseg.precision_choice import choose_precision
from ovseg.scenes.small_world import small_world
from ovseg.torch_modes import plain_torch
from ovseg.zoo import check_weights, resolve_model
from ovseg.zoo.worlds import SCENES

OneImage: TypeAlias = 'ImageSource | LoadedImage | EncodedImage'
ManyImages: TypeAlias = 'Sequence[ImageSource | LoadedImage | EncodedImage]'
_Loaded: TypeAlias = 'LoadedImage | EncodedImage'
_Item = TypeVar('_Item')
_Answer = TypeVar('_Answer')


class LoadedModel:
    """Images in, encodings out: what a segmenter is before it is asked anything.

    Args:
        model: as in :class:`~ovseg.apis.segmenter.OpenVocabSegmenter`, like all others.
        checkpoint: see there.
        device: see there.
        templates: see there.
        batch_size: see there.
        on: see there.
        precision: see there.
        compile: see there.
        text: see there.

    Attributes:
        name: what the model is called.
        device: where it runs.
        config: its config, on the data set that was chosen.
        config_path: the file of the config.
        has_own_weights: whether its weights are others than those of its config.
        loader: reads and resizes its images.
        model: the segmentor.

    Raises:
        UserError: see there.
        FileNotFoundError: see there.
    """

    def __init__(
        self,
        model: str | Path,
        checkpoint: str | Path | None,
        device: str | torch.device | None,
        templates: str | Path | Sequence[str] | None,
        batch_size: int,
        on: str | None,
        precision: str,
        compile: bool,
        text: Mapping[str, Any] | None,
    ) -> None:
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
        self._transport = Transport(self.device)
        self._memory = BoundedMemory(self.model, self.name, self.device, batch_size)

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

    @property
    def memory(self) -> BoundedMemory:
        """Runs parts of :attr:`model` in smaller pieces where memory does not suffice."""
        return self._memory

    @overload
    def encode(  # type: ignore[overload-overlap]  # a str is a sequence of str, but one image
        self, image: OneImage
    ) -> EncodedImage: ...

    @overload
    def encode(self, image: ManyImages) -> list[EncodedImage]: ...

    def encode(self, image: OneImage | ManyImages) -> EncodedImage | list[EncodedImage]:
        """Run the encoder, the slow part, once: the result stands for the image in :meth:`segment`.

        Args:
            image: as in :meth:`segment`, one or a list.

        Raises:
            UserError: the image cannot be read, memory does not suffice, or the image was encoded
                by another model.
            FileNotFoundError: there is no such image.
        """
        return self._answer(image, lambda encoded: encoded)

    def _answer(
        self, image: OneImage | ManyImages, ask: Callable[[EncodedImage], _Answer]
    ) -> _Answer | list[_Answer]:
        """What ``ask`` says of an image, or of each of a list."""
        with plain_torch():
            if not isinstance(image, (list, tuple)):  # other sequences are one image
                return ask(self._encode_chunk([cast('OneImage', image)])[0])
            return [
                ask(encoded)
                for chunk in _chunks(image, self.batch_size)
                for encoded in self._encode_chunk(chunk)
            ]

    def _encode_chunk(self, images: Sequence[OneImage]) -> list[EncodedImage]:
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

    def _load(self, image: OneImage | Failed) -> _Loaded:
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
            if image.doubt is not None:
                notify(image.doubt)
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

    def _streamed(
        self,
        images: Iterable[OneImage | Failed],
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


def _called(image: OneImage | Failed) -> str:
    if isinstance(image, (EncodedImage, Failed)):
        return image.source
    if isinstance(image, LoadedImage):
        return image.path or 'the image in memory'
    return name_of(image)


def _size_of(image: _Loaded) -> Hashable:
    """What images must share to be encoded together; those that are encoded already share it."""
    return image.size if isinstance(image, LoadedImage) else None


def _chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
