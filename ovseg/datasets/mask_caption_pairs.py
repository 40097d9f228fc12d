"""Regions of images with the noun that names each, for adapting CLIP to masked regions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ovseg.datasets.pair_files import Pair, read_pairs
from ovseg.datasets.region_views import PUBLISHED_BLANK, centred_view, kept_pixels, random_view
from ovseg.errors import UserError
from ovseg.images.opening import opened
from ovseg.registry import DATASETS, in_our_scope

# Images looked at for the blank colour before training; a region can fill its whole image.
_PROBED = 64
MaskFrom = Literal['file', 'colour', 'none']


@DATASETS.register_module()
class MaskCaptionPairs(Dataset):
    """Region-noun pairs in files, ours or those that OVSeg published.

    Args:
        pairs: the table, see :func:`~ovseg.datasets.pair_files.read_pairs`.
        data_root: folder that paths in the table are relative to; None for the table's own.
            Published tables may be relative to where training was started (``'.'``).
        mask_from: where the mask of a region comes from. ``'file'``: the mask stored beside the
            image, whatever colour the surroundings have. ``'colour'``: the pixels of the view that
            have not exactly the colour `blank`, as published. That works only with images that
            were stored without loss and painted with that colour. OVSeg's own inference paints
            with another one: such images would give masks of ones, from which mask prompts learn
            nothing, so this stops where none of the first images has the colour. ``'none'``: no
            mask, for fine-tuning without mask prompts.
        size: side of a view in pixels.
        scale: share of the region's area that a view of training shows.
        ratio: width divided by height of what it shows.
        blank: RGB in 0..255, see `mask_from`.
        augment: whether views are random crops; else the middle of the region.

    Raises:
        FileNotFoundError: no table.
        UserError: a table that does not fit, an unknown `mask_from`, or images without `blank`.

    Source: OVSeg (arXiv 2210.04150) section 3.2; scale, interpolation and colour from its
    open_clip_training.
    """

    test_mode = False

    @in_our_scope
    def __init__(
        self,
        pairs: str | Path,
        data_root: str | Path | None = None,
        mask_from: MaskFrom = 'file',
        size: int = 224,
        scale: Sequence[float] = (0.9, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        blank: Sequence[int] = PUBLISHED_BLANK,
        augment: bool = True,
    ) -> None:
        if mask_from not in get_args(MaskFrom):
            raise UserError(
                f'dataset.mask_from must be one of {", ".join(get_args(MaskFrom))}, '
                f"got '{mask_from}'"
            )
        self.pairs = read_pairs(pairs)
        self.root = Path(pairs).parent if data_root is None else Path(data_root)
        if mask_from == 'file' and not all(pair.mask for pair in self.pairs):
            raise UserError(
                f"{pairs} names no mask files; make the pairs anew, or set mask_from='colour' if "
                f'the images have the colour {tuple(blank)} around the regions'
            )
        self.mask_from = mask_from
        self.size = size
        self.scale = tuple(scale)
        self.ratio = tuple(ratio)
        self.blank = tuple(blank)
        self.augment = augment
        if mask_from == 'colour':
            self._find_blank(pairs)

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        """Returns a view of a region; another one's where a training passes over this one.

        Raises:
            UserError: see :meth:`prepare_data`.
        """
        sample = self.prepare_data(index)
        for step in range(1, len(self)):
            if sample is not None:
                break
            sample = self.prepare_data((index + step) % len(self))
        if sample is None:
            raise UserError(f'none of the {len(self)} pairs can be read')
        return sample

    def get_data_info(self, index: int) -> dict[str, str]:
        """The files of a pair, as data sets of mmengine name theirs.

        Args:
            index: of the pair.
        """
        pair = self.pairs[index]
        files = {'img_path': str(self.root / pair.filepath)}
        if self.mask_from == 'file':
            files['mask_path'] = str(self.root / pair.mask)
        return files

    def prepare_data(self, index: int) -> dict[str, Tensor | str] | None:
        """Returns a view of a region.

        ``inputs`` is (3, size, size) uint8 RGB, ``caption`` the noun, and, unless `mask_from` is
        ``'none'``, ``masks`` (1, size, size) bool, True where the region is.

        Raises:
            UserError: an image or mask that cannot be read, or whose sizes differ.
        """
        pair = self.pairs[index]
        image = self._read(pair.filepath, 'RGB')
        mask = self._mask_beside(pair, image) if self.mask_from == 'file' else None
        if self.augment:
            view, mask = random_view(image, mask, self.size, self.scale, self.ratio)
        else:
            view, mask = centred_view(image, mask, self.size)
        pixels = np.array(view)
        sample: dict[str, Tensor | str] = {
            'inputs': torch.from_numpy(pixels).permute(2, 0, 1).contiguous(),
            'caption': pair.title,
        }
        if self.mask_from != 'none':
            kept = kept_pixels(pixels, self.blank) if mask is None else np.array(mask) > 0
            sample['masks'] = torch.from_numpy(kept)[None]
        return sample

    def _find_blank(self, table: str | Path) -> None:
        probed = self.pairs[:_PROBED]
        images = (np.array(self._read(pair.filepath, 'RGB')) for pair in probed)
        if all(kept_pixels(image, self.blank).all() for image in images):
            raise UserError(
                f'none of the first {len(probed)} images of {table} has a pixel of the colour '
                f"{self.blank}, so mask_from='colour' would find no mask; set dataset.blank to the "
                "colour around the regions, or use mask files with mask_from='file'"
            )

    def _mask_beside(self, pair: Pair, image: Image.Image) -> Image.Image:
        mask = self._read(pair.mask, 'L')
        if mask.size != image.size:
            raise UserError(
                f'{self.root / pair.mask} is {mask.height} x {mask.width} pixels, its image '
                f'{image.height} x {image.width}; make the pair anew'
            )
        return mask

    def _read(self, name: str, mode: str) -> Image.Image:
        try:
            with opened(self.root / name) as image:
                return image.convert(mode)
        except (UserError, FileNotFoundError) as error:
            raise UserError(
                f'{str(error).rstrip(".")}; check dataset.data_root, or make the pairs anew'
            ) from error
