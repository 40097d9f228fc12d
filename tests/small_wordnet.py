"""A WordNet of a few nouns in the files that nltk reads, where its own cannot be fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

# Of each sense its words, and what it is a kind of; the most usual sense of a word first.
NOUNS: Mapping[str, tuple[Sequence[str], str | None]] = {
    'whole': (('whole',), None),
    'cat': (('cat', 'true_cat'), 'whole'),
    'woman': (('cat', 'gossip'), 'whole'),
    'sofa': (('sofa', 'couch', 'lounge'), 'whole'),
    'room': (('hall', 'lounge'), 'whole'),
    'sky': (('sky',), 'whole'),
    'bank of a river': (('bank', 'shore'), 'whole'),
    'bank of money': (('bank', 'depository', 'banking_company'), 'whole'),
}
_OTHERS = ('adj', 'adv', 'verb')
_FILES = (
    *('cntlist.rev', 'index.sense', 'noun.exc'),
    *(name for part in _OTHERS for name in (f'index.{part}', f'data.{part}', f'{part}.exc')),
)
_LEXNAMES = ('adj.all', 'adj.pert', 'adv.all', 'noun.Tops')


def write_wordnet(folder: Path) -> None:
    """The files of :data:`NOUNS`.

    Args:
        folder: receives ``corpora/wordnet``.
    """
    corpus = folder / 'corpora' / 'wordnet'
    corpus.mkdir(parents=True)
    for name in _FILES:
        (corpus / name).write_text('')
    lines = [f'{number:02d}\t{name}\t1\n' for number, name in enumerate(_LEXNAMES)]
    (corpus / 'lexnames').write_text(''.join(lines))
    offsets: dict[str, int] = {}
    data, end = [], 0
    for sense, (words, above) in NOUNS.items():
        listed = ' '.join(f'{word} 0' for word in words)
        up = '000' if above is None else f'001 @ {offsets[above]:08d} n 0000'
        line = f'{end:08d} 03 n {len(words):02x} {listed} {up} | {sense}  \n'
        offsets[sense] = end
        data.append(line)
        end += len(line)
    (corpus / 'data.noun').write_text(''.join(data))
    senses: dict[str, list[int]] = {}
    for sense, (words, _) in NOUNS.items():
        for word in words:
            senses.setdefault(word, []).append(offsets[sense])
    index = [
        f'{word} n {len(own)} 0 {len(own)} 0 {" ".join(f"{each:08d}" for each in own)}  \n'
        for word, own in sorted(senses.items())
    ]
    (corpus / 'index.noun').write_text(''.join(index))


def read_by_nltk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has nltk find a WordNet in a folder, and nowhere else.

    Args:
        folder: of :func:`write_wordnet`, or an empty one.
        monkeypatch: of the test.
    """
    nltk = pytest.importorskip('nltk')
    from nltk.corpus.reader import WordNetCorpusReader
    from nltk.corpus.util import LazyCorpusLoader

    monkeypatch.setattr(nltk.data, 'path', [str(folder)])
    other = LazyCorpusLoader('omw-1.4', nltk.corpus.reader.CorpusReader, '.*')
    monkeypatch.setattr(
        nltk.corpus, 'wordnet', LazyCorpusLoader('wordnet', WordNetCorpusReader, other)
    )
