"""Where region maps come from: SAM's automatic masks, or files made elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from torch import nn

from ovseg.errors import UserError
from ovseg.precision import keep_precision
from ovseg.regions.mask_generators import build_mask_generator
from ovseg.registry import MODELS
from ovseg.weight_files import read_array

_SUFFIXES = ('.npy', '.npz', '.png')
# The name under which the released CorrCLIP keeps a map in its .npz files.
_ARRAY = 'instance_mask'
# Ids travel through float32, whose whole numbers end here; what lies behind is for padding.
_LARGEST_ID = 2**20
# A map of another size than its image is read, to say so, up to this many times the image's.
# So it may be a stack of eight times as many masks.
_SLACK = 32


class RegionSource(Protocol):
    """``image -> region map``.

    Attributes:
        needs_names: whether it looks at the image's file name.
    """

    needs_names: bool

    def regions(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """Finds the regions of an image.

        Args:
            image: (H, W, 3) uint8 RGB, at its own size.
            name: path or file name of the image.

        Returns:
            (H, W) int64, at least 0; the smallest id stands for what no region claimed.
        """
        ...


@MODELS.register_module()
class SAMRegions(nn.Module):
    """SAM's automatic masks, the larger ones over the smaller.

    Args:
        sam: arguments of :func:`~ovseg.encoders.sams.load_any_sam`: a SAM of any version.
        generator: for the first SAM arguments of segment-anything's ``SamAutomaticMaskGenerator``,
            such as ``points_per_side``; for SAM 2 fields of
            :class:`~ovseg.regions.mask_generators.MaskGrid`, which have the same names.

    Raises:
        UserError: an argument that the generator has not; see also the loader.

    Source: CorrCLIP (arXiv 2411.10086) paints SAM 2's masks in this order.
    """

    needs_names = False

    def __init__(
        self, sam: Mapping[str, Any] | None = None, generator: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.settings = dict(generator or {})
        maker = build_mask_generator(sam or {'model': 'vit_h'}, self.settings)
        # segment-anything's generator takes no other precision, and thresholds decide here.
        keep_precision(maker.sam)
        self.sam, self.generator = maker.sam, maker

    def __repr__(self) -> str:
        settings = ', '.join(f'{name}={value}' for name, value in self.settings.items())
        return f'SAMRegions({self.generator.weights}{", " if settings else ""}{settings})'

    def regions(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """See :class:`RegionSource`; 0 is what no mask covers."""
        return paint_masks(self.generator.masks(image), image.shape[:2])


def paint_masks(masks: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Returns a region map of masks that may overlap: larger ones lie over smaller ones.

    Args:
        masks: (H, W) bool each.
        size: (H, W).

    Returns:
        (H, W) int64: 0 where there is no mask, else 1, 2, ... by area.

    Example:
        >>> small, large = np.array([[1, 0, 0]], bool), np.array([[0, 1, 1]], bool)
        >>> paint_masks([large, small], (1, 3))
        array([[1, 2, 2]])
    """
    regions = np.zeros(size, np.int64)
    for number, mask in enumerate(sorted(masks, key=np.count_nonzero), start=1):
        regions[mask] = number
    return regions


@MODELS.register_module()
class RegionFolder:
    """Region maps from files: ``NAME.npy``, ``NAME.npz`` or ``NAME.png`` for ``NAME.jpg``.

    Where the folder mirrors those of the images, the map of ``photos/x/NAME.jpg`` is the one with
    most of these folders: ``x/NAME.png`` before ``NAME.png``. A map serves one picture: where
    another picture comes to the same map, nobody knows whose it is.

    A map has the size of its image. A ``.npz`` file holds it as ``instance_mask``, as the maps that
    were published with CorrCLIP do; a ``.png`` is grey, 8 or 16 bits. Arrays may also be stacks of
    masks, (M, H, W) bool, as EntitySeg and the like give them: in the order of their scores, the
    best one last, since later ones lie over earlier ones.

    Args:
        folder: where they lie.

    Raises:
        UserError: there is no such folder.
    """

    needs_names = True

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(os.path.expanduser(folder))
        # By map: the name of its picture, and what tells the picture from others.
        self._pictures: dict[Path, tuple[str, bytes]] = {}
        if not os.path.isdir(self.folder):
            raise UserError(
                f"regions.folder='{folder}' does not exist; give the folder of the region maps, "
                'one file for each image'
            )

    def __repr__(self) -> str:
        return f"RegionFolder('{self.folder}')"

    def regions(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """See :class:`RegionSource`.

        Raises:
            UserError: no name, no file of that name or several, one that another picture was
                given, or a map that does not fit.
        """
        if not name:
            raise UserError(
                'region maps are looked up by the file name of the image, which this image has '
                "not; give a path, or use regions=dict(type='SAMRegions')"
            )
        path = self._map_of(name)
        self._keep_for_one(path, name, image)
        regions = _read_map(path, image.shape[:2])
        if regions.ndim == 3 and regions.dtype == bool:
            regions = _stacked(regions)
        if regions.shape != image.shape[:2]:
            raise UserError(
                f'{path} has the shape {regions.shape}, but its image is '
                f'{image.shape[0]} x {image.shape[1]} pixels; make it anew from that image'
            )
        if regions.dtype.kind not in 'iub' or regions.min() < 0 or regions.max() >= _LARGEST_ID:
            raise UserError(
                f'{path} must hold whole numbers from 0 to {_LARGEST_ID - 1}, got '
                f'{regions.dtype} from {regions.min()} to {regions.max()}'
            )
        return regions.astype(np.int64)

    def _map_of(self, name: str) -> Path:
        """The map with most of the image's folders in its path."""
        *folders, file = Path(os.path.abspath(name)).parts[1:]
        stem = Path(file).stem
        for first in range(len(folders) + 1):
            place = self.folder.joinpath(*folders[first:])
            paths = [place / f'{stem}{suffix}' for suffix in _SUFFIXES]
            # The maps may lie beside the images, which are none.
            found = [path for path in paths if os.path.isfile(path) and not _is_same(path, name)]
            if len(found) > 1:
                raise UserError(
                    f'{" and ".join(map(str, found))} are both region maps for {file}; leave one'
                )
            if found:
                return found[0]
        raise UserError(
            f'{self.folder} has no region map for {file}; it should be one of '
            f'{", ".join(path.name for path in paths)}'
        )

    def _keep_for_one(self, path: Path, name: str, image: np.ndarray) -> None:
        """Stops where a second picture comes to a map; a copy of the first is none."""
        pixels = blake2b(image.tobytes(), digest_size=16).digest()
        other, known = self._pictures.setdefault(path, (name, pixels))
        if other != name and known != pixels:
            raise UserError(
                f'{other} and {name} both take the region map {path}, and are different pictures; '
                f'give each its own map, in folders below {self.folder} as those of the images, or '
                'other names'
            )


def _stacked(masks: np.ndarray) -> np.ndarray:
    """The region map of masks (M, H, W): 0 where there is none, else the number of the last one."""
    regions = np.zeros(masks.shape[1:], np.int64)
    for number, mask in enumerate(masks, start=1):
        regions[mask] = number
    return regions


def _is_same(path: Path, name: str) -> bool:
    """Whether both are one file; a name of an image that is nowhere is no file."""
    return os.path.exists(name) and os.path.samefile(path, name)


def _read_map(path: Path, size: tuple[int, ...]) -> np.ndarray:
    """The map in a file; a much larger one than the image is refused before it is unfolded."""
    most = _SLACK * max(1, math.prod(size)) * np.dtype(np.int64).itemsize
    try:
        if path.suffix == '.png':
            return _read_png(path, most)
        return read_array(path, _ARRAY, most)
    except Exception as error:
        raise UserError(
            f'{path} cannot be read as a region map ({error}); give an .npy, an .npz with '
            f"'{_ARRAY}', or a grey .png"
        ) from error


def _read_png(path: Path, most: int) -> np.ndarray:
    with path.open('rb') as file:
        start = file.read(24)
    # A PNG begins with its mark, and with the header of its first part, which holds its size.
    sides = (int.from_bytes(start[place : place + 4], 'big') for place in (16, 20))
    if start[:8] != b'\x89PNG\r\n\x1a\n' or len(start) < 24:
        raise ValueError('no PNG image')
    if math.prod(sides) > most:
        raise ValueError('it is far larger than its image')
    regions = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if regions is None:
        raise ValueError('no image')
    return regions
