"""Write a model, or what a training made, as a file for others: %(prog)s KIND ... OUT.

Examples::

    %(prog)s denseclip --help              # what KIND writes
    %(prog)s denseclip mine.py work_dirs/mine/iter_8000.pth small.safetensors
    %(prog)s weights work_dirs/mine/iter_8000.pth half.safetensors
    %(prog)s onnx maskclip-vit-b16 maskclip.onnx          # words stay an input
    %(prog)s rows maskclip-vit-b16 "cat, kitten; sofa" words.npz

Files appear whole or not at all.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovseg.cli import exported_files, exported_models
from ovseg.cli.entry import main_of
from ovseg.cli.parsers import add_quiet
from ovseg.config_files import place_of_config
from ovseg.errors import EXIT_OK
from ovseg.files import check_folder
from ovseg.input_files import check_named
from ovseg.zoo import resolve_model


@dataclass(frozen=True)
class Kind:
    """One kind of file and the words of its command line.

    Attributes:
        export: writes the file and returns what is in it; its docstring is the kind's help.
        config: whether CONFIG is given; a path is the default of ``--config``.
        takes: what stands before OUT, by their names.
        options: arguments of ``add_argument`` by the option's name.
    """

    export: Callable[[argparse.Namespace], str]
    config: bool | str = False
    takes: tuple[str, ...] = ('checkpoint',)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


_DTYPE = {
    '--dtype': dict(
        choices=('float16', 'float32'),
        default='float16',
        help='of the weights in the file; they are computed with in float32 (default: %(default)s)',
    )
}
_MODEL: Mapping[str, Mapping[str, Any]] = {
    '--checkpoint': dict(help="weights instead of the model's own, or those of a trained model"),
}
_PROGRAM: Mapping[str, Mapping[str, Any]] = {
    **_MODEL,
    '--size': dict(
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='of the images, where the program is to be for one size alone (default: any size; for '
        'models that cannot, their windows, or 512 x 512)',
    ),
}
_IMAGES: Mapping[str, Mapping[str, Any]] = {
    '--images': dict(type=int, required=True, help='pictures seen in all rounds, for the record'),
}
KINDS = {
    'clip-dinoiser': Kind(exported_files.clip_dinoiser),
    'denseclip': Kind(exported_files.denseclip, config=True, options=_DTYPE),
    'maskclip-plus': Kind(exported_files.maskclip_plus, config=True),
    'ovseg-clip': Kind(
        exported_files.ovseg_clip,
        config=True,
        options={'--into': dict(type=Path, help='OVSeg checkpoint whose CLIP is replaced')},
    ),
    'tiny-clip': Kind(
        exported_files.tiny_clip,
        config='configs/tiny_clip/clip_scenes.py',
        options={
            '--images': dict(
                type=int, help="pictures seen in all rounds; the config's own by default"
            )
        },
    ),
    'tiny-dino': Kind(exported_files.tiny_dino, config='configs/tiny_dino/dino_scenes.py'),
    'tiny-sam': Kind(
        exported_files.tiny_sam, config='configs/tiny_sam/tiny_sam_scenes.py', options=_IMAGES
    ),
    'tiny-sam3': Kind(
        exported_files.tiny_sam3, config='configs/tiny_sam3/tiny_sam3_scenes.py', options=_IMAGES
    ),
    'weights': Kind(exported_files.weights, options=_DTYPE),
    'onnx': Kind(exported_models.onnx, takes=('model',), options=_PROGRAM),
    'torch-export': Kind(exported_models.torch_export, takes=('model',), options=_PROGRAM),
    'rows': Kind(exported_models.rows, takes=('model', 'words'), options=_MODEL),
    'features': Kind(exported_models.features, takes=('model', 'image'), options=_MODEL),
}


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The command line: a subcommand a kind.

    Args:
        prog: how it is called.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=raw)
    kinds = parser.add_subparsers(dest='kind', metavar='KIND', required=True)
    for name, kind in KINDS.items():
        about = inspect.getdoc(kind.export) or ''
        words = kinds.add_parser(
            name, help=about.splitlines()[0], description=about, formatter_class=raw
        )
        if kind.config is True:
            words.add_argument('config', metavar='CONFIG', help='path or name of a config')
        for taken in kind.takes:
            type_of = Path if taken == 'checkpoint' else str
            words.add_argument(taken, metavar=taken.upper(), type=type_of)
        words.add_argument('out', metavar='OUT', type=Path)
        if isinstance(kind.config, str):
            words.add_argument('--config', default=kind.config, help='default: %(default)s')
        for option, settings in kind.options.items():
            words.add_argument(option, **settings)
        add_quiet(words)
    return parser


def run(args: argparse.Namespace) -> int:
    """Exports, says what was written, and returns the exit code.

    Args:
        args: of :func:`build_parser`.
    """
    if hasattr(args, 'config'):
        place_of_config(args.config)
    if hasattr(args, 'model'):
        resolve_model(args.model)
    for path in (args.checkpoint, getattr(args, 'into', None)):
        check_named(path)
    check_folder(args.out.parent)
    print(f'{args.out}: {KINDS[args.kind].export(args)}')
    return EXIT_OK


main = main_of(build_parser, run)
