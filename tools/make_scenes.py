"""Write Scenes to disk in the layout of ADE20K or COCO, or its demo picture.

    python tools/make_scenes.py data/scenes                  # folders as below
    python tools/make_scenes.py data/scenes --instances      # objects one by one, too
    python tools/make_scenes.py --demo demo/scene.png        # one picture

OUT/images/{training,validation,heldout,phrases}/00000000.png and the label maps in
OUT/annotations/..., captions in OUT/captions.json, classes in OUT/classes.json; with --instances
also OUT/annotations/instances_{training,validation,...}.json in COCO's format, with a box and the
visible mask of every object. A scene is a function of split, number and seed: a second run goes on
where the first one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ovseg.errors import UserError, run_cli
from ovseg.files import check_folder, remove_dead_temporaries, written_whole
from ovseg.input_files import read_json
from ovseg.progress import with_progress

# Words are read, and refused, before torch is imported: the functions import what they need.
if TYPE_CHECKING:
    import numpy as np

    from ovseg.scenes.draw import Picture
    from ovseg.scenes.world import Scene

SETTINGS = 'settings.json'
# folder -> split
FOLDERS = {'training': 'train', 'validation': 'val', 'heldout': 'heldout', 'phrases': 'phrases'}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', nargs='?', type=Path, help='folder to write to')
    parser.add_argument('--training', type=int, default=2000, help='default: %(default)s scenes')
    for folder in list(FOLDERS)[1:]:
        parser.add_argument(f'--{folder}', type=int, default=200, help='default: %(default)s')
    parser.add_argument('--size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--instances', action='store_true', help='write COCO files of the objects')
    parser.add_argument('--demo', type=Path, metavar='FILE', help='write the demo picture')
    args = parser.parse_args(argv)
    if args.out is None and args.demo is None:
        parser.error('nothing to do: give a folder OUT or --demo FILE')
    if min(args.size or (1,)) < 1 or args.seed < 0 or min(vars(args)[name] for name in FOLDERS) < 0:
        parser.error('--size must be positive, the numbers of scenes and --seed not negative')
    if args.demo is not None and not _is_picture(args.demo):
        parser.error(f'--demo {args.demo}: use a name that ends in .png')
    return args


def _is_picture(path: Path) -> bool:
    """Whether OpenCV knows the format that a name ends in."""
    import cv2

    return bool(path.suffix) and cv2.haveImageWriter(str(path.name))


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Writes an image (RGB) or a label map, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    import cv2
    import numpy as np

    stored = np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels
    # Encoded apart: OpenCV does not tell why it did not write.
    encoded = cv2.imencode(path.suffix, stored)[1]
    with written_whole(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def claim(out: Path, size: Sequence[int], seed: int) -> None:
    """Notes the settings of a folder; scenes of different settings are never mixed.

    Raises:
        UserError: the folder holds scenes of other settings.
    """
    wanted = {'size': list(size), 'seed': seed}
    path = out / SETTINGS
    if os.path.isfile(path):
        found = read_json(path, 'file of settings')
        if found != wanted:
            raise UserError(
                f'{out} holds scenes with {found}, not {wanted}; choose another folder or delete it'
            )
        return
    write_json(path, wanted)


def write_json(path: Path, content: object, indent: int | None = 1) -> None:
    """Writes JSON, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent) + '\n', encoding='utf-8')


def write_split(
    out: Path, folder: str, count: int, size: Sequence[int], seed: int, instances: bool = False
) -> dict[str, str]:
    """Writes what is missing of a split.

    Args:
        out: the data root.
        folder: a key of ``FOLDERS``.
        count: number of scenes.
        size: (height, width).
        seed: number of the whole data set.
        instances: write the split's objects in COCO's format, too.

    Returns:
        The caption of each image, by its path below `out`.
    """
    from ovseg.scenes.captions import describe
    from ovseg.scenes.datasets import class_labels, phrase_labels
    from ovseg.scenes.draw import draw, whole
    from ovseg.scenes.instances import coco_annotation, coco_file, visible_objects
    from ovseg.scenes.world import sample_scene

    split = FOLDERS[folder]
    label: Callable[[Scene, Picture], np.ndarray] = (
        phrase_labels if split == 'phrases' else class_labels
    )
    captions = {}
    pictures = []
    for kind in ('images', 'annotations'):
        remove_dead_temporaries(out / kind / folder)
    for index in with_progress(range(count), count, 'scene', folder):
        name = f'{folder}/{index:08d}.png'
        scene = sample_scene(split, index, seed, (size[0], size[1]))
        picture = draw(scene, whole(scene))
        captions[f'images/{name}'] = describe(scene, picture)
        image, labels = out / 'images' / name, out / 'annotations' / name
        # The image is written last: where it is, its labels are too.
        if not (os.path.isfile(image) and os.path.isfile(labels)):
            write_png(labels, label(scene, picture))
            write_png(image, picture.image)
        if instances:
            objects = [coco_annotation(*found) for found in visible_objects(scene, picture)]
            pictures.append((name, picture.owner.shape, objects))
    if pictures:
        write_json(out / 'annotations' / f'instances_{folder}.json', coco_file(pictures), None)
    return captions


def main(argv: Sequence[str] | None = None) -> int:
    """Writes what was asked for."""
    args = parse_args(argv)
    if args.demo is not None:
        check_folder(args.demo.parent)
        from ovseg.scenes.demo import DEMO_ZOOM, demo_scene
        from ovseg.scenes.draw import draw, whole

        scene = demo_scene()
        write_png(args.demo, draw(scene, whole(scene, DEMO_ZOOM)).image)
        print(f'wrote {args.demo}')
    if args.out is not None:
        check_folder(args.out)
        from ovseg.scenes.datasets import CLASSES, PHRASE_CLASSES
        from ovseg.scenes.world import CANVAS

        size = args.size or (CANVAS, CANVAS)
        claim(args.out, size, args.seed)
        captions: dict[str, str] = {}
        for folder in FOLDERS:
            count = vars(args)[folder]
            captions.update(write_split(args.out, folder, count, size, args.seed, args.instances))
        write_json(args.out / 'captions.json', captions)
        write_json(args.out / 'classes.json', {'classes': CLASSES, 'phrases': PHRASE_CLASSES})
        print(f'{len(captions)} scenes in {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(run_cli(main))
