"""Several processes: joined where there is no GPU, which mmengine wants, and of one mind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size, is_distributed

from ovseg.errors import UserError

# Launcher -> variables it sets: rank, number of processes, rank on this machine.
_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
_STARTED_BY = {'pytorch': 'torchrun', 'slurm': 'srun', 'mpi': 'mpirun'}


def check_launcher(launcher: str) -> None:
    """Stops if the processes were not started by the launcher named.

    Args:
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        UserError: an environment variable that the launcher sets is missing.
    """
    if launcher == 'none':
        return
    missing = [name for name in _VARIABLES[launcher][:2] if name not in os.environ]
    if missing:
        raise UserError(
            f'--launcher {launcher} needs {" and ".join(missing)} in the environment; start the '
            f'script with {_STARTED_BY[launcher]} (see tools/dist_test.sh), or leave --launcher out'
        )


def init_cpu_group(launcher: str, dist_cfg: Mapping[str, Any] | None = None) -> None:
    """Joins the group of processes over gloo; does nothing where there is a GPU or a group.

    Args:
        launcher: what started the processes, not ``'none'``.
        dist_cfg: ``env_cfg.dist_cfg``; its ``timeout`` (seconds) and ``port`` are used.
    """
    if torch.cuda.is_available() or is_distributed():
        return
    settings = dict(dist_cfg or {})
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')
    for name, source in zip(names, _VARIABLES[launcher], strict=True):
        os.environ.setdefault(name, os.environ.get(source, '0'))
    if launcher != 'pytorch':
        os.environ.setdefault('MASTER_PORT', str(settings.get('port', 29500)))
        os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    timeout = settings.get('timeout')
    torch.distributed.init_process_group(
        'gloo', timeout=timedelta(seconds=timeout) if timeout else None
    )


def largest(number: int) -> int:
    """The largest of the numbers that all processes call this with; all must call it.

    Args:
        number: this process's.
    """
    if get_world_size() == 1:
        return number
    shared = torch.tensor(number)
    all_reduce(shared, 'max')
    return int(shared)


def any_process(is_so: bool) -> bool:
    """Whether it is so in any of the processes, all of which must call this.

    Args:
        is_so: in this process.
    """
    return bool(largest(int(is_so)))
