"""Options on how words are turned into a classifier: of every command that is given words."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ovseg.errors import UserError
from ovseg.input_files import regular_file
from ovseg.vocabulary import Vocabulary
from ovseg.vocabulary.contrast_words import CONTRAST_SOURCES, contrast_words
from ovseg.vocabulary.descriptions import WORDNET
from ovseg.vocabulary.wordnet import noun_senses

# As in ovseg.text.combine, whose file loads torch; tests compare the two.
COMBINE = ('mean', 'max', 'mean_scores', 'joined', 'raw_mean', 'max_score', 'sum_prob', 'lse')


def add_word_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options.

    Args:
        parser: receives them.
    """
    parser.add_argument(
        '--combine', choices=COMBINE, help='how the words of a class make its score'
    )
    parser.add_argument(
        '--descriptions',
        metavar='FILE',
        help='sentences about the classes: .json of ovseg, VCD or CuPL, .pt of VDT; or wordnet: '
        'synonyms of WordNet beside the words',
    )
    parser.add_argument(
        '--experts', metavar='FILE', help="each class's best template, a file of ovseg templates"
    )
    parser.add_argument(
        '--contrast',
        metavar='WORDS',
        help='what else may be in the image, as "none of these": background, auto (a list of '
        'scene words without those near to a class) or a .txt or .json file (default: none)',
    )


def check_word_files(args: argparse.Namespace, vocabulary: Vocabulary | None) -> None:
    """Stops at files that cannot be read, before torch is imported.

    Args:
        args: with the options of :func:`add_word_arguments`.
        vocabulary: what is asked for; None where that is not known yet.

    Raises:
        FileNotFoundError: a file is not there.
        UserError: a file of another kind.
    """
    for name, content in (('descriptions', 'file of descriptions'), ('experts', 'ranking')):
        path = getattr(args, name)
        if path is not None and (name, path) != ('descriptions', WORDNET):
            regular_file(path, content)
    if args.descriptions == WORDNET:
        noun_senses('word', 'leave --descriptions out')  # whether there is one
    source = args.contrast
    if source in (None, *CONTRAST_SOURCES):
        return
    if Path(source).suffix.lower() not in ('.txt', '.json'):
        raise UserError(
            f'--contrast must be {", ".join(CONTRAST_SOURCES)} or a .txt or .json file, got '
            f"'{source}'."
        )
    regular_file(source, 'file of contrast words')
    if vocabulary is not None:
        contrast_words(source, vocabulary)


def text_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What the options say of ``model.text``, see :func:`~ovseg.text.build_classifier`.

    Args:
        args: with the options of :func:`add_word_arguments`.
    """
    names = ('combine', 'descriptions', 'experts')
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}
