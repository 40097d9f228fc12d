"""Memory and time of labels for rasters of growing size: the former must not grow with them.

    python benchmarks/large_raster.py --sides 2000 20000

Each size has a process of its own. The rasters are mosaics of the small world's scenes, made for
this and removed afterwards.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ovseg import OpenVocabSegmenter
from ovseg.extras import extra_module
from ovseg.rasters import RasterSettings, segment_raster
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene
from ovseg.tables import text_table

WORDS = 'sky; grass; water; red star; blue ball; yellow flower; pink heart'
# Pixels of the pattern that a raster repeats, and rows that are written at once.
_SCENE, _SCENES, _ROWS = 256, 8, 256


def scene_pictures(count: int) -> list[np.ndarray]:
    """Scenes of the small world, (256, 256, 3) uint8 RGB each."""
    scenes = [sample_scene('val', index, 0, (_SCENE, _SCENE)) for index in range(count)]
    return [draw(scene, whole(scene)).image for scene in scenes]


def write_raster(path: Path, side: int) -> None:
    """A GeoTIFF of ``side`` x ``side`` pixels that repeats a mosaic of scenes.

    Args:
        path: the file.
        side: in pixels.
    """
    rasterio = extra_module('rasterio', 'geo', 'Rasters')
    band = np.concatenate(scene_pictures(_SCENES), 1).transpose(2, 0, 1)
    times = -(-side // band.shape[2])
    profile = {'driver': 'GTiff', 'width': side, 'height': side, 'count': 3, 'dtype': 'uint8'}
    profile.update(tiled=True, blockxsize=256, blockysize=256, compress='deflate', crs='EPSG:3857')
    profile['transform'] = rasterio.transform.from_origin(0, 0, 0.5, 0.5)
    with rasterio.open(path, 'w', BIGTIFF='IF_SAFER', **profile) as file:
        for number, top in enumerate(range(0, side, _ROWS)):
            rows = np.roll(band, number * _SCENE, axis=2)
            rows = np.tile(rows, times)[:, : min(_ROWS, side - top), :side]
            file.write(rows, window=((top, top + rows.shape[1]), (0, side)))


def measure(side: int, args: argparse.Namespace) -> None:
    """Label a raster, and print the seconds and the peak of this process's memory.

    Args:
        side: of the raster in pixels.
        args: of the command line.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'raster.tif'
        made = [sys.executable, __file__, '--make', str(path), '--sides', str(side)]
        subprocess.run(made, check=True)
        segmenter = OpenVocabSegmenter(args.model, device='cpu')
        segmenter.segment(scene_pictures(1)[0], WORDS)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        settings = RasterSettings(tile=args.tile, overlap=args.tile // 4, megabytes=args.megabytes)
        begun = time.perf_counter()
        segment_raster(segmenter, path, WORDS, folder=folder, what=(), settings=settings)
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f'{side} {seconds:.1f} {before:.0f} {peak:.0f}')


def main() -> None:
    """Measures each size in a process of its own and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--sides', type=int, nargs='+', default=[2000, 20000])
    parser.add_argument('--model', default='maskclip-tiny')
    parser.add_argument('--tile', type=int, default=512)
    parser.add_argument('--megabytes', type=float, default=512)
    parser.add_argument('--one', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--make', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        write_raster(args.make, args.sides[0])
    elif args.one:
        measure(args.sides[0], args)
    else:
        rows = []
        for side in args.sides:
            words = ['--model', args.model, '--tile', args.tile, '--megabytes', args.megabytes]
            words = ['--one', '--sides', side, *words]
            done = subprocess.run(
                [sys.executable, __file__, *map(str, words)],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            rows.append(done.stdout.split())
        header = ('side', 'seconds', 'MB before', 'MB at most')
        print(text_table(header, [tuple(row) for row in rows]))


if __name__ == '__main__':
    main()
