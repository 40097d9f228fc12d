"""Options that say which examples stand beside the words, for all commands that ask a model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ovseg.errors import UserError
from ovseg.input_files import regular_file

if TYPE_CHECKING:
    from ovseg.apis.segmenter import OpenVocabSegmenter

# Those of `ovseg.exemplars.RULE_NAMES`, which would import torch.
CLASSIFIERS = (
    'proto',
    'kindred',
    'bayes',
    'gda',
    'tip',
    'proto-clip',
    'multi-modal',
    'rns',
    'text',
)


def add_exemplar_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--bank``, ``--exemplars`` and ``--classifier``.

    Args:
        parser: receives them.
    """
    parser.add_argument(
        '--bank', metavar='FILE', help='examples beside the words: a bank of "ovseg teach"'
    )
    parser.add_argument(
        '--exemplars',
        metavar='DIR',
        help='examples beside the words: a folder a class, with images and IMAGE.mask.png',
    )
    parser.add_argument(
        '--classifier',
        choices=CLASSIFIERS,
        metavar='RULE',
        help=f'how examples count: one of {", ".join(CLASSIFIERS)} (default: kindred; text: not)',
    )


def check_exemplars(args: argparse.Namespace) -> None:
    """Stops at what can be refused before torch is imported.

    Args:
        args: with what :func:`add_exemplar_arguments` adds.

    Raises:
        UserError: a rule without examples.
        FileNotFoundError: there is no such bank.
    """
    if args.bank is not None:
        regular_file(args.bank, 'bank')
    if args.classifier not in (None, 'text') and args.bank is None and args.exemplars is None:
        raise UserError(
            f'--classifier {args.classifier} is about examples: add --bank FILE or --exemplars DIR.'
        )


def learn(segmenter: OpenVocabSegmenter, args: argparse.Namespace) -> OpenVocabSegmenter:
    """Teaches a segmenter what the command line names; returns it.

    Args:
        segmenter: of any model.
        args: with what :func:`add_exemplar_arguments` adds.

    Raises:
        UserError: a bank of another encoder, examples that cannot be read, a model that takes none.
    """
    if args.bank is None and args.exemplars is None:
        return segmenter
    from ovseg.apis.teaching import learn_folder, taught_of
    from ovseg.exemplars.example_folder import find_examples

    taught = taught_of(segmenter)
    if args.bank is not None:
        segmenter.load_bank(args.bank)
    if args.exemplars is not None:
        learn_folder(segmenter, find_examples(args.exemplars))
    if args.classifier is not None:
        taught.rule = args.classifier
    return segmenter


def said_of_examples(segmenter: OpenVocabSegmenter) -> dict[str, Any]:
    """What labels depend on beside model and words, as plain values; None without examples.

    Args:
        segmenter: after :func:`learn`.
    """
    bank, taught = segmenter.bank, segmenter.model.taught
    if bank is None or taught is None:
        return {'examples': None, 'rule of the examples': None}
    return {'examples': bank.digest, 'rule of the examples': str(taught.rule)}
