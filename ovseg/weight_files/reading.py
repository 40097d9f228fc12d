"""One reader for weights of every format; nothing in a file is ever run."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ovseg.errors import UserError
from ovseg.weight_files.archives import check_stored, check_sums
from ovseg.weight_files.arrays import is_archive_of_arrays, is_array, read_array, read_arrays
from ovseg.weight_files.loading import check_finite
from ovseg.weight_files.naming import without_wrappers
from ovseg.weight_files.places import find_weights
from ovseg.weight_files.safetensors_files import is_safetensors, read_safetensors
from ovseg.weight_files.torch_files import read_torch_file
from ovseg.weight_files.torchscript import is_torchscript, read_torchscript

# As torch.load takes it.
MapLocation: TypeAlias = str | torch.device | Callable[..., Any] | None
# Which tensors of a file are asked for, by their names.
Wanted: TypeAlias = Callable[[str], bool]

# Under which of its keys a training's checkpoint keeps the weights.
_KEYS = (
    *('state_dict', 'model_state_dict', 'model', 'module', 'net', 'params', 'weights'),
    *('ema_state_dict', 'model_ema', 'params_ema', 'ema'),  # where a file has averages alone
)
# Such keys inside of each other, as in {'model': {'state_dict': ...}}.
_DEEPEST = 3
# Scalars that OpenAI stores as tensors beside the weights; they are not parameters.
_OPENAI_EXTRAS = ('input_resolution', 'context_length', 'vocab_size')
# Tensors may share memory; in all they may name this many times the file's size, or so many bytes.
_SHARED = 16
_ALWAYS_ALLOWED = 1 << 26
# How files begin that are given for weights by mistake, and what to say of them.
_MISTAKEN = (
    (re.compile(rb'\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|\x28\xb5\x2f\xfd'), 'is packed; unpack it'),
    (
        re.compile(rb'version https://git-lfs'),
        'is a pointer of git LFS, not the file itself; fetch it with git lfs pull',
    ),
    (
        re.compile(rb'\s*<(!doctype|html|\?xml)', re.IGNORECASE),
        'is a page of the web, not a weight file; fetch it again',
    ),
    (
        re.compile(rb'.{257}ustar', re.DOTALL),
        'is a tar archive, of which nothing is read; unpack it, or save it with torch of today',
    ),
)


def read_tensors(
    source: str | Path, map_location: MapLocation = 'cpu', wanted: Wanted | None = None
) -> Any:
    """Returns the content of a weight file: tensors, or dicts and lists of them.

    The format is told by the content: ``torch.save`` (old and new), safetensors, TorchScript, of
    which the tensors alone are read, and NumPy's ``.npy`` and ``.npz``.

    Args:
        source: see :func:`~ovseg.weight_files.find_weights`.
        map_location: as in ``torch.load``.
        wanted: says of a name, as it stands in the file, whether its tensor is asked for. Of a
            safetensors file the others are not read; files of other formats are read whole.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: no regular file, no weights, damaged, or would run code.
    """
    path = find_weights(source)
    try:
        size = path.stat().st_size
        content = _read(path, size, map_location, wanted)
        _check_plain(content, size)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f'{path} was not loaded, because it is damaged, no weight file, or would run code '
            f'({_cause(error)}); give a file of tensors and plain data (torch.save of a state '
            'dict, or safetensors)'
        ) from error
    return content


def read_checkpoint(source: str | Path, map_location: MapLocation = 'cpu') -> dict[str, Any]:
    """The content of a checkpoint: tensors, numbers, text and a Runner's records.

    Args:
        source: see :func:`~ovseg.weight_files.find_weights`.
        map_location: as in ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: see :func:`read_tensors`; or it holds something else.
    """
    content = read_tensors(source, map_location)
    if not isinstance(content, dict):
        raise UserError(f'{source} holds a {type(content).__name__}, not a checkpoint')
    return content


def read_state_dict(source: str | Path, wanted: Wanted | None = None) -> dict[str, Tensor]:
    """The flat ``name -> tensor`` mapping of a weight file; see :func:`state_of`.

    Args:
        source: see :func:`~ovseg.weight_files.find_weights`.
        wanted: says of a name whether its tensor is asked for; the others are not in the result,
            which may be empty, and in a safetensors file not read either.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: see :func:`read_tensors` and :func:`state_of`.
    """
    content = read_tensors(source, wanted=wanted)
    if wanted is None:
        return state_of(content, source)
    state = state_of(content, source) if content != {} else {}
    return {name: value for name, value in state.items() if wanted(name)}


def state_of(content: object, origin: object) -> dict[str, Tensor]:
    """The flat ``name -> tensor`` mapping of a file's content.

    Of a training with averaged weights mmengine keeps the averaged ones as ``state_dict``, so these
    are taken.

    Args:
        content: from :func:`read_tensors`; unwraps ``state_dict``, detectron2's ``model`` and
            their like, inside of each other, too, strips the prefixes of torch's wrappers, and
            leaves out the sizes and the causal mask that archives of CLIP have beside the weights.
        origin: named in errors.

    Raises:
        UserError: there are no weights in it, or NaN or infinite ones.
    """
    state: Any = content
    for _ in range(_DEEPEST):
        if isinstance(state, Mapping) and not _are_named_tensors(state):
            inner = (state.get(name) for name in _KEYS)
            state = next((value for value in inner if isinstance(value, Mapping)), state)
    if not isinstance(state, Mapping) or not state or not _are_named_tensors(state):
        raise UserError(
            f'{origin} holds no weights (name -> tensor); give a checkpoint with a state dict'
        )
    weights = {
        name: value
        for name, value in without_wrappers(state, origin).items()
        if not _is_no_weight(name, value)
    }
    check_finite(weights, origin)
    return weights


def _is_no_weight(name: str, value: Tensor) -> bool:
    """Whether it is a size, or the causal mask, that archives of CLIP hold beside the weights."""
    if name in _OPENAI_EXTRAS:
        return value.ndim == 0
    if name.rpartition('.')[2] != 'attn_mask' or not value.is_floating_point():
        return False
    return value.ndim == 2 and torch.equal(value, torch.full_like(value, -torch.inf).triu(1))


def _are_named_tensors(state: Mapping[Any, Any]) -> bool:
    return all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())


def _read(path: Path, size: int, map_location: MapLocation, wanted: Wanted | None) -> Any:
    with path.open('rb') as file:
        start = file.read(512)
    if not start:
        raise UserError(f'{path} is empty; get it again')
    for pattern, what in _MISTAKEN:
        if pattern.match(start):
            raise UserError(f'{path} {what}')
    if is_array(start):
        return _moved(torch.from_numpy(read_array(path)), map_location)
    if path.suffix == '.safetensors' or is_safetensors(start, size):
        return _moved(read_safetensors(path, wanted), map_location)
    if not start.startswith(b'PK'):
        return read_torch_file(path, map_location)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if is_archive_of_arrays(names):
            arrays = {name: torch.from_numpy(value) for name, value in read_arrays(path).items()}
            return _moved(arrays, map_location)
        if is_torchscript(names):
            return _moved(read_torchscript(archive, size), map_location)
        check_stored(archive, archive.infolist(), size)
        check_sums(archive)
    return read_torch_file(path, map_location)


def _moved(content: Any, map_location: MapLocation) -> Any:
    """Tensors on the device that a call of ``torch.load`` would put them on."""
    if not isinstance(map_location, (str, torch.device)):
        return content
    if isinstance(content, Tensor):
        return content.to(map_location)
    return {name: value.to(map_location) for name, value in content.items()}


def _check_plain(content: Any, size: int) -> None:
    """Stops at tensors that are no plain numbers, or that unfold to more than the file holds."""
    named = 0
    for tensor in _tensors(content):
        is_dense = tensor.layout == torch.strided and not tensor.is_nested
        if not is_dense or tensor.is_quantized or tensor.device.type == 'meta':
            raise ValueError('it holds sparse, quantised or empty tensors, not plain ones')
        named += tensor.numel() * tensor.element_size()
    if named > max(_SHARED * size, _ALWAYS_ALLOWED):
        raise ValueError(f'it names {named} bytes of numbers and has {size}')


def _tensors(content: Any) -> Iterator[Tensor]:
    left, seen = [content], set()
    while left:
        value = left.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            left.extend(value.values() if isinstance(value, Mapping) else value)


def _cause(error: Exception) -> str:
    """Why a file was refused, in a few words; torch's own text advises to load it unsafely."""
    is_wrapped = isinstance(error, pickle.UnpicklingError) and error.__context__ is not None
    text = str(error.__context__ if is_wrapped else error).strip()
    asked = re.search(r'(?:GLOBAL|Unsupported class) ([\w.]+)', text)
    if asked:
        return f'it asks for {asked[1]}'
    return re.split(r'\n|\. ', text)[0].rstrip('.')[:160] or type(error).__name__
