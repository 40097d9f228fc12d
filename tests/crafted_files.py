"""Files that are no weights: damaged, of another kind, or made to run code when they are read.

Each maker writes one into a folder and returns its path. What would run leaves a file in the folder
of canaries.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

Maker = Callable[[Path, Path], Path]
MAKERS: dict[str, Maker] = {}
STATE = {'visual.proj': torch.arange(6.0).reshape(2, 3), 'logit_scale': torch.ones(())}


def crafted(maker: Maker) -> Maker:
    """Puts a maker into :data:`MAKERS` under its name."""
    MAKERS[maker.__name__] = maker
    return maker


class Runs:
    """An object that calls a function when its pickle is executed."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def writes(canary: Path, name: str = 'written') -> Runs:
    return Runs(Path.write_text, canary / name, 'harm')


@crafted
def zip_that_writes(folder: Path, canary: Path) -> Path:
    path = folder / 'zip_that_writes.pt'
    torch.save({'state_dict': writes(canary), **STATE}, path)
    return path


@crafted
def zip_that_calls_the_system(folder: Path, canary: Path) -> Path:
    path = folder / 'zip_that_calls.pth'
    torch.save({'state_dict': Runs(os.system, f'touch {canary}/called')}, path)
    return path


@crafted
def old_format_that_writes(folder: Path, canary: Path) -> Path:
    path = folder / 'old.pth'
    torch.save({'model': writes(canary)}, path, _use_new_zipfile_serialization=False)
    return path


@crafted
def bare_pickle_that_writes(folder: Path, canary: Path) -> Path:
    path = folder / 'bare.pkl'
    path.write_bytes(pickle.dumps(writes(canary)))
    return path


@crafted
def packed_pickle_that_writes(folder: Path, canary: Path) -> Path:
    path = folder / 'packed.pt'
    path.write_bytes(gzip.compress(pickle.dumps(writes(canary))))
    return path


@crafted
def tar_that_writes(folder: Path, canary: Path) -> Path:
    """As torch of before version 0.2 saved; its tensors are pickles, too."""
    path = folder / 'tar.pth'
    with tarfile.open(path, 'w') as tar:
        for name in ('sys_info', 'pickle', 'storages', 'tensors'):
            data = pickle.dumps(writes(canary, name))
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


class WritesWhenRead(nn.Module):
    """Runs in torch.jit.load: writes 64 bytes of its choice to a path of its choice."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.written = torch.zeros(1)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value

    @torch.jit.export
    def __getstate__(self):  # -> a type that TorchScript infers
        return (self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path = state[0]
        self.training = state[1]
        # Kept, or TorchScript would leave out what nobody looks at.
        self.written = torch.from_file(state[0], True, 64, dtype=torch.uint8).fill_(65)


class WritesWhenRun(nn.Module):
    """Writes in its forward pass."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.proj = nn.Parameter(torch.ones(2, 3))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value + torch.from_file(self.path, True, 64, dtype=torch.uint8).fill_(65)


@crafted
def torchscript_that_writes_when_read(folder: Path, canary: Path) -> Path:
    path = folder / 'script_read.pt'
    torch.jit.script(WritesWhenRead(str(canary / 'script'))).save(str(path))
    return path


@crafted
def torchscript_that_writes_among_weights(folder: Path, canary: Path) -> Path:
    path = folder / 'script_among.pt'
    model = nn.Module()
    model.visual = WritesWhenRun(str(canary / 'run'))
    model.inner = WritesWhenRead(str(canary / 'script'))
    holder = nn.Sequential(model.visual, model.inner)
    torch.jit.script(holder).save(str(path))
    return path


@crafted
def torchscript_that_writes_when_run(folder: Path, canary: Path) -> Path:
    path = folder / 'script_run.pt'
    torch.jit.script(WritesWhenRun(str(canary / 'run'))).save(str(path))
    return path


def with_data(folder: Path, name: str, data: bytes, **members: bytes) -> Path:
    """A TorchScript archive with a ``data.pkl`` of one's own."""
    path = folder / name
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('x/data.pkl', data)
        archive.writestr('x/constants.pkl', pickle.dumps((), 2))
        archive.writestr('x/version', b'3\n')
        for key, value in members.items():
            archive.writestr(f'x/data/{key[1:]}', value)
    return path


@crafted
def torchscript_with_a_call(folder: Path, canary: Path) -> Path:
    return with_data(folder, 'call.pt', pickle.dumps(writes(canary), 2))


@crafted
def torchscript_that_changes_torch(folder: Path, canary: Path) -> Path:
    """BUILD with two tables sets attributes on what lies below."""
    data = b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N}X\x01\x00\x00\x00aK\x01stb.'
    return with_data(folder, 'changes.pt', data)


@crafted
def torchscript_with_a_far_place(folder: Path, canary: Path) -> Path:
    """An unpickler would make room for four thousand million objects."""
    return with_data(folder, 'place.pt', b'\x80\x02}r\xff\xff\xff\xff.')


@crafted
def torchscript_with_a_short_storage(folder: Path, canary: Path) -> Path:
    pid = b'(X\x07\x00\x00\x00storagectorch\nFloatStorage\n'
    pid += b'X\x01\x00\x00\x000X\x03\x00\x00\x00cpuM\xff\xfftQ'
    data = b'\x80\x02c__torch__\nM\n)\x81}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n('
    data += pid + b'K\x00M\xff\xff\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRsb.'
    return with_data(folder, 'short.pt', data, _0=b'\x00' * 8)


@crafted
def torchscript_without_end(folder: Path, canary: Path) -> Path:
    """Sixty modules, each of which has the next one twice."""
    module = b'c__torch__\nM\n)\x81'
    data = module + b'}bq\x00'
    for place in range(60):
        use = b'h' + bytes([place])
        data += module + b'}(X\x01\x00\x00\x00a' + use + b'X\x01\x00\x00\x00b' + use
        data += b'ub' + b'q' + bytes([place + 1])
    return with_data(folder, 'endless.pt', b'\x80\x02' + data + b'.')


@crafted
def safetensors_with_a_huge_header(folder: Path, canary: Path) -> Path:
    path = folder / 'header.safetensors'
    path.write_bytes(struct.pack('<Q', 1 << 62) + b'{"a": 1}')
    return path


@crafted
def safetensors_that_claim_much(folder: Path, canary: Path) -> Path:
    path = folder / 'claim.safetensors'
    entry = {'dtype': 'F32', 'shape': [1 << 50], 'data_offsets': [0, 4 << 50]}
    header = json.dumps({'a': entry}).encode()
    path.write_bytes(struct.pack('<Q', len(header)) + header + b'\x00' * 8)
    return path


@crafted
def safetensors_of_nested_brackets(folder: Path, canary: Path) -> Path:
    path = folder / 'nested.safetensors'
    header = b'{"a":' + b'[' * 200_000
    path.write_bytes(struct.pack('<Q', len(header)) + header)
    return path


@crafted
def safetensors_that_are_cut(folder: Path, canary: Path) -> Path:
    from safetensors.torch import save_file

    path = folder / 'cut.safetensors'
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-8])
    return path


@crafted
def array_of_objects(folder: Path, canary: Path) -> Path:
    path = folder / 'objects.npy'
    np.save(path, np.array([writes(canary)], dtype=object), allow_pickle=True)
    return path


@crafted
def arrays_of_objects(folder: Path, canary: Path) -> Path:
    path = folder / 'objects.npz'
    objects = np.array([writes(canary)], dtype=object)
    np.savez(path, instance_mask=objects, allow_pickle=True)
    return path


@crafted
def array_with_a_header_of_terabytes(folder: Path, canary: Path) -> Path:
    path = folder / 'huge.npy'
    with path.open('wb') as file:
        header = {'descr': '<f8', 'fortran_order': False, 'shape': (1 << 40,)}
        np.lib.format.write_array_header_1_0(file, header)
    return path


@crafted
def array_of_text(folder: Path, canary: Path) -> Path:
    path = folder / 'text.npy'
    np.save(path, np.array(['sky', 'grass']))
    return path


@crafted
def arrays_that_unfold(folder: Path, canary: Path) -> Path:
    path = folder / 'unfold.npz'
    np.savez_compressed(path, instance_mask=np.zeros((1 << 12, 1 << 15), np.uint8))
    return path


@crafted
def arrays_with_bad_deflate(folder: Path, canary: Path) -> Path:
    path = folder / 'deflate.npz'
    np.savez_compressed(path, instance_mask=np.arange(5000))
    data = bytearray(path.read_bytes())
    data[300:400] = b'\xff' * 100
    path.write_bytes(data)
    return path


@crafted
def archive_that_unfolds(folder: Path, canary: Path) -> Path:
    path, plain = folder / 'unfold.pt', folder / 'plain.pt'
    torch.save({'a': torch.zeros(1 << 22)}, plain)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    plain.unlink()
    return path


@crafted
def tensor_of_one_number_many_times(folder: Path, canary: Path) -> Path:
    path = folder / 'many.pt'
    torch.save({'visual.proj': torch.ones(1).expand(1 << 45)}, path)
    return path


@crafted
def sparse_tensor(folder: Path, canary: Path) -> Path:
    path = folder / 'sparse.pt'
    torch.save({'visual.proj': torch.eye(3).to_sparse()}, path)
    return path


@crafted
def archive_with_a_flipped_bit(folder: Path, canary: Path) -> Path:
    path = folder / 'flipped.pt'
    torch.save(STATE, path)
    data = bytearray(path.read_bytes())
    data[data.index(STATE['visual.proj'].numpy().tobytes()) + 7] ^= 0x40
    path.write_bytes(data)
    return path


@crafted
def archive_that_is_cut(folder: Path, canary: Path) -> Path:
    path = folder / 'half.pt'
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:700])
    return path


@crafted
def beginning_of_an_archive(folder: Path, canary: Path) -> Path:
    path = folder / 'beginning.pt'
    path.write_bytes(b'PK\x03\x04 cut off')
    return path


@crafted
def archive_of_nothing(folder: Path, canary: Path) -> Path:
    path = folder / 'nothing.pt'
    zipfile.ZipFile(path, 'w').close()
    return path


@crafted
def old_format_that_claims_much(folder: Path, canary: Path) -> Path:
    path = folder / 'old_claim.pt'
    torch.save({'visual.proj': torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'K\x03', b'J\xff\xff\xff\x7f'))
    return path


@crafted
def empty_file(folder: Path, canary: Path) -> Path:
    path = folder / 'empty.pt'
    path.touch()
    return path


@crafted
def text(folder: Path, canary: Path) -> Path:
    path = folder / 'text.pt'
    path.write_text('these are no weights\n' * 10)
    return path


@crafted
def page_of_the_web(folder: Path, canary: Path) -> Path:
    path = folder / 'page.pth'
    path.write_text('<!DOCTYPE html><html><body>sign in</body></html>')
    return path


@crafted
def pointer_of_git_lfs(folder: Path, canary: Path) -> Path:
    path = folder / 'pointer.pt'
    path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 353976522\n')
    return path


@crafted
def directory(folder: Path, canary: Path) -> Path:
    path = folder / 'directory.pt'
    path.mkdir()
    return path


@crafted
def pipe(folder: Path, canary: Path) -> Path:
    path = folder / 'pipe.pt'
    os.mkfifo(path)
    return path


@crafted
def pipe_called_safetensors(folder: Path, canary: Path) -> Path:
    path = folder / 'pipe.safetensors'
    os.mkfifo(path)
    return path


@crafted
def link_to_itself(folder: Path, canary: Path) -> Path:
    path = folder / 'loop.pt'
    path.symlink_to(path)
    return path


@crafted
def name_too_long(folder: Path, canary: Path) -> Path:
    return folder / f'{"x" * 300}.pt'


@crafted
def nothing_there(folder: Path, canary: Path) -> Path:
    return folder / 'missing.pt'
