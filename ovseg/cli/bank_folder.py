"""What ``ovseg bank`` says, done: a file for each image, and the bank of them all."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from safetensors.torch import save_file
from torch import Tensor

from ovseg.apis.building import build_model
from ovseg.apis.files import write_json, write_text
from ovseg.apis.loaded_image import ImageLoader
from ovseg.config_files import read_config
from ovseg.devices import choose_device
from ovseg.errors import (
    EXIT_NOTHING_DONE,
    EXIT_OK,
    EXIT_SOME_FAILED,
    UserError,
    print_beside_progress,
    printable_line,
)
from ovseg.files import remove_dead_temporaries, written_whole
from ovseg.images import Images, ResizeRule
from ovseg.images.batch import batch_of
from ovseg.images.finding import FoundImage
from ovseg.input_files import cause_of
from ovseg.precision import set_precision
from ovseg.progress import with_progress
from ovseg.regions.faiss_keys import faiss_module, write_faiss
from ovseg.segmentors.corrclip import BANK_MANIFEST, CorrCLIP, RegionRows
from ovseg.tensor_cores import set_tf32
from ovseg.torch_modes import evaluating, plain_torch
from ovseg.weight_files import read_tensors
from ovseg.zoo import resolve_model

PARTS, IMAGES, INDEX = 'parts', 'images.jsonl', 'keys.faiss'
_SUFFIX = '.safetensors'
# Failed images that are named; all are counted.
_MOST_TOLD = 20
_LONGER_SIDE = 2048


def build_bank(images: Sequence[FoundImage], args: argparse.Namespace) -> int:
    """Adds what is left of the images to a bank, writes the bank, and returns the exit code.

    Args:
        images: of which the bank is.
        args: see ``ovseg.cli.bank.build_parser``.

    Raises:
        UserError: the folder holds another bank, or the model is no CorrCLIP of version 2.
    """
    if args.index:
        faiss_module()  # before hours go by
    device = choose_device(args.device)
    set_tf32(args.tf32, device)
    rule = ResizeRule((_LONGER_SIDE, args.short_side), keep_ratio=True)
    models = {'embeddings': _model(args.model, args.checkpoint, args)}
    if args.auxiliary is not None:
        models['auxiliary'] = _model(args.auxiliary, args.auxiliary_checkpoint, args)
    for model in models.values():
        set_precision(model.to(device).eval(), args.precision)
    folder = Path(args.out_dir)
    _agree(folder, _manifest(models, args.short_side))
    left = [image for image in images if not os.path.isfile(_part(folder, image.place))]
    for place in {_part(folder, image.place).parent for image in left} | {folder}:
        remove_dead_temporaries(place)
    failed = 0
    with ExitStack() as stack:
        stack.enter_context(plain_torch())
        for model in models.values():
            stack.enter_context(evaluating(model))
        for image in with_progress(left, len(left), 'image', 'Bank'):
            reason = _add(image, models, ImageLoader(rule), _part(folder, image.place))
            if reason:
                failed += 1
                if failed <= _MOST_TOLD:
                    line = f'failed: {printable_line(image.path)}: {reason}'
                    print_beside_progress(line, sys.stderr)
    done = sorted((folder / PARTS).rglob(f'*{_SUFFIX}'))
    if not done:
        print(f'error: none of {len(images)} images could be read', file=sys.stderr)
        return EXIT_NOTHING_DONE
    count = _join(folder, done, args.index)
    print(f'{folder}: {count} regions of {len(done)} images, {len(left) - failed} of them new')
    if failed:
        print(f'{failed} images failed and are left out', file=sys.stderr)
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _model(name: str, checkpoint: str | None, args: argparse.Namespace) -> CorrCLIP:
    """A CorrCLIP as its config has it for any images, without a bank of its own."""
    config = _config_for_images(name)
    settings = config.get('model') or {}
    for part in ('bank', 'auxiliary_clip', 'vocabulary'):
        settings.pop(part, None)
    if args.regions is not None:
        settings['regions'] = {'type': 'RegionFolder', 'folder': args.regions}
    model = build_model(config, checkpoint)
    if not isinstance(model, CorrCLIP) or model.encoder.companion_sees != 'image':
        raise UserError(
            f'{name} is no CorrCLIP whose companion sees the whole image: give a config of its '
            'version 2, such as configs/corrclip/corrclip_v2_vit-b16_metaclip.py.'
        )
    return model


def _config_for_images(name: str) -> Config:
    place = resolve_model(name)[1]
    config = read_config(place.path, place.on)
    if 'images' in (config.get('on_choices') or ()):
        return read_config(place.path, 'images')
    return config


def _manifest(models: Mapping[str, CorrCLIP], short_side: int) -> dict[str, Any]:
    """What all rows of a bank have in common."""
    first = models['embeddings']
    return {
        'companion': first.bank_facts()['companion'],
        'regions': str(first.region_source),
        'short side': short_side,
        **{name: model.bank_facts()['embeddings'] for name, model in models.items()},
    }


def _agree(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Stops unless the folder is a bank of these models, or none yet."""
    path = folder / BANK_MANIFEST
    if not os.path.exists(path):
        write_json(dict(manifest), path)
        return
    try:
        before = dict(json.loads(path.read_text(encoding='utf-8')))
        before.pop('made_by', None)
    except (ValueError, TypeError, OSError) as error:
        raise UserError(
            f'{path} cannot be read ({cause_of(error)}): choose another folder.'
        ) from error
    for name in {**before, **manifest}:
        if before.get(name) != manifest.get(name):
            raise UserError(
                f'{folder} holds a bank with other {name} ({before.get(name)}, not '
                f'{manifest.get(name)}): choose another folder, or ask as then to go on.'
            )


def _part(folder: Path, place: Path) -> Path:
    return folder / PARTS / place.with_name(place.name + _SUFFIX)


def _add(image: FoundImage, models: Mapping[str, CorrCLIP], loader: ImageLoader, path: Path) -> str:
    """Writes the rows of an image; returns why it could not be done, '' if it was."""
    try:
        loaded = loader.load(image.path)
        rows = {
            name: _rows(model, loaded.resized, loaded.pixels, str(image.path))
            for name, model in models.items()
        }
    except Exception as error:
        return cause_of(error)
    content = {name: each.embeddings for name, each in rows.items()}
    content['keys'] = rows['embeddings'].keys
    with written_whole(path) as temporary:
        save_file({name: value.contiguous() for name, value in content.items()}, temporary)
    return ''


def _rows(model: CorrCLIP, resized: np.ndarray, pixels: np.ndarray, name: str) -> RegionRows:
    inputs = batch_of([resized], model.data_preprocessor)
    return model.region_rows(Images(inputs, [pixels], [name]))[0]


def _join(folder: Path, parts: Sequence[Path], index: bool) -> int:
    """Writes the bank of all images that are done; returns how many regions it has."""
    counts = [len(rows) for rows in _tensors(parts, 'keys')]
    total = sum(counts)
    if not total:
        raise UserError(
            f'none of {len(parts)} images in {folder} has a region: check the region maps'
        )
    for name, rows_of_one in read_tensors(parts[0]).items():
        with written_whole(folder / f'{name}.npy') as temporary:
            shape = (total, rows_of_one.shape[1])
            rows = np.lib.format.open_memmap(temporary, 'w+', np.float16, shape)
            first = 0
            for part in _tensors(parts, name):
                rows[first : first + len(part)] = part.numpy()
                first += len(part)
            rows.flush()
    lines, first = [], 0
    for path, count in zip(parts, counts, strict=True):
        place = str(path.relative_to(folder / PARTS)).removesuffix(_SUFFIX)
        lines.append(json.dumps({'image': place, 'first': first, 'regions': count}))
        first += count
    write_text('\n'.join(lines) + '\n', folder / IMAGES)
    if index:
        keys = np.load(folder / 'keys.npy', mmap_mode='r')
        write_faiss(torch.from_numpy(np.array(keys)), folder / INDEX)
    return total


def _tensors(parts: Sequence[Path], name: str) -> Iterator[Tensor]:
    for path in parts:
        yield read_tensors(path)[name]
