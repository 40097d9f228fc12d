"""The models that a page offers: what each is, and those that are loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ovseg.apis import OpenVocabSegmenter
from ovseg.errors import UserError, nearest
from ovseg.locks import Lock
from ovseg.zoo import ModelEntry
from ovseg.zoo.costs import COSTS, SPEEDS
from ovseg.zoo.listing import short_facts


class PageModels:
    """Models by name, loaded when they are first asked for; one object for all who ask.

    In memory are the one that the page starts with and, of the others, the one asked for last.

    Args:
        names: those that are offered, the one that the page starts with first.
        load: builds one; slow, it may download weights.
        unloaded: called with the name of a model that makes room for another.
    """

    def __init__(
        self,
        names: Sequence[str],
        load: Callable[[str], OpenVocabSegmenter],
        unloaded: Callable[[str], None],
    ) -> None:
        self.names = tuple(names)
        self._load, self._unloaded = load, unloaded
        self._loaded: dict[str, OpenVocabSegmenter] = {}
        self._lock = Lock()

    def get(self, name: str) -> OpenVocabSegmenter:
        """The model of a name; whoever asks while one is loaded waits for that.

        Args:
            name: of :attr:`names`.

        Raises:
            UserError: it is not offered, or its weights cannot be had.
        """
        found = self._loaded.get(name)
        if found is not None:
            return found
        if name not in self.names:
            raise UserError(
                f'The page offers no model {name!r}: choose one of {", ".join(self.names)}.'
                + nearest(str(name), self.names)
            )
        with self._lock:
            if name not in self._loaded:
                loaded = self._load(name)
                for other in [each for each in self._loaded if each != self.names[0]]:
                    if name != self.names[0]:
                        del self._loaded[other]
                        self._unloaded(other)
                self._loaded[name] = loaded
            return self._loaded[name]


def choice_of(entry: ModelEntry) -> str:
    """A model in a list of choices: name, size, licence, where its weights come from.

    Args:
        entry: of the zoo.

    Example:
        >>> from ovseg.zoo import find_model
        >>> choice_of(find_model('maskclip-vit-b16'))
        'maskclip-vit-b16 · 598 MB · MIT · to download'
    """
    name, _, come, licences = short_facts(entry)
    cost = COSTS.get(name)
    size = cost and f'{cost.megabytes:.0f} MB'
    come = 'to download' if entry.needs_download else come
    return ' · '.join(part for part in (name, size, licences, come) if part)


def facts_of(entry: ModelEntry) -> str:
    """A sentence or two on a model: its weights with their licence in full, and what to know.

    Args:
        entry: of the zoo.
    """
    cost = COSTS.get(entry.name)
    facts = [f'Weights: {entry.weights}', f'licence: {entry.licence}']
    if cost is not None:
        facts.append(f'{cost.parameters:.0f} M parameters')
        facts.append(f'a photograph on two cores: {SPEEDS[cost.speed]}')
    return f'{"; ".join(facts)}. {entry.note}'.rstrip()
