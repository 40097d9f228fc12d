"""Programs as ONNX files and torch.export archives, which agree with the model or do not appear."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ovseg import __version__
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.errors import UserError
from ovseg.extras import extra_module
from ovseg.files import written_whole
from ovseg.input_files import cause_of
from ovseg.portable.programs import OpenProgram, Program, left_out, program_of
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.torch_modes import plain_torch

# Largest difference of what an exported program gives, against the largest number it gives.
_TOLERANCE = 1e-4
_METADATA = 'ovseg'
_Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def export_onnx(
    segmenter: OpenVocabSegmenter, path: Path, size: tuple[int, int] | None = None
) -> str:
    """Write a model as an ONNX file; its metadata ``ovseg`` say how images and words are given.

    Args:
        segmenter: on the CPU, in float32.
        path: of the ``.onnx`` file.
        size: see :func:`~ovseg.portable.programs.program_of`.

    Returns:
        What is in it, in a few words.

    Raises:
        UserError: a model that is no single program, a library that is missing, or an exported
            program that says something else than the model.
    """
    extra_module('onnx', 'export', 'ONNX files')
    extra_module('onnxscript', 'export', 'ONNX files')
    runtime = extra_module('onnxruntime', 'export', 'ONNX files')
    program = _program(segmenter, size)
    with written_whole(path) as temporary:
        with _recorded(segmenter.name):
            written = torch.onnx.export(
                _exported(program),
                dynamo=True,
                input_names=program.inputs,
                output_names=program.outputs,
                verbose=False,
            )
        assert written is not None  # with dynamo=True
        written.model.metadata_props[_METADATA] = json.dumps(facts_of(segmenter, program))
        written.save(temporary)
        session = runtime.InferenceSession(temporary, providers=['CPUExecutionProvider'])

        def run(arguments: Sequence[Tensor]) -> Sequence[Tensor]:
            given = {
                name: value.numpy() for name, value in zip(program.inputs, arguments, strict=True)
            }
            return [torch.from_numpy(value) for value in session.run(None, given)]

        difference = check_agreement(program, run, segmenter.name)
    return _told(program, path, difference)


def export_program(
    segmenter: OpenVocabSegmenter, path: Path, size: tuple[int, int] | None = None
) -> str:
    """Write a model as an archive of ``torch.export``; see :func:`export_onnx`.

    ``torch.export.load(path).module()(image, rows)`` runs it without ovseg.
    """
    program = _program(segmenter, size)
    with _recorded(segmenter.name):
        exported = _exported(program)
    facts = {_METADATA: json.dumps(facts_of(segmenter, program))}
    with written_whole(path) as temporary:
        torch.export.save(exported, temporary, extra_files=facts)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # torch's own, of buffers that nobody writes to
            module = torch.export.load(temporary).module()

        def run(arguments: Sequence[Tensor]) -> Sequence[Tensor]:
            return _listed(module(*arguments))

        difference = check_agreement(program, run, segmenter.name)
    return _told(program, path, difference)


def check_agreement(program: Program, run: _Run, name: str) -> float:
    """Stop unless an exported program says what the model says, on sizes and words of its own.

    Args:
        program: of the model.
        run: the exported one.
        name: of the model, for the message.

    Returns:
        The largest difference, as a share of the largest number.

    Raises:
        UserError: they differ.
    """
    largest = 0.0
    for arguments in program.cases():
        with plain_torch():
            wanted = _listed(program(*arguments))
        for one, other in zip(run(arguments), wanted, strict=True):
            scale = float(other.abs().max().clamp_min(1e-12))
            same = one.shape == other.shape
            largest = max(largest, float((one - other).abs().max()) / scale if same else np.inf)
    if not largest <= _TOLERANCE:
        raise UserError(
            f'The exported {name} differs from the model by {largest:.2g} of its largest number, '
            f'where {_TOLERANCE:g} would be rounding: nothing was written.'
        )
    return largest


def facts_of(segmenter: OpenVocabSegmenter, program: Program) -> dict[str, Any]:
    """What somebody needs to know who runs an exported program, as plain values.

    Args:
        segmenter: it is of.
        program: that was exported.
    """
    resize = segmenter.resize
    facts: dict[str, Any] = {
        'model': segmenter.name,
        'ovseg_version': __version__,
        'image': 'RGB, 0 to 255, float32',
        'resize': {'scale': resize.scale, 'keep_ratio': resize.keep_ratio},
        'windows': _windows(segmenter),
        'left_out': left_out(segmenter.model),
    }
    if isinstance(program, OpenProgram):
        assert isinstance(program.model, TrainingFreeSegmentor)  # of `program_of`
        facts['channels'] = program.model.encoder.embed_dim
        facts['text_space'] = program.model.text.space  # of rows that fit
        place = {'multiple': program.multiple} if program.multiple else {'size': program.size}
        return {**facts, **place}
    vocabulary = segmenter.model.vocabulary
    return {**facts, 'size': program.size, 'classes': vocabulary and list(vocabulary.names)}


def _windows(segmenter: OpenVocabSegmenter) -> dict[str, Any] | None:
    """The windows in which the model looks at an image, which whoever runs the program cuts."""
    settings = segmenter.model.inference_settings
    if settings.mode == 'whole':
        return None
    return {'mode': settings.mode, 'size': settings.crop_size, 'stride': settings.stride}


def _program(segmenter: OpenVocabSegmenter, size: tuple[int, int] | None) -> Program:
    if segmenter.device.type != 'cpu' or segmenter.precision != 'float32':
        raise UserError("Models are exported on the CPU in float32: device='cpu', 'float32'.")
    return program_of(segmenter.model, segmenter.name, size)


def _exported(program: Program) -> torch.export.ExportedProgram:
    with plain_torch():
        return torch.export.export(
            program,
            program.examples(program.size, 3),
            dynamic_shapes=program.open_sizes(),
            strict=False,
        )


@contextmanager
def _recorded(name: str) -> Iterator[None]:
    """Writing a model down, without what the exporter says of its own rules.

    Args:
        name: of the model, for messages.

    Raises:
        UserError: torch has no rule for a part of it.
    """
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnx_ir', 'onnxscript')]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    except Exception as error:  # whatever torch raises
        raise UserError(
            f'torch cannot write {name} down as a program ({cause_of(error)}): export one with a '
            'single encoder, such as maskclip-vit-b16.'
        ) from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _listed(values: Any) -> list[Tensor]:
    return list(values) if isinstance(values, (tuple, list)) else [values]


def _told(program: Program, path: Path, difference: float) -> str:
    size = f'sides that are multiples of {program.multiple}'
    if program.multiple is None:
        size = 'images of {} x {}'.format(*program.size)
    return (
        f'{", ".join(program.inputs)} -> {", ".join(program.outputs)}, {size}, '
        f'{path.stat().st_size / 1e6:.1f} MB; agrees with the model to '
        f'{difference:.1g}'
    )
