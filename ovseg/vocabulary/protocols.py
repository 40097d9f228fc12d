"""The words of published protocols: ``names/<dataset>.json``, one list a method."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from ovseg.errors import UserError, nearest
from ovseg.vocabulary.rejection import BACKGROUND

NAMES_FOLDER = Path(__file__).parent / 'names'
# The data set's own list: it fixes label order and display names, CLIP is often shown others.
METAINFO = 'mmseg_metainfo'
# Label 0 is the background, and the words listed for it are what it may look like.
_BACKGROUND_FIRST = ('voc21', 'context60', 'coco_object')
_SAME_AS = 'same as '

Words = tuple[tuple[str, ...], ...]


def list_protocols() -> dict[str, tuple[str, ...]]:
    """Every data set with words, and the protocols it has words for."""
    return {path.stem: tuple(_load(path)) for path in sorted(NAMES_FOLDER.glob('*.json'))}


def protocol_words(dataset: str, protocol: str) -> tuple[tuple[str, ...], Words, bool]:
    """Display names, prompts and whether label 0 is the background, in label order.

    Args:
        dataset: stem of a file in ``names``.
        protocol: key in that file.

    Raises:
        UserError: an unknown data set or protocol, a file whose lists do not match.
    """
    path = NAMES_FOLDER / f'{dataset}.json'
    known = [file.stem for file in sorted(NAMES_FOLDER.glob('*.json'))]
    if dataset not in known:
        raise UserError(
            f'no class names for data set {dataset!r}, there are {", ".join(known)}.'
            + nearest(str(dataset), known)
        )
    lists = _load(path)
    if protocol not in lists:
        raise UserError(
            f'no class names of protocol {protocol!r} for {dataset}, there are '
            f'{", ".join(lists)}.' + nearest(str(protocol), lists)
        )
    prompts = lists[protocol]
    names = [words[0] for words in lists.get(METAINFO, prompts)]
    own = [words[0] for words in prompts]
    if sorted(own) == sorted(names):
        names = own  # OVSeg has Context-59 in another order; the data set's would misname it
    if len(names) != len(prompts):
        raise UserError(
            f'{path.name}: {protocol} has {len(prompts)} classes but {METAINFO} has {len(names)}'
        )
    has_background = dataset in _BACKGROUND_FIRST
    if has_background:
        names[0] = BACKGROUND
    return tuple(names), prompts, has_background


def by_label(dataset: str, names: tuple[str, ...], prompts: Words) -> tuple[tuple[str, ...], Words]:
    """Classes of :func:`protocol_words`, in the order of the data set's labels.

    A protocol with names of its own has them in that order already, the data set's names.

    Args:
        dataset: stem of a file in ``names``.
        names: of the classes.
        prompts: of the classes.
    """
    labels, _, _ = protocol_words(dataset, METAINFO)
    pairs = dict(zip(names, prompts, strict=True))
    return labels, tuple(pairs[name] for name in labels)


@cache
def _load(path: Path) -> dict[str, Words]:
    """All lists of one file, with ``same as X`` resolved."""
    entries = json.loads(path.read_text(encoding='utf-8'))
    lists: dict[str, Words] = {}
    for protocol in entries:
        target, seen = protocol, set()
        while isinstance(entries[target], str):
            seen.add(target)
            target = entries[target].removeprefix(_SAME_AS)
            if target in seen or target not in entries:
                raise UserError(f"{path.name}: {protocol} is 'same as' nothing ({target})")
        lists[protocol] = tuple(tuple(words) for words in entries[target])
    return lists
