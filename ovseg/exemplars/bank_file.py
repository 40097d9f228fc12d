"""Banks as files: one safetensors file whose metadata say in JSON what it is and who made it."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.errors import UserError
from ovseg.exemplars.bank import Bank, EncoderIdentity
from ovseg.exemplars.stats import Stats
from ovseg.files import written_whole
from ovseg.input_files import regular_file
from ovseg.weight_files import read_tensors
from ovseg.weight_files.safetensors_files import read_safetensors_metadata

FORMAT = 'ovseg-bank/1'
SUFFIX = '.safetensors'
# Name in the file, dtype, and its shape by letters: P exemplars, D numbers, C classes, M samples.
_TENSORS = {
    'vectors': (torch.float16, 'PD'),
    'klass': (torch.int64, 'P'),
    'origin': (torch.uint8, 'P'),
    'pixels': (torch.float32, 'P'),
    'image': (torch.int64, 'P'),
    'contexts': (torch.float16, 'PD'),
    'samples': (torch.float16, 'MD'),
    'sample_row': (torch.int64, 'M'),
    'stats.number': (torch.float64, 'C'),
    'stats.total': (torch.float64, 'CD'),
    'stats.scatter': (torch.float64, 'DD'),
}
# Of all origins that rows can have, a bank holds exemplars.
_EXEMPLAR = 2


def write_bank(bank: Bank, path: str | Path) -> Path:
    """Write a bank, whole or not at all.

    Args:
        bank: with an exemplar at least.
        path: of the file, which must end in ``.safetensors``.

    Raises:
        UserError: an empty bank, another suffix, or the file cannot be written.
    """
    from safetensors.torch import save_file

    path = Path(os.path.expanduser(path))
    if path.suffix != SUFFIX:
        raise UserError(f'the bank {path} must end in {SUFFIX}')
    if not len(bank):
        raise UserError('the bank is empty: teach an example before it is saved')
    stats = bank.stats
    tensors = {
        'vectors': bank.vectors,
        'klass': bank.classes,
        'origin': torch.full((len(bank),), _EXEMPLAR, dtype=torch.uint8),
        'pixels': bank.patches,
        'image': bank.image,
        'contexts': bank.contexts,
        'samples': bank.samples,
        'sample_row': bank.sample_row,
        'stats.number': stats.number,
        'stats.total': stats.total,
        'stats.scatter': stats.scatter,
    }
    facts = {
        'format': FORMAT,
        'names': list(bank.names),
        'has_words': list(bank.has_words),
        'images': list(bank.images),
        'digests': list(bank.digests),
        'encoder': bank.encoder.fingerprint,
        'window': bank.encoder.description,
        'freedom': stats.freedom,
        'groups': stats.groups,
        'date': bank.date or date.today().isoformat(),
        'licence': bank.note,
    }
    with written_whole(path) as temporary:
        save_file(
            {name: value.contiguous() for name, value in tensors.items()},
            temporary,
            metadata={'ovseg': json.dumps(facts, ensure_ascii=False)},
        )
    return path


def read_bank(path: str | Path) -> Bank:
    """The bank of a file.

    Args:
        path: of :func:`write_bank`.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is no bank, of another version, or damaged.
    """
    path = regular_file(path, 'bank')
    try:
        facts = json.loads(read_safetensors_metadata(path)['ovseg'])
        version = facts['format']
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f'{path} is no bank of examples, such as "ovseg teach" writes; give one'
        ) from error
    if version != FORMAT:
        raise UserError(f'{path} is a bank of the format {version!r}, this ovseg reads {FORMAT!r}')
    tensors = read_tensors(path)
    try:
        return _checked(tensors, facts)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'the bank {path} is damaged ({error}); get it again') from error


def _checked(tensors: dict[str, Tensor], facts: dict[str, Any]) -> Bank:
    """The bank, if everything in it fits together."""
    names, images = tuple(map(str, facts['names'])), tuple(map(str, facts['images']))
    has_words = tuple(map(bool, facts['has_words']))
    rows, dim = tensors['vectors'].shape
    sizes = {'P': rows, 'D': dim, 'C': len(names), 'M': len(tensors['samples'])}
    for name, (dtype, letters) in _TENSORS.items():
        value = tensors[name]
        wanted = tuple(sizes[letter] for letter in letters)
        if value.dtype != dtype or tuple(value.shape) != wanted:
            raise ValueError(f'{name} is {tuple(value.shape)}, wanted {wanted}')
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f'{name} holds NaN or infinity')
    for name, most in (('klass', len(names)), ('image', len(images)), ('sample_row', rows)):
        value = tensors[name]
        if len(value) and not (int(value.min()) >= 0 and int(value.max()) < most):
            raise ValueError(f'{name} points to what is not there')
    digests = tuple(map(str, facts.get('digests', [''] * len(images))))
    if len(digests) != len(images):
        raise ValueError('digests are not of its images')
    if len(has_words) != len(names):
        raise ValueError('has_words is not of its classes')
    number = torch.bincount(tensors['klass'], minlength=len(names)).double()
    if not torch.equal(number, tensors['stats.number']):
        raise ValueError('its sums are not of its vectors')
    stats = Stats(
        tensors['stats.number'],
        tensors['stats.total'],
        tensors['stats.scatter'],
        int(facts['freedom']),
        int(facts['groups']),
    )
    return Bank(
        encoder=EncoderIdentity(str(facts['encoder']), str(facts['window'])),
        names=names,
        has_words=has_words,
        vectors=tensors['vectors'],
        classes=tensors['klass'],
        patches=tensors['pixels'],
        images=images,
        image=tensors['image'],
        contexts=tensors['contexts'],
        samples=tensors['samples'],
        sample_row=tensors['sample_row'],
        stats=stats,
        date=str(facts['date']),
        note=str(facts['licence']),
        digests=digests,
    )
