"""The card of a saved model: what it is, under which licence, what it knows and what it scored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING

from ovseg import __version__
from ovseg.errors import UserError
from ovseg.zoo import find_model
from ovseg.zoo.entry import ModelEntry

if TYPE_CHECKING:
    from ovseg.apis.pretrained_model import PretrainedModel

# What the hub calls the licences that stand in our zoo; the first that a text names counts, the
# strictest first.
_HUB_LICENCES = {
    'CC BY-NC 4.0': 'cc-by-nc-4.0',
    'Apache-2.0': 'apache-2.0',
    'MIT': 'mit',
}
_UNKNOWN = 'not stated by whoever saved the model'
_WORDS_SHOWN = 200


def entry_of(segmenter: PretrainedModel) -> ModelEntry | None:
    """The zoo's entry of a segmenter with the weights of the zoo, else None.

    Args:
        segmenter: any.
    """
    if segmenter.has_own_weights:
        return None
    try:
        return find_model(segmenter.name)
    except UserError:
        return None


def card_of(
    segmenter: PretrainedModel, licence: str | None, measured: Mapping[str, float] | None
) -> str:
    """The text of the card, in the hub's form: facts in YAML, then Markdown.

    Args:
        segmenter: that is saved.
        licence: of the weights; None for that of the zoo, if they are the zoo's.
        measured: mIoU in percent by data set, as measured with these weights.

    Raises:
        UserError: a number that is no percentage.
    """
    entry = entry_of(segmenter)
    stated = licence or (entry.licence if entry else None)
    head = ['---', 'library_name: ovseg', 'pipeline_tag: image-segmentation']
    head += [f'license: {_hub_licence(stated)}', 'tags:', '- semantic-segmentation']
    head += ['- open-vocabulary-segmentation', '- ovseg', '---']
    words = segmenter.vocabulary
    parts = [
        '\n'.join(head),
        f'# {segmenter.name}',
        'Masks of what you name, by [ovseg](https://pypi.org/project/ovseg).',
        '## Use',
        '```python\nfrom ovseg import OpenVocabSegmenter\n\n'
        f"segment = OpenVocabSegmenter.from_pretrained('THIS FOLDER OR ITS NAME ON THE HUB')\n"
        f"result = segment('photo.jpg'{_asked(segmenter)})\nresult.save('outputs')\n```",
        '## Licence of the weights',
        stated or _UNKNOWN.capitalize() + '.',
    ]
    if entry is not None:
        parts += ['Where they come from: ' + entry.weights + '.']
        if entry.world:
            parts += ['They know the small drawn world of their training alone, no photographs.']
    parts += ['## Words']
    if words is None:
        parts += ['Any; none are set.']
    else:
        listed = '; '.join(words.names[:_WORDS_SHOWN])
        more = len(words) - _WORDS_SHOWN
        parts += [listed + (f'; and {more} more' if more > 0 else '') + '.']
    parts += ['## Protocol', _table(('', ''), _protocol(segmenter))]
    parts += ['## Numbers', 'mIoU in percent.']
    if entry is not None and entry.published:
        rows = [(name, f'{value:g}') for name, value in entry.published.items()]
        parts += [f'Published ({entry.source}), not measured with this file:']
        parts += [_table(('data set', 'published'), rows)]
    if measured:
        rows = [(str(name), _percent(name, value)) for name, value in measured.items()]
        parts += ['Measured with this file, as its author says:']
        parts += [_table(('data set', 'measured'), rows)]
    else:
        parts += ['None was measured with this file.']
    parts += [f'Saved by ovseg {__version__}.']
    return '\n\n'.join(parts) + '\n'


def _percent(name: str, value: float) -> str:
    if isinstance(value, Real) and 0 <= value <= 100:
        return f'{float(value):g}'
    raise UserError(f'measured[{name!r}] must be an mIoU in percent, from 0 to 100, got {value!r}.')


def _asked(segmenter: PretrainedModel) -> str:
    return ", 'cat, kitten; sofa'" if segmenter.model.takes_templates else ''


def _hub_licence(text: str | None) -> str:
    for name, called in _HUB_LICENCES.items():
        if text and re.search(rf'\b{re.escape(name)}', text):
            return called
    return 'other' if text else 'unknown'


def _protocol(segmenter: PretrainedModel) -> list[tuple[str, str]]:
    facts = {'resize': segmenter.resize, **segmenter.model.protocol()}
    return [(str(name), str(value)) for name, value in facts.items()]


def _table(header: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [
        ' | '.join(cell.replace('|', '\\|') for cell in line)
        for line in (header, ('---', '---'), *rows)
    ]
    return '\n'.join(f'| {line} |' for line in lines)
