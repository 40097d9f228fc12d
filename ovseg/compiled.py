"""Image encoders compiled by torch, when the first image of a kind asks for it.

The rule that bounds the compiling: sizes are symbols, so one program of a ViT serves all sizes of
images, and one more serves single images beside batches (torch treats a batch of one apart).
Networks that torch cannot record whole, such as mmseg's, take a few for their parts. torch's own
limit (``torch._dynamo.config``, 8 programs a function) is the last bound; beyond it, and where a
program cannot be built, the encoder runs as it is written.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ovseg.errors import UserError, notify
from ovseg.precision import encoders_of

_MARK = 'compilation'


class Compilation:
    """What compiling a model's encoders has come to so far.

    Attributes:
        seconds: that translating took, so far.
        programs: that were made, so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.programs = 0

    def build(self, graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        """Translates what torch recorded of an encoder: a backend of :func:`torch.compile`.

        Args:
            graph: the recorded operations.
            inputs: what they were recorded with.
        """
        from torch._dynamo.exc import RestartAnalysis

        start = time.perf_counter()
        try:
            program = _translator()(graph, inputs)
        except RestartAnalysis:  # no failure: torch records anew with what it has learnt
            raise
        except Exception as error:
            notify(f'an image encoder could not be compiled and runs as it is written: {error!r}')
            return graph.forward
        took = time.perf_counter() - start
        self.seconds += took
        self.programs += 1
        notify(
            f'an image encoder was compiled in {took:.1f} s, once for all sizes of images '
            f'(program {self.programs})'
        )
        return program


def compile_encoders(model: nn.Module) -> Compilation:
    """Has torch compile a model's image encoders, those that :func:`set_precision` casts.

    Nothing is compiled before the first image, which waits for it. Labels stay but for rounding.
    An encoder that is run block by block, not by a call, stays as it is: CLIP under a mixer, SAM.
    A copy of the model by pickle is not compiled.

    Args:
        model: a segmentor, cast and on its device.

    Raises:
        UserError: the model has no such encoder, or the machine no compiler.
    """
    networks = list(encoders_of(model))
    if not networks:
        raise UserError(
            f'{type(model).__name__} has no image encoder that could be compiled: leave compile '
            'out (--compile)'
        )
    _check_compiler(next(model.parameters()).device)
    compilation = Compilation()
    for network in networks:
        network.compile(backend=compilation.build, dynamic=True)
    setattr(model, _MARK, compilation)
    return compilation


def compilation_of(model: nn.Module) -> Compilation | None:
    """What compiling a model's encoders has come to; None where nobody asked for it.

    Args:
        model: a segmentor.
    """
    found: Compilation | None = getattr(model, _MARK, None)
    return found


def _translator() -> Callable[[torch.fx.GraphModule, Sequence[Tensor]], Callable[..., Any]]:
    """Torch's own, which importing takes a second."""
    from torch._dynamo import lookup_backend

    translate: Callable[..., Any] = lookup_backend('inductor')
    return translate


def _check_compiler(device: torch.device) -> None:
    if device.type == 'cpu':
        usual = {'darwin': 'clang++', 'win32': 'cl'}.get(sys.platform, 'g++')
        compiler = os.environ.get('CXX') or usual
        if shutil.which(compiler) is None:
            raise UserError(
                f"compiling the encoders (--compile) needs a C++ compiler, and '{compiler}' is "
                'not on this machine: install one, name it in the variable CXX, or leave it out'
            )
    elif importlib.util.find_spec('triton') is None:
        raise UserError(
            f"compiling the encoders (--compile) for '{device}' needs the package triton: "
            'install it (pip install triton), or leave it out'
        )
