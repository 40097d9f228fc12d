"""Masks by an exported model, without torch and without ovseg: numpy, Pillow and onnxruntime.

ovseg export onnx maskclip-tiny model.onnx
ovseg export rows maskclip-tiny "sky; grass; water; red star" words.npz
python demo/onnx_demo.py model.onnx words.npz demo/scene.png labels.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image


def larger(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map (h, w) at another (width, height)."""
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))


def windows(size: tuple[int, int], rule: dict | None) -> list[tuple[int, int, int, int]]:
    """(top, left, bottom, right) of the windows of an image: the whole, without a rule."""
    if rule is None:
        return [(0, 0, *size)]
    starts = []
    for side, window, step in zip(size, rule['size'], rule['stride'], strict=True):
        count = max(side - window + step - 1, 0) // step + 1
        starts.append([max(min(index * step, side - window), 0) for index in range(count)])
    height, width = (min(side, window) for side, window in zip(size, rule['size'], strict=True))
    return [(top, left, top + height, left + width) for top in starts[0] for left in starts[1]]


def main(model: str, words: str, image: str, out: str) -> None:
    """Labels an image.

    Args:
        model: the ONNX file.
        words: the rows.
        image: any file that Pillow reads.
        out: the labels, a PNG file of class indices.
    """
    session = onnxruntime.InferenceSession(model)
    facts = json.loads(session.get_modelmeta().custom_metadata_map['ovseg'])
    rows = np.load(words)
    photo = Image.open(image).convert('RGB')
    short, scale, unit = min(photo.size), facts['resize']['scale'], facts.get('multiple', 1)
    factor = 1.0 if scale is None else min(min(scale) / short, max(scale) / max(photo.size))
    size = [max(2, round(side * factor / unit)) * unit for side in photo.size]
    pixels = np.asarray(photo.resize(size, Image.Resampling.BILINEAR), np.float32)
    names = rows['names'].tolist()
    total = np.zeros((len(names), *pixels.shape[:2]), np.float32)
    count = np.zeros(pixels.shape[:2], np.float32)
    for top, left, bottom, right in windows(pixels.shape[:2], facts['windows']):
        part = np.ascontiguousarray(pixels[top:bottom, left:right].transpose(2, 0, 1)[None])
        scores = session.run(['scores'], {'image': part, 'rows': rows['rows']})[0][0]
        for index in range(len(names)):  # a class's best row speaks for it
            best = scores[rows['classes'] == index].max(0)
            total[index, top:bottom, left:right] += larger(best, (right - left, bottom - top))
        count[top:bottom, left:right] += 1
    full = [larger(scores, photo.size) for scores in total / count]
    labels = np.stack(full).argmax(0)
    Image.fromarray(labels.astype(np.uint8)).save(out)
    for index, name in enumerate(names):
        print(f'{name:20s} {(labels == index).mean():6.1%}')


if __name__ == '__main__':
    main(*sys.argv[1:])
