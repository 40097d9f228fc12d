"""Words for what else may be in an image: a small lexicon of scenes, and files of such words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovseg.errors import UserError
from ovseg.input_files import read_json
from ovseg.vocabulary.descriptions import FORMAT, Descriptions, of_document
from ovseg.vocabulary.parsing import as_words, check_words, folded, name_key
from ovseg.vocabulary.vocabulary import Vocabulary
from ovseg.vocabulary.word_lists import plain_separators, read_text

# What `--contrast` takes beside a file.
CONTRAST_SOURCES = ('none', 'background', 'auto')

# What photographs show around things, indoors and out: surfaces, plants, ground, water, buildings,
# furniture, light. Written for ovseg; things that people ask for are left out on purpose.
SCENE_WORDS: tuple[str, ...] = (
    *('sky', 'cloud', 'sunlight', 'fog', 'smoke', 'shadow', 'reflection', 'darkness'),
    *('grass', 'lawn', 'meadow', 'field', 'tree', 'tree trunk', 'branch', 'bush', 'hedge'),
    *('leaf', 'flower bed', 'forest', 'moss', 'straw', 'ivy', 'plant pot'),
    *('soil', 'mud', 'sand', 'gravel', 'pebbles', 'rock', 'cliff', 'mountain', 'hill', 'snow'),
    *('ice', 'sea', 'river', 'lake', 'puddle', 'waves', 'waterfall', 'beach', 'swimming pool'),
    *('road', 'asphalt', 'pavement', 'kerb', 'footpath', 'crossing', 'road marking', 'car park'),
    *('railway track', 'platform', 'bridge', 'tunnel', 'pier', 'runway', 'pitch'),
    *('building', 'house front', 'brick wall', 'concrete wall', 'wooden wall', 'roof', 'chimney'),
    *('window', 'door', 'balcony', 'staircase', 'railing', 'fence', 'gate', 'pillar', 'scaffold'),
    *('street lamp', 'pole', 'cable', 'sign', 'poster', 'bin'),
    *('wall', 'wallpaper', 'tiles', 'ceiling', 'floor', 'wooden floor', 'carpet', 'rug', 'mat'),
    *('curtain', 'blind', 'mirror', 'picture frame', 'lamp', 'shelf', 'cupboard', 'drawer'),
    *('worktop', 'sink', 'blanket', 'pillow', 'tablecloth', 'cloth', 'paper', 'cardboard'),
    *('plastic', 'metal', 'wood', 'glass', 'text', 'blurred background'),
)


def contrast_words(source: str | Path, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The words of a source, without those that are asked for.

    Args:
        source: ``'background'`` for that word, ``'auto'`` for ``SCENE_WORDS``; or a file: ``.txt``
            with words by lines and commas (one line a class, as published lists have it, or any);
            ``.json`` with a list of words, a map of class names to such lists, of which those of
            the asked classes count, or descriptions with ``contrast``.
        vocabulary: what is asked for.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: the file holds something else, or nothing for these classes.
    """
    if source == 'background':
        words: Sequence[str] = ('background',)
    elif source == 'auto':
        words = SCENE_WORDS
    else:
        words = _of_file(Path(source), vocabulary)
    asked = {folded(word) for item in vocabulary.asked for word in (item.name, *item.prompts)}
    found: dict[str, str] = {}
    for word in words:
        if folded(word) not in asked:
            found.setdefault(folded(word), word)
    return tuple(found.values())


def _of_file(path: Path, vocabulary: Vocabulary) -> list[str]:
    suffix = path.suffix.lower()
    if suffix == '.txt':
        text = plain_separators(read_text(path, 'file of contrast words')).replace(';', ',')
        words = [' '.join(word.split()) for line in text.splitlines() for word in line.split(',')]
        words = [word for word in words if word]
    elif suffix == '.json':
        words = _of_json(
            read_json(path, 'file of contrast words', by_hand=True), str(path), vocabulary
        )
    else:
        raise UserError(
            f'contrast must be {", ".join(CONTRAST_SOURCES)} or a .txt or .json file of words, got '
            f"'{path}'"
        )
    for word in words:
        check_words(word, f'a word of {path}')
    if not words:
        raise UserError(f'{path} holds no contrast word for the classes that are asked for')
    return words


def _of_json(content: Any, source: str, vocabulary: Vocabulary) -> list[str]:
    if not isinstance(content, Mapping):
        return list(as_words(content, f'the contrast words of {source}'))
    if content.get('format') == FORMAT:
        said: Descriptions = of_document(content, source)
        entries = [said.of(item.name) for item in vocabulary.asked]
        return [word for entry in entries if entry is not None for word in entry.contrast]
    asked = {name_key(item.name) for item in vocabulary.asked}
    return [
        word
        for name, words in content.items()
        for word in as_words(words, f'{source}: contrast words of {name!r}')
        if name_key(name) in asked
    ]
