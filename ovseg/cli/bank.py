"""A bank of the regions of unlabelled images, which CorrCLIP (version 2) looks its own up in.

Each region of each image is kept by two vectors: a key, by which it is found (the companion's), and
what CLIP says of it. No words, no labels. In the output folder are keys.npy, embeddings.npy, and
images.jsonl, which says whose rows are whose; a config takes them as

    model = dict(bank=dict(keys='bank/keys.npy', embeddings='bank/embeddings.npy'))

A run that was killed goes on where it was, and one with more images extends the bank: parts/ has a
file for each image that is done. Remove it when no more are to come.

Examples::

    %(prog)s photos/ bank --model configs/corrclip/corrclip_v2_vit-l14_metaclip.py
    %(prog)s photos/ bank --model CONFIG --regions region_maps --index
    %(prog)s photos/ bank --model CONFIG --auxiliary CONFIG_B16 --auxiliary-checkpoint dfn2b

Exit codes: 0 all done; 1 some images failed, they are listed and left out; 2 nothing could be done.
"""

from __future__ import annotations

import argparse

from ovseg.cli.entry import main_of
from ovseg.cli.image_arguments import found_images
from ovseg.cli.parsers import check_counts, check_device, new_parser
from ovseg.errors import UserError
from ovseg.files import check_folder
from ovseg.precision_choice import add_precision_argument

# The short side at which CorrCLIPv2 built its banks, with windows of 336 pixels.
SHORT_SIDE = 448


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        prog: how it is called.
    """
    parser = new_parser(__doc__, prog)
    parser.add_argument('image', metavar='FOLDER|GLOB', help='the images')
    parser.add_argument('out_dir', metavar='OUT', help='folder of the bank')
    parser.add_argument(
        '--model', required=True, metavar='CONFIG', help='of CorrCLIP, version 2; its bank is left'
    )
    parser.add_argument('--checkpoint', metavar='FILE', help="CLIP weights instead of the config's")
    parser.add_argument(
        '--auxiliary',
        metavar='CONFIG',
        help='of a second CorrCLIP, for auxiliary.npy: what another CLIP says of the same regions',
    )
    parser.add_argument(
        '--auxiliary-checkpoint', metavar='FILE', help='CLIP weights of the second one'
    )
    parser.add_argument(
        '--regions',
        metavar='FOLDER',
        help="region maps, one file an image, instead of the config's regions",
    )
    parser.add_argument(
        '--short-side',
        type=int,
        default=SHORT_SIDE,
        metavar='N',
        help='of what CLIP sees, in pixels (default: %(default)s, as the published banks)',
    )
    parser.add_argument(
        '--index',
        action='store_true',
        help='also keys.faiss, 32 bytes a region, searched by parts: for millions of regions; '
        'needs "ovseg[faiss]"',
    )
    parser.add_argument(
        '--device', help='auto (default): a GPU if there is one; cpu, cuda, cuda:1, xpu, mps ...'
    )
    add_precision_argument(parser, 'auto')
    parser.set_defaults(more_images=[])
    return parser


def run(args: argparse.Namespace) -> int:
    """Builds; returns 0 (all done), 1 (some images failed) or 2 (nothing done).

    Args:
        args: of :func:`build_parser`.
    """
    check_counts(args, 'short_side')
    if args.auxiliary_checkpoint is not None and args.auxiliary is None:
        raise UserError('--auxiliary-checkpoint goes with --auxiliary.')
    check_folder(args.out_dir)
    check_device(args.device)
    found = found_images(args)
    from ovseg.cli.bank_folder import build_bank

    return build_bank(found.images, args)


main = main_of(build_parser, run)
