"""A loaded model that learns classes from examples, and the bank of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ovseg.apis.encoded_image import EncodedImage
from ovseg.apis.loaded_model import LoadedModel, OneImage
from ovseg.apis.shown_boxes import check_takes_boxes, with_boxes
from ovseg.apis.teaching import taught_of, teach
from ovseg.errors import UserError
from ovseg.exemplars import Bank, Rule, read_bank, write_bank


class TaughtModel(LoadedModel):
    """What :class:`~ovseg.apis.segmenter.OpenVocabSegmenter` is taught."""

    def teach(
        self,
        name: str,
        image: OneImage,
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

    def show(
        self,
        image: OneImage,
        name: str,
        boxes: Sequence[Sequence[float]],
        absent: Sequence[Sequence[float]] = (),
        *,
        words: bool = True,
    ) -> EncodedImage:
        """Says by boxes what a class means in one image, to a model that takes them (SAM 3).

        Unlike what is taught, they count in this image alone.

        Args:
            image: as in :meth:`segment`, one; encoded already, it is not encoded again, and keeps
                what it was asked.
            name: of the class, as it will be asked for; its boxes of before are replaced.
            boxes: (x1, y1, x2, y2) in pixels of the upright image, around things that are meant.
            absent: likewise, around things that are not.
            words: False for a name that means nothing: boxes alone then say what is meant.

        Returns:
            The image with the boxes, for :meth:`segment` and :meth:`segments`.

        Raises:
            UserError: a model that takes no boxes, or boxes that do not fit; see also
                :meth:`encode`.
            FileNotFoundError: there is no such image.
        """
        check_takes_boxes(self.model, self.name)
        return with_boxes(self.model, self.encode(image), name, boxes, absent, words)

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
            rule: by which they count: ``'kindred'`` (default), ``'proto'``, ``'bayes'``, ``'gda'``,
                ``'tip'``, ``'proto-clip'``, ``'multi-modal'``, ``'rns'``, ``'text'`` for words
                alone, or a table of ``name`` and settings; None leaves it.

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
