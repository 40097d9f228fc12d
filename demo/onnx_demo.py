"""Masks by an exported model, without torch and without ovseg: numpy, Pillow and onnxruntime.

ovseg export onnx maskclip-tiny model.onnx
ovseg export rows maskclip-tiny "sky; grass; water; red star" words.npz
python demo/onnx_demo.py model.onnx words.npz demo/scene.png labels.png
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any


def read(path: str) -> Any:
    """A photo as ovseg reads it: upright, 16 bits as 8, transparent places white."""
    import numpy as np
    from PIL import Image, ImageOps

    photo = ImageOps.exif_transpose(Image.open(path))
    if photo.mode.startswith('I'):
        photo = Image.fromarray(((np.asarray(photo, np.uint32) + 128) // 257).astype(np.uint8))
    if photo.mode.endswith(('A', 'a')) or 'transparency' in photo.info:
        photo = photo.convert('RGBA')
        photo = Image.alpha_composite(Image.new('RGBA', photo.size, 'white'), photo)
    return photo.convert('RGB')


def larger(values: Any, size: tuple[int, int]) -> Any:
    """A map (h, w) at another (width, height), bilinearly."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))


def windows(size: tuple[int, int], rule: dict | None) -> list[tuple[int, int, int, int]]:
    """(top, left, bottom, right) of the windows of an image; without a rule it is one window."""
    if rule is None:
        return [(0, 0, *size)]
    starts = []
    for side, window, step in zip(size, rule['size'], rule['stride'], strict=True):
        count = max(side - window + step - 1, 0) // step + 1
        starts.append([max(min(index * step, side - window), 0) for index in range(count)])
    height, width = (min(side, window) for side, window in zip(size, rule['size'], strict=True))
    return [(top, left, top + height, left + width) for top in starts[0] for left in starts[1]]


def label(model: str, words: str, image: str) -> tuple[Any, list[str]]:
    """Labels (H, W) of an image, and the names of the classes.

    Args:
        model: an ONNX file of ``ovseg export onnx``.
        words: rows of ``ovseg export rows``.
        image: any file that Pillow reads.

    Raises:
        ValueError: the words were made for another model, or the model takes none.
    """
    import numpy as np
    import onnxruntime
    from PIL import Image

    session = onnxruntime.InferenceSession(model)
    facts = json.loads(session.get_modelmeta().custom_metadata_map['ovseg'])
    if len(session.get_inputs()) < 2:
        raise ValueError(f'{model} was trained for its own classes and takes no words')
    rows = np.load(words)
    if str(rows['text_space']) != facts['text_space']:
        raise ValueError(f'{words} was not made by the model of {model}: export the rows anew')
    names = rows['names'].tolist()
    photo = read(image)
    scale, unit = facts['resize']['scale'], facts.get('multiple', 1)
    sides = min(photo.size), max(photo.size)
    factor = 1.0 if scale is None else min(min(scale) / sides[0], max(scale) / sides[1])
    width, height = (max(2, round(side * factor / unit)) * unit for side in photo.size)
    resized = photo.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, np.float32).transpose(2, 0, 1)[None]
    total = np.zeros((len(names), height, width), np.float32)
    count = np.zeros((height, width), np.float32)
    for top, left, bottom, right in windows((height, width), facts['windows']):
        part = np.ascontiguousarray(pixels[..., top:bottom, left:right])
        scores = session.run(['scores'], {'image': part, 'rows': rows['rows']})[0][0]
        for index in range(len(names)):  # a class's best row speaks for it
            best = scores[rows['classes'] == index].max(0)
            total[index, top:bottom, left:right] += larger(best, (right - left, bottom - top))
        count[top:bottom, left:right] += 1
    return np.stack([larger(one, photo.size) for one in total / count]).argmax(0), names


def main(argv: list[str] | None = None) -> int:
    """Writes the labels of an image and prints the share of each class.

    Args:
        argv: the words; None for the process's own.
    """
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    for name in ('model', 'words', 'image'):
        parser.add_argument(name, metavar=name.upper())
    parser.add_argument(
        'out', metavar='OUT', help='labels, a PNG file of class indices (16 bits beyond 256)'
    )
    args = parser.parse_args(argv)
    for path in (args.model, args.words, args.image):
        if not os.path.isfile(path):
            parser.error(f'there is no file {path}')
    try:
        labels, names = label(args.model, args.words, args.image)
    except (OSError, ValueError, KeyError) as error:
        parser.error(str(error))
    from PIL import Image

    kind = 'uint8' if len(names) <= 256 else 'uint16'
    Image.fromarray(labels.astype(kind)).save(args.out)
    for index, name in enumerate(names):
        print(f'{name:20s} {(labels == index).mean():6.1%}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
