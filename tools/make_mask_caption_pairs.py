r"""Make region-noun pairs to adapt CLIP to masked regions, as OVSeg did.

    python tools/make_mask_caption_pairs.py data/coco/train2017 captions_train2017.json OUT \
        --maskformer work_dirs/ovseg_maskformer/ovseg_maskformer.py iter_120000.pth

Every noun of a caption gets the region of its image that CLIP finds nearest. Regions come from a
trained MaskFormer (--maskformer), from maps in files (--regions), or from a source that a config
file names as `regions = dict(type=...)` (--proposals). OUT/pairs.csv is the table, OUT/images and
OUT/masks hold the regions. A second run goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ovseg.cli.parsers import check_device
from ovseg.datasets.caption_files import read_captions
from ovseg.datasets.pair_files import Pair, write_pairs
from ovseg.errors import EXIT_NOTHING_DONE, EXIT_OK, EXIT_SOME_FAILED, UserError, run_cli
from ovseg.file_names import fitting_stem
from ovseg.files import cannot_write, check_folder, written_whole
from ovseg.input_files import cause_of, check_named, read_text
from ovseg.progress import with_progress
from ovseg.vocabulary import Vocabulary

# Words are read, and refused, before torch is imported: the functions import what they need.
if TYPE_CHECKING:
    from ovseg.regions.region_proposals import ProposalSource
    from ovseg.training.nouns import NounSource
    from ovseg.training.region_nouns import NamedRegion, RegionNamer

TABLE = 'pairs.csv'
PROGRESS = 'progress.jsonl'
# Bytes of a file's name before the numbers that follow.
_LONGEST_STEM = 200


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('images', type=Path, help='folder that paths in the captions start from')
    parser.add_argument('captions', type=Path, help="COCO's JSON, or one of path to caption")
    parser.add_argument('out', type=Path, help='folder to write to')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        '--maskformer', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='of an OVSeg, as trained'
    )
    source.add_argument('--regions', type=Path, help='folder of region maps, NAME.png for NAME.jpg')
    source.add_argument('--proposals', type=Path, help='config file with `regions = dict(type=..)`')
    parser.add_argument(
        '--every-id', action='store_true', help='0 in a region map is a region, too'
    )
    parser.add_argument(
        '--words', help='nouns to look for, "a; b; c" or a file, instead of nltk\'s tagger'
    )
    parser.add_argument(
        '--captions-per-image', type=int, default=1, help='of those it has (default: 1, as OVSeg)'
    )
    parser.add_argument(
        '--clip',
        nargs=2,
        metavar=('MODEL', 'PRETRAINED'),
        default=('ViT-L-14-quickgelu', 'openai'),
        help='default: %(default)s; to try it out: tiny_clip_scenes embedded',
    )
    parser.add_argument(
        '--adapted', type=Path, help='checkpoint of a fine-tuning: its CLIP names regions better'
    )
    parser.add_argument('--templates', default='vild-14', help='default: %(default)s')
    parser.add_argument('--threshold', type=float, default=0.4, help='of soft masks')
    parser.add_argument(
        '--fill',
        type=int,
        nargs=3,
        metavar=('R', 'G', 'B'),
        help="colour around regions (default: CLIP's mean, as in inference; 124 116 103 for data "
        "that is read with mask_from='colour')",
    )
    parser.add_argument('--device')
    args = parser.parse_args(argv)
    if args.captions_per_image < 1:
        parser.error('--captions-per-image must be at least 1')
    return args


def proposal_source(args: argparse.Namespace) -> ProposalSource:
    """Returns what finds the regions.

    Raises:
        UserError: the config names none.
    """
    from mmengine.config import Config

    from ovseg.apis.proposals import ModelProposals
    from ovseg.devices import choose_device
    from ovseg.regions.region_maps import RegionFolder
    from ovseg.regions.region_proposals import MapProposals
    from ovseg.registry import build_part

    if args.maskformer is not None:
        return ModelProposals(*args.maskformer, args.device)
    if args.regions is not None:
        source = RegionFolder(args.regions)
    else:
        config = Config.fromfile(str(args.proposals)).get('regions')
        if config is None:
            raise UserError(f'{args.proposals} has no `regions = dict(type=...)`; add it')
        source = build_part(config)
    if hasattr(source, 'to'):
        source.to(choose_device(args.device))
    if hasattr(source, 'proposals'):
        return source
    return MapProposals(source, None if args.every_id else 0)


def noun_source(words: str | None) -> NounSource:
    """Returns what finds the nouns of a caption."""
    from ovseg.training.nouns import ListedNouns, TaggedNouns

    if words is None:
        return TaggedNouns()
    return ListedNouns([word for item in Vocabulary.parse(words) for word in item.prompts])


def region_namer(args: argparse.Namespace) -> RegionNamer:
    """Returns what names regions, with CLIP on its device."""
    from ovseg.devices import choose_device
    from ovseg.encoders.adapted_clip import AdaptedCLIP
    from ovseg.encoders.clip import EMBEDDED_MODELS, load_clip
    from ovseg.training.region_nouns import RegionNamer

    model, pretrained = args.clip
    if model in EMBEDDED_MODELS and pretrained != 'embedded':
        raise UserError(f"--clip {model} goes with 'embedded', got '{pretrained}'")
    adapted = None if args.adapted is None else AdaptedCLIP.read(args.adapted)
    clip = load_clip(model, pretrained)
    if adapted is not None:
        adapted.put_into(clip.model)
    clip.model.to(choose_device(args.device))
    return RegionNamer(clip, args.templates, args.threshold, args.fill)


class PairFolder:
    """The folder written to; what it holds of an interrupted run is kept.

    Args:
        out: the folder.
        settings: of the run, as plain data; pairs of different settings are never mixed.

    Raises:
        UserError: it is finished, or was begun with other settings.
    """

    def __init__(self, out: Path, settings: dict) -> None:
        if os.path.exists(out / TABLE):
            raise UserError(f'{out / TABLE} exists; choose another folder, or delete it')
        self.out = out
        self._path = out / PROGRESS
        self.done: dict[str, list[Pair]] = {}
        self._stems: set[str] = set()
        if not os.path.isfile(self._path):
            with written_whole(self._path) as temporary:
                temporary.write_text(json.dumps(settings) + '\n', encoding='utf-8')
            return
        # What follows the last line break was being written when the run was stopped.
        first, *lines = read_text(self._path, 'record of a run').split('\n')[:-1] or ['']
        try:
            begun = json.loads(first)
            for line in lines:
                name, rows = json.loads(line)
                self.done[name] = [Pair(*row) for row in rows]
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f'{self._path} is no record of a run ({cause_of(error)}); use another folder'
            ) from error
        if begun != settings:
            raise UserError(f'{out} was begun with other settings ({first}); use another folder')
        for pair in (pair for pairs in self.done.values() for pair in pairs):
            self._stems.add(Path(pair.filepath).stem.rpartition('-')[0])
        with written_whole(self._path) as temporary:
            temporary.write_text('\n'.join([first, *lines, '']), encoding='utf-8')

    def add(self, name: str, regions: Iterator[NamedRegion]) -> None:
        """Writes the regions of an image.

        Args:
            name: of the image, as the captions have it.
            regions: with their nouns.
        """
        stem = self._stem_of(name)
        pairs = []
        for number, region in enumerate(regions):
            pair = Pair(f'images/{stem}-{number}.png', region.noun, f'masks/{stem}-{number}.png')
            _save(region.image.permute(1, 2, 0).numpy(), self.out / pair.filepath)
            _save(region.mask.numpy().astype(np.uint8) * 255, self.out / pair.mask)
            pairs.append(pair)
        self.done[name] = pairs
        rows = [[pair.filepath, pair.title, pair.mask] for pair in pairs]
        try:
            with self._path.open('a', encoding='utf-8') as progress:
                progress.write(json.dumps([name, rows]) + '\n')
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def _stem_of(self, name: str) -> str:
        """How the files of an image begin, which is as those of no other image."""
        stem = fitting_stem(Path(name).with_suffix('').as_posix().replace('/', '-'), _LONGEST_STEM)
        if stem in self._stems:  # of a/b.jpg and a-b.jpg, or of a.jpg and a.png
            stem += f'-{blake2b(os.fsencode(name), digest_size=4).hexdigest()}'
        self._stems.add(stem)
        return stem

    def finish(self) -> int:
        """Writes the table and returns the number of its rows.

        Raises:
            UserError: there are none.
        """
        pairs = [pair for of_image in self.done.values() for pair in of_image]
        if not pairs:
            raise UserError('no caption has a noun with a region, so there are no pairs')
        write_pairs(self.out / TABLE, pairs)
        self._path.unlink()
        return len(pairs)


def pair_image(
    path: Path, captions: Sequence[str], find: ProposalSource, nouns: NounSource, namer: RegionNamer
) -> Iterator[NamedRegion]:
    """Yields the named regions of an image; a noun in two captions counts once."""
    import torch

    from ovseg.images.reading import load_rgb

    said = list(dict.fromkeys(noun for caption in captions for noun in nouns(caption)))
    if not said:
        return
    image = load_rgb(path)
    masks = torch.from_numpy(find.proposals(image, str(path)))
    yield from namer.name(torch.from_numpy(image).permute(2, 0, 1), masks, said)


def _save(pixels: np.ndarray, path: Path) -> None:
    with written_whole(path) as temporary:
        Image.fromarray(pixels).save(temporary, format='PNG')


def main(argv: Sequence[str] | None = None, report: Callable[[str], None] = print) -> int:
    """Makes the pairs and returns the exit code."""
    args = parse_args(argv)
    check_folder(args.out)
    if args.words is not None:
        Vocabulary.parse(args.words)
    for path in (args.adapted, args.proposals, (args.maskformer or (None, None))[1]):
        check_named(path)
    captions = read_captions(args.captions)
    check_device(args.device)
    find, nouns, namer = proposal_source(args), noun_source(args.words), region_namer(args)
    settings = {name: str(value) for name, value in vars(args).items() if name not in _FREE}
    folder = PairFolder(args.out, {**settings, 'fill': list(namer.fill)})
    broken = []
    for name, said in with_progress(captions.items(), len(captions), 'image'):
        if name in folder.done:
            continue
        said = said[: args.captions_per_image]
        try:
            folder.add(name, pair_image(args.images / name, said, find, nouns, namer))
        except (UserError, FileNotFoundError) as error:
            broken.append(str(error))
    for problem in broken[:10]:
        report(f'left out: {problem}')
    if len(broken) == len(captions):
        report('error: no image could be read')
        return EXIT_NOTHING_DONE
    report(f'{folder.finish()} pairs of {len(folder.done)} images in {args.out / TABLE}')
    return EXIT_SOME_FAILED if broken else EXIT_OK


# What does not change the pairs.
_FREE = ('device', 'out')

if __name__ == '__main__':
    sys.exit(run_cli(main))
