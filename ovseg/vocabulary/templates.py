"""Sentence templates that a class word is put into before CLIP reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from ovseg.errors import UserError, nearest
from ovseg.vocabulary.word_lists import read_text

# MaskCLIP appends these to the 80 of OpenAI (tools/maskclip_utils/prompt_engineering.py).
_MASKCLIP_EXTRA = (
    'there is a {} in the scene.',
    'there is the {} in the scene.',
    'this is a {} in the scene.',
    'this is the {} in the scene.',
    'this is one {} in the scene.',
)

# OVSeg and other ViLD descendants; four end without a full stop, as published.
_VILD = (
    'a photo of a {}.',
    'This is a photo of a {}',
    'There is a {} in the scene',
    'There is the {} in the scene',
    'a photo of a {} in the scene',
    'a photo of a small {}.',
    'a photo of a medium {}.',
    'a photo of a large {}.',
    'This is a photo of a small {}.',
    'This is a photo of a medium {}.',
    'This is a photo of a large {}.',
    'There is a small {} in the scene.',
    'There is a medium {} in the scene.',
    'There is a large {} in the scene.',
)

# TCL's, which TIPSv2 took over.
_TCL = (
    'itap of a {}.',
    'a bad photo of a {}.',
    'a origami {}.',
    'a photo of the large {}.',
    'a {} in a video game.',
    'art of the {}.',
    'a photo of the small {}.',
    'a photo of many {}.',
    'a photo of {}s.',
)

_SHORT_SETS: dict[str, tuple[str, ...]] = {
    'none': ('{}',),
    'single': ('a photo of a {}.',),
    'maskclip_npe': ('a photo of a {}.',),
    'a': ('a(n) {}', 'the {}'),
    'dinoiser': ('a {}',),
    'dinoiser-laion': ('a photo of a {}', 'a photo of an {}'),
    'vild-14': _VILD,
    'tcl-9': _TCL,
}
_IMAGENET_SETS = ('openai-80', 'maskclip-85')

TEMPLATE_SETS: tuple[str, ...] = (*_SHORT_SETS, *_IMAGENET_SETS)

_ARTICLE = 'a(n) '
# Written vowel, spoken consonant ("a unicorn") and the other way round ("an hour").
_SPOKEN_CONSONANT = re.compile(r'(?:uni(?!n|m)|use|usu|uti|uk|eu|ewe|one\b|once)', re.IGNORECASE)
_SPOKEN_VOWEL = re.compile(r'(?:hour|honest|honou?r|heir)', re.IGNORECASE)


def get_templates(source: str | Path | Sequence[str]) -> tuple[str, ...]:
    """The templates of a named set, of a file, or of a list, checked.

    Args:
        source: one of ``TEMPLATE_SETS``; a single template (a string with ``{}``); a text file
            with one template a line (blank lines and ``#`` comments are skipped); or a list.

    Returns:
        Templates, each with exactly one ``{}`` for the word; ``a(n) {}`` picks its article.

    Raises:
        UserError: an unknown set, an empty list, a template without exactly one ``{}``.
        FileNotFoundError: the file is not there.

    Example:
        >>> get_templates('a')
        ('a(n) {}', 'the {}')
        >>> len(get_templates('maskclip-85'))
        85
    """
    if isinstance(source, str) and '{}' not in source and not _names_a_file(source):
        return _named_set(source)
    if isinstance(source, str) and '{}' in source:
        return _checked((source,), 'template')
    if isinstance(source, (str, Path)):
        return _read_file(Path(source))
    if not isinstance(source, Sequence):
        raise UserError(
            f'templates must be a set name, a file or a list of strings, got {source!r}'
        )
    return _checked(source, 'template list')


def fill_template(template: str, word: str) -> str:
    """The prompt: ``word`` put verbatim into ``template``, with the right article for ``a(n)``.

    Example:
        >>> fill_template('a photo of a(n) {}.', 'apple'), fill_template('a(n) {}', 'unicorn')
        ('a photo of an apple.', 'a unicorn')
    """
    if _ARTICLE in template:
        before = template.split('{}')[0]
        # The article stands before the word itself or before an adjective of the template.
        spoken = before.split(_ARTICLE)[-1] or word
        template = template.replace(_ARTICLE, _article(spoken) + ' ')
    return template.replace('{}', word)


def _article(word: str) -> str:
    if _SPOKEN_VOWEL.match(word):
        return 'an'
    starts_with_vowel = word[:1].lower() in tuple('aeiou')
    return 'an' if starts_with_vowel and not _SPOKEN_CONSONANT.match(word) else 'a'


def _names_a_file(source: str) -> bool:
    return source.lower().endswith('.txt') or '/' in source or '\\' in source


def _named_set(name: str) -> tuple[str, ...]:
    if name in _SHORT_SETS:
        return _SHORT_SETS[name]
    if name in _IMAGENET_SETS:
        extra = _MASKCLIP_EXTRA if name == 'maskclip-85' else ()
        return _openai_templates() + extra
    raise UserError(
        f'unknown template set {name!r}, use one of {", ".join(TEMPLATE_SETS)}, '
        "a .txt file or a string with '{}'." + nearest(name, TEMPLATE_SETS)
    )


@lru_cache(maxsize=1)
def _openai_templates() -> tuple[str, ...]:
    import open_clip  # here, because it costs a second and most imports never need it

    return tuple(template('{}') for template in open_clip.OPENAI_IMAGENET_TEMPLATES)


def _read_file(path: Path) -> tuple[str, ...]:
    lines = [line.strip() for line in read_text(path, 'template file').splitlines()]
    return _checked([line for line in lines if line and not line.startswith('#')], str(path))


def _checked(templates: Sequence[str], where: str) -> tuple[str, ...]:
    if not templates:
        raise UserError(
            f'{where} is empty, give at least one template such as "a photo of a {{}}."'
        )
    for number, template in enumerate(templates, 1):
        if not isinstance(template, str) or template.count('{}') != 1:
            raise UserError(
                f'template {number} of {where} must be a string with exactly one {{}} '
                f'for the word, got {template!r}'
            )
    return tuple(templates)
