"""TorchScript archives, as OpenAI publishes CLIP: their tensors, without torch.jit.

``torch.jit.load`` compiles the code of an archive and runs parts of it while reading. Here the
archive's ``data.pkl`` is read by an unpickler that knows how torch writes tensors and makes inert
records of everything else. The sources under ``code/`` are looked at as text, for the lists that
tell parameters and buffers from other tensors of a module (OpenAI's attention masks).
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from zipfile import ZipFile

import torch
from torch import Tensor

from ovseg.weight_files.archives import CHUNK, check_stored
from ovseg.weight_files.pickles import check_operations

# Of data.pkl and of a source, in bytes; CLIP's largest have less than one.
_LONGEST_TEXT = 1 << 26
# Modules in each other, and in all.
_DEEPEST = 200
_MOST_MODULES = 20_000
_SCRIPT = '__torch__'
# Classes of C++ have no source.
_NATIVE = '__torch__.torch.classes.'
_STORAGES = {
    'DoubleStorage': torch.float64,
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
    'ComplexFloatStorage': torch.complex64,
    'ComplexDoubleStorage': torch.complex128,
}
# What torch's C++ writer uses of pickle, and a little more.
_OPERATIONS = frozenset(
    """
    PROTO STOP MARK POP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT
    BINUNICODE EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT
    SETITEM SETITEMS BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE NEWOBJ BUILD
    BINPERSID
    """.split()  # noqa: SIM905
)
_CLASS = re.compile(r'^class (\w+)\((\w+)\):\n((?:  __\w+__ = \[[^\n]*\]\n)*)', re.MULTILINE)
_NAMES = re.compile(r'^  __(parameters|buffers)__ = \[([^\n]*)\]$', re.MULTILINE)
_NAME = re.compile(r'"([^"]*)"')


def is_torchscript(names: list[str]) -> bool:
    """Whether members of a zip archive are those of TorchScript."""
    return any('/code/' in name or name.endswith('/constants.pkl') for name in names)


def read_torchscript(archive: ZipFile, size: int) -> dict[str, Tensor]:
    """What ``torch.jit.load(...).state_dict()`` would give, on the CPU.

    Args:
        archive: opened.
        size: of the file, in bytes.

    Raises:
        ValueError: damaged, or of a form that only its own code could read.
        pickle.UnpicklingError: it asks for something else than tensors.
        zipfile.BadZipFile: a storage is not as it was written.
    """
    script = _Archive(archive, size)
    root = script.read_data()
    if not isinstance(root, _Record):
        raise ValueError('its data are no module')
    return {
        name: value
        for prefix, record in _modules(script, root)
        for name, value in _tensors(script, record, prefix)
    }


class _Record:
    """An object of the archive: its class's name and what was stored of it, nothing more."""

    __slots__ = ('state',)
    qualified = ''

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Inert:
    """Stands for a name of torch; nothing can be set on it."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError('it would change what belongs to torch')


class _Storage(_Inert):
    __slots__ = ('dtype',)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Tensors(_Inert):
    """``torch._utils._rebuild_tensor_v2``: a view into a storage."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Tensor:
        numbers = (offset, *shape, *stride)
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError('a tensor has no sensible shape')
        if type(storage) is not Tensor or len(shape) != len(stride):
            raise ValueError('a tensor has no sensible storage')
        count = math.prod(shape)
        last = offset + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
        if count and last >= len(storage):
            raise ValueError('a tensor is larger than its storage')
        return storage.as_strided(shape, stride, offset) if count else storage.new_empty(shape)


class _Tables(_Inert):
    """``collections.OrderedDict``: the hooks of a tensor, always empty."""

    __slots__ = ()

    def __call__(self) -> dict[Any, Any]:
        return OrderedDict()


class _Values(_Inert):
    """Functions that tell the type of a list or table, which is its first argument."""

    __slots__ = ()

    def __call__(self, value: Any, *_: Any) -> Any:
        return value


class _Unpickler(pickle.Unpickler):
    """Gives stand-ins, never what a name means in this process."""

    def __init__(self, data: bytes, archive: _Archive) -> None:
        super().__init__(io.BytesIO(data), fix_imports=False)
        self.archive = archive
        self.records: dict[str, type[_Record]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.split('.')[0] == _SCRIPT:
            qualified = f'{module}.{name}'
            return self.records.setdefault(
                qualified, type('Record', (_Record,), {'__slots__': (), 'qualified': qualified})
            )
        if module == 'torch' and name in _STORAGES:
            return _Storage(_STORAGES[name])
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return _Tensors()
        if (module, name) == ('collections', 'OrderedDict'):
            return _Tables()
        if module == 'torch.jit._pickle':
            return _Values()
        raise pickle.UnpicklingError(f'it asks for {module}.{name}')

    def persistent_load(self, pid: Any) -> Tensor:
        kind, storage, key, _, count = pid
        if kind != 'storage' or type(storage) is not _Storage or type(count) is not int:
            raise pickle.UnpicklingError('it has no sensible storages')
        return self.archive.storage(str(key), storage.dtype, count)


@dataclass(frozen=True)
class _Kind:
    """What the source of a class says of it.

    Attributes:
        is_module: whether it is a module.
        names: of its parameters, and of its buffers; None where a list is missing.
    """

    is_module: bool = True
    parameters: frozenset[str] | None = None
    buffers: frozenset[str] | None = None


class _Archive:
    """An opened archive: its data, storages by their keys, and classes."""

    def __init__(self, archive: ZipFile, size: int) -> None:
        self.archive = archive
        roots = [n.removesuffix('data.pkl') for n in archive.namelist() if n.endswith('/data.pkl')]
        if len(roots) != 1:
            raise ValueError('it has no data.pkl, as archives of torch 1.2 and older have not')
        self.root = roots[0]
        data = [
            member
            for member in archive.infolist()
            if member.filename.startswith((f'{self.root}data/', f'{self.root}data.pkl'))
        ]
        check_stored(archive, data, size)
        self._storages: dict[str, Tensor] = {}
        self._sources: dict[str, dict[str, _Kind]] = {}
        self._has_sources = any(n.startswith(f'{self.root}code/') for n in archive.namelist())

    def read_data(self) -> Any:
        """The content of ``data.pkl``."""
        order = f'{self.root}byteorder'
        if order in self.archive.namelist() and self._text(order) != b'little':
            raise ValueError('it was written on a machine of the other byte order')
        data = self._text(f'{self.root}data.pkl')
        check_operations(data, _OPERATIONS)
        return _Unpickler(data, self).load()

    def storage(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        """A flat tensor of a storage, the same one for the same key."""
        if key not in self._storages:
            self._storages[key] = self._read_storage(key, dtype, count)
        storage = self._storages[key]
        if storage.dtype != dtype or len(storage) != count:
            raise ValueError(f'storage {key!r} has two types or sizes')
        return storage

    def kind(self, qualified: str) -> _Kind:
        """What the source says of a class; a module without lists if there are no sources."""
        if not self._has_sources:
            return _Kind()
        if qualified.startswith(_NATIVE):
            return _Kind(is_module=False)
        module, _, name = qualified.rpartition('.')
        source = f'{self.root}code/{module.replace(".", "/")}.py'
        if source not in self._sources:
            self._sources[source] = _classes(self._text(source).decode())
        if name not in self._sources[source]:
            raise ValueError(f'its sources do not have {qualified}')
        return self._sources[source][name]

    def _read_storage(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        member = self.archive.getinfo(f'{self.root}data/{key}')
        if count < 0 or member.file_size != count * dtype.itemsize:
            raise ValueError(f'storage {key!r} has {member.file_size} bytes for {count} numbers')
        flat = torch.empty(count, dtype=dtype)
        if not count:
            return flat
        place, view = 0, flat.view(torch.uint8).numpy().data
        with self.archive.open(member) as file:
            # The read that finds the end compares the archive's sum.
            while piece := file.read(CHUNK):
                view[place : place + len(piece)] = piece
                place += len(piece)
        if place != len(view):
            raise ValueError(f'storage {key!r} is cut off')
        return flat

    def _text(self, name: str) -> bytes:
        member = self.archive.getinfo(name)
        if member.file_size > _LONGEST_TEXT:
            raise ValueError(f'{name} has {member.file_size} bytes')
        return self.archive.read(member)


def _classes(source: str) -> dict[str, _Kind]:
    """The classes in a source, by name; the text is searched, never compiled."""
    kinds = {}
    for name, parent, lists in _CLASS.findall(source):
        found = {kind: frozenset(_NAME.findall(text)) for kind, text in _NAMES.findall(lists)}
        kinds[name] = _Kind(parent == 'Module', found.get('parameters'), found.get('buffers'))
    return kinds


def _modules(script: _Archive, root: _Record) -> Iterator[tuple[str, _Record]]:
    """Every module with the prefix of its names, before its parts, as torch orders them."""
    left = [('', root, 0)]
    for _ in range(_MOST_MODULES):
        if not left:
            return
        prefix, record, depth = left.pop()
        yield prefix, record
        parts = [
            (f'{prefix}{name}.', value, depth + 1)
            for name, value in _stored(record).items()
            if isinstance(value, _Record) and script.kind(value.qualified).is_module
        ]
        if parts and depth == _DEEPEST:
            break
        left.extend(reversed(parts))
    raise ValueError('its modules are nested without end')


def _tensors(script: _Archive, record: _Record, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """A module's own parameters, then its buffers."""
    kind = script.kind(record.qualified)
    tensors = {name: value for name, value in _stored(record).items() if isinstance(value, Tensor)}
    parameters = kind.parameters if kind.parameters is not None else frozenset(tensors)
    buffers = kind.buffers if kind.buffers is not None else frozenset(tensors) - parameters
    for names in (parameters, buffers):
        yield from ((prefix + name, value) for name, value in tensors.items() if name in names)


def _stored(record: _Record) -> Mapping[str, Any]:
    stored = getattr(record, 'state', None)
    if not isinstance(stored, Mapping):
        raise ValueError(f'{record.qualified} packs what it holds by code of its own')
    return stored
