"""Exemplars of an encoder's images: vectors with a class, kept, added, taken out, put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b

import torch
from torch import Tensor

from ovseg.errors import UserError, nearest, notify
from ovseg.exemplars.pooling import Pooled
from ovseg.exemplars.same_images import KnownImage, places_of
from ovseg.exemplars.stats import Stats
from ovseg.exemplars.support import Support, entries_of
from ovseg.text import Classifier
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.parsing import name_key

# Patches of an exemplar that are kept, for what scatters about its mean.
SAMPLES = 32
# A vector of less than so much of a patch is more of its surroundings than of the class.
LEAST_PATCHES = 0.25


@dataclass(frozen=True)
class EncoderIdentity:
    """What made the features of a bank.

    Attributes:
        fingerprint: the same for the same weights and settings.
        description: for people: the model, and how it looks at images.
    """

    fingerprint: str
    description: str

    def __str__(self) -> str:
        return f'{self.description} [{self.fingerprint[:12]}]'


@dataclass(frozen=True, eq=False)
class Bank:
    """P exemplars of C classes, made by one encoder. A value: what changes it gives another one.

    Attributes:
        encoder: what made the features.
        names: of the classes, as they were taught.
        has_words: (C), whether a class's name means something to a text model.
        vectors: (P, D) float16 unit vectors.
        classes: (P,) int64.
        patches: (P,) float32, how many patches' worth of pixels each is of.
        images: names of the images, each another one; several exemplars may be of one image.
        digests: of the images' pixels, ``''`` where that is not known; ``()`` where none is.
        image: (P,) int64, which of the images.
        contexts: (P, D) float16, mean patch of the image.
        samples: (M, D) float16 unit features of patches.
        sample_row: (M,) int64, which exemplar each belongs to.
        stats: sums over all of it.
        date: of the last change, ISO; ``''`` until it is written.
        note: about the licence of the images, or whatever is to go with the bank.
    """

    encoder: EncoderIdentity
    names: tuple[str, ...]
    has_words: tuple[bool, ...]
    vectors: Tensor
    classes: Tensor
    patches: Tensor
    images: tuple[str, ...]
    image: Tensor
    contexts: Tensor
    samples: Tensor
    sample_row: Tensor
    stats: Stats = field(repr=False)
    date: str = ''
    note: str = ''
    digests: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.digests:
            object.__setattr__(self, 'digests', ('',) * len(self.images))

    @classmethod
    def empty(cls, encoder: EncoderIdentity, dim: int) -> Bank:
        """Without exemplars.

        Args:
            encoder: whose features will be kept.
            dim: D.
        """
        rows = torch.zeros(0, dim, dtype=torch.float16)
        none = torch.zeros(0, dtype=torch.int64)
        patches = torch.zeros(0)
        stats = Stats.empty(0, dim)
        return cls(encoder, (), (), rows, none, patches, (), none, rows, rows, none, stats)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """D."""
        return self.vectors.shape[1]

    def rows(self) -> Iterator[tuple[int, str, str, float]]:
        """Number, class, image and patches of each exemplar."""
        classes, places = self._owners()
        parts = zip(classes, places, self.patches.tolist(), strict=True)
        for number, (label, image, patches) in enumerate(parts):
            yield number, self.names[label], self.images[image], patches

    def counts(self) -> dict[str, int]:
        """Exemplars by class."""
        numbers = torch.bincount(self.classes, minlength=len(self.names)).tolist()
        return dict(zip(self.names, numbers, strict=True))

    @cached_property
    def digest(self) -> str:
        """A hash of all that answers depend on, 32 hexadecimal digits."""
        digest = blake2b(digest_size=16)
        digest.update(repr((self.encoder.fingerprint, self.names, self.has_words)).encode())
        for value in (self.vectors, self.classes, self.image, self.contexts, self.samples):
            digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    # Changes ---------------------------------------------------------------------------------

    def with_image(
        self,
        pooled: Pooled,
        names: Sequence[str],
        image: str,
        has_words: bool = True,
        digest: str = '',
    ) -> Bank:
        """The bank with exemplars of one more image.

        Args:
            pooled: of the image; classes of too few pixels are left out.
            names: of the classes that its labels count.
            image: what it is called.
            has_words: whether the names of new classes mean something to a text model.
            digest: of its pixels, :func:`~ovseg.exemplars.same_images.digest_of`; ``''`` where
                they are not known.

        Raises:
            UserError: a class without a name, vectors of another length, or no class has enough
                pixels.
        """
        if pooled.vectors.shape[1] != self.dim:
            raise UserError(
                f'the features have {pooled.vectors.shape[1]} numbers, those of the bank {self.dim}'
            )
        for label in pooled.classes.tolist():
            if label >= len(names) or not names[label].strip():
                raise UserError(f'{image} shows a class {label} that has no name: name it')
        enough = pooled.patches >= LEAST_PATCHES
        if not enough.any():
            most = float(pooled.patches.max()) if len(pooled.patches) else 0.0
            raise UserError(
                f'the mask in {image} covers {most:.2f} of a patch of the model, too little to '
                f'learn from (at least {LEAST_PATCHES}): show the thing larger, or cut it out'
            )
        row = enough.long().cumsum(0) - 1
        stays = enough[pooled.sample_of] if len(pooled.sample_of) else enough[:0]
        labels = [names[label].strip() for label in pooled.classes[enough].tolist()]
        new = sorted(set(labels), key=labels.index)
        classes = torch.tensor([new.index(label) for label in labels])
        count = len(labels)
        made = Bank(
            self.encoder,
            tuple(new),
            (has_words,) * len(new),
            pooled.vectors[enough].half().cpu(),
            classes,
            pooled.patches[enough].float().cpu(),
            (image,),
            torch.zeros(count, dtype=torch.int64),
            pooled.context.half().cpu().expand(count, -1),
            pooled.samples[stays].half().cpu(),
            row[pooled.sample_of[stays]].cpu() if len(pooled.sample_of) else pooled.sample_of,
            Stats.empty(len(new), self.dim),
            digests=(digest,),
        )
        return self.merged(made.recounted())

    def recounted(self) -> Bank:
        """The same with sums made anew."""
        stats = Stats.of(self.vectors, self.classes, self.samples, self.sample_row, len(self.names))
        return replace(self, stats=stats)

    def merged(self, other: Bank) -> Bank:
        """Both banks in one; classes of one name are one class, sums are added.

        What both hold, the same vector of the same class and image, counts once, which is said.
        Images are one by their pixels, under whatever names (:mod:`~ovseg.exemplars.same_images`);
        another image of a name that is taken gets a name of its own, which is said, too.

        Args:
            other: of the same encoder.

        Raises:
            UserError: another encoder made it.

        Warns:
            Notice: an example is there already, or two images have one name.
        """
        other.check_encoder(self.encoder, 'the bank to be merged')
        if other.dim != self.dim:
            raise UserError(f'the banks have vectors of {self.dim} and of {other.dim} numbers')
        other = other._new_to(self)
        if not len(other):
            return self
        names = list(self.names)
        places = [_place(names, name) for name in other.names]
        has_words = list(self.has_words)
        for place, own in zip(places, other.has_words, strict=True):
            if place == len(has_words):
                has_words.append(own)
            else:
                has_words[place] = has_words[place] and own
        images, digests, image_places = self._with_images_of(other)
        class_places = torch.tensor(places or [0])
        count = len(names)
        stats = self.stats.at(torch.arange(len(self.names)), count)
        return replace(
            self,
            names=tuple(names),
            has_words=tuple(has_words),
            vectors=torch.cat([self.vectors, other.vectors]),
            classes=torch.cat([self.classes, class_places[other.classes]]),
            patches=torch.cat([self.patches, other.patches]),
            images=images,
            digests=digests,
            image=torch.cat([self.image, image_places[other.image]]),
            contexts=torch.cat([self.contexts, other.contexts]),
            samples=torch.cat([self.samples, other.samples]),
            sample_row=torch.cat([self.sample_row, other.sample_row + len(self)]),
            stats=stats + other.stats.at(class_places[: len(other.names)], count),
            date='',
            note='; '.join(dict.fromkeys(filter(None, (self.note, other.note)))),
        )

    def _new_to(self, other: Bank) -> Bank:
        """This bank without the examples that another one has already."""
        places = places_of(self._known_images(), other._known_images())
        known = set(other._keys(range(len(other.images))))
        old = torch.tensor([key in known for key in self._keys(places)], dtype=torch.bool)
        if not old.any():
            return self
        label, image = (int(value[old][0]) for value in (self.classes, self.image))
        notify(
            f'{int(old.sum())} of the {len(self)} examples that were to be added are in the bank '
            f'already (such as {self.names[label]!r} in {self.images[image]}) and count once.'
        )
        return self._kept(~old)

    def _keys(self, places: Sequence[int]) -> Iterator[tuple[str, int, bytes]]:
        """By what an example is known: class, place of the image in a bank, vector."""
        classes, images = self._owners()
        for number, (label, image) in enumerate(zip(classes, images, strict=True)):
            vector = self.vectors[number].numpy().tobytes()
            yield name_key(self.names[label]), places[image], vector

    def _owners(self) -> tuple[list[int], list[int]]:
        """Class and image of each exemplar."""
        return self.classes.tolist(), self.image.tolist()

    def _known_images(self) -> list[KnownImage]:
        # An image has a row, and all of its rows one mean patch.
        row = torch.zeros(len(self.images), dtype=torch.int64)
        row[self.image] = torch.arange(len(self))
        parts = zip(self.images, self.digests, self.contexts[row], strict=True)
        return [KnownImage(*part) for part in parts]

    def _with_images_of(self, other: Bank) -> tuple[tuple[str, ...], tuple[str, ...], Tensor]:
        """Names and digests of both banks' images, and where those of the other one are."""
        images, digests = list(self.images), list(self.digests)
        theirs = other._known_images()
        places = places_of(theirs, self._known_images())
        for number, image in enumerate(theirs):
            if places[number] >= 0:
                digests[places[number]] = digests[places[number]] or image.digest
                continue
            places[number] = len(images)
            name = image.renamed(images)
            if name != image.name:
                notify(f'Two images are called {image.name!r}: the one that is added is {name!r}.')
            images.append(name)
            digests.append(image.digest)
        return tuple(images), tuple(digests), torch.tensor(places)

    def without(self, name: str | None = None, image: str | None = None) -> Bank:
        """The bank without a class, an image, or a class in an image.

        Args:
            name: of the class; None for all of them.
            image: its name; None for all of them.

        Raises:
            UserError: neither is given, or no exemplar is of them.
        """
        if name is None and image is None:
            raise UserError('name a class or an image to be taken out of the bank')
        gone = torch.ones(len(self), dtype=torch.bool)
        if name is not None:
            gone &= self.classes == self._found(self.names, name, 'class')
        if image is not None:
            gone &= self.image == self._found(self.images, image, 'image')
        if not gone.any():
            raise UserError(f'the bank has no example of {name!r} in {image!r}')
        return self._kept(~gone)

    def _found(self, known: tuple[str, ...], name: str, kind: str) -> int:
        key = name_key if kind == 'class' else str
        for number, own in enumerate(known):
            if key(own) == key(name.strip()):
                return number
        raise UserError(
            f'the bank has no {kind} {name!r}: it has {", ".join(known) or "none"}.'
            + nearest(name, known)
        )

    def _kept(self, kept: Tensor) -> Bank:
        """The exemplars of a mask (P,), without classes and images that none is left of."""
        row = kept.long().cumsum(0) - 1
        stays = kept[self.sample_row]
        gone_row = (~kept).long().cumsum(0) - 1
        gone = Stats.of(
            self.vectors[~kept],
            self.classes[~kept],
            self.samples[~stays],
            gone_row[self.sample_row[~stays]],
            len(self.names),
        )
        classes, of_class = self.classes[kept].unique(return_inverse=True)
        images, of_image = self.image[kept].unique(return_inverse=True)
        left = self.stats - gone
        stats = replace(left, number=left.number[classes], total=left.total[classes])
        return replace(
            self,
            names=tuple(self.names[label] for label in classes.tolist()),
            has_words=tuple(self.has_words[label] for label in classes.tolist()),
            vectors=self.vectors[kept],
            classes=of_class,
            patches=self.patches[kept],
            images=tuple(self.images[image] for image in images.tolist()),
            digests=tuple(self.digests[image] for image in images.tolist()),
            image=of_image,
            contexts=self.contexts[kept],
            samples=self.samples[stays],
            sample_row=row[self.sample_row[stays]],
            stats=stats,
            date='',
        )

    # Use -------------------------------------------------------------------------------------

    def check_encoder(self, encoder: EncoderIdentity, what: str = 'the bank') -> None:
        """Stops where another encoder made the vectors: their cosines would mean nothing.

        Args:
            encoder: in use.
            what: the bank is called.

        Raises:
            UserError: names both encoders.
        """
        if encoder.fingerprint != self.encoder.fingerprint:
            raise UserError(
                f'{what} was made with {self.encoder}, but what is in use is {encoder}: take that '
                'model, with its weights, windows and precision (--precision), or teach the '
                'examples again with this one'
            )

    @cached_property
    def context(self) -> Tensor:
        """Mean patch of the images, (D,) float64."""
        return self.contexts.double().mean(0)

    def support(self, words: Classifier, vocabulary: Vocabulary) -> Support | None:
        """The exemplars of the classes that are asked for; None where no class has any.

        A class is one of the bank's if its name or one of its words is.

        Args:
            words: the classifier of the words.
            vocabulary: the classes.
        """
        words = words.folded()
        present = set(words.class_index.tolist())
        label_of = self._labels(vocabulary, present)
        if not label_of or not len(self):
            return None
        # The words of a background are different things: each stays a row, with its own examples.
        named = set(label_of.values()) - {words.background_index}
        entries = entries_of(words, sorted(named))
        count = len(entries.rows)
        entry_of = torch.full((len(self.names),), -1)
        nameless = torch.zeros(count, dtype=torch.bool)
        for number, label in label_of.items():
            rows = (entries.class_index == label).nonzero()[:, 0].tolist()
            place = rows[_word_of(vocabulary.classes[label].prompts, self.names[number], len(rows))]
            entry_of[number] = place
            nameless[place] |= not self.has_words[number]
        entry = entry_of[self.classes]
        asked = entry.ge(0)
        row = asked.long().cumsum(0) - 1
        stays = asked[self.sample_row]
        used = entry_of.ge(0).nonzero()[:, 0]
        stats = replace(self.stats, number=self.stats.number[used], total=self.stats.total[used])
        return Support(
            words=words,
            **vars(entries),
            vectors=self.vectors[asked].double(),
            entry=entry[asked],
            image=self.image[asked],
            samples=self.samples[stays],
            sample_row=row[self.sample_row[stays]],
            context=self.context,
            stats=stats.at(entry_of[used], count),
            nameless=nameless,
        )

    def _labels(self, vocabulary: Vocabulary, present: set[int]) -> dict[int, int]:
        """Which class of the vocabulary each of the bank's is, where there is one with rows."""
        label_of: dict[str, int] = {}
        for label, item in enumerate(vocabulary.classes):
            if label in present:
                for word in (item.name, *item.prompts):
                    label_of.setdefault(name_key(word), label)
        return {
            number: label_of[name_key(name)]
            for number, name in enumerate(self.names)
            if name_key(name) in label_of
        }


def _word_of(prompts: Sequence[str], name: str, rows: int) -> int:
    """Which of a class's rows, one a word, stands for a name; the first where none does."""
    keys = [name_key(prompt) for prompt in prompts]
    is_one = rows == len(keys) and name_key(name) in keys
    return keys.index(name_key(name)) if is_one else 0


def _place(names: list[str], name: str) -> int:
    """Where a class's name stands in a list, in any case; it is put there if it is not."""
    for number, own in enumerate(names):
        if name_key(own) == name_key(name):
            return number
    names.append(name)
    return len(names) - 1
