"""The stand-in as a module: unserved ops speak when called, questions of Python are answered."""

from __future__ import annotations

import importlib.util
import inspect

import pytest
import torch

import ovseg  # noqa: F401
from ovseg.compat import mmcv_ops
from ovseg.compat.mmcv_extension import MMCVExtension

EXTENSION = MMCVExtension('mmcv._ext')


@pytest.mark.parametrize(
    'name', ['carafe_forward', 'deform_conv_forward', 'softmax_focal_loss_forward']
)
def test_unserved_op_raises_one_sentence_when_called_and_not_before(name):
    op = getattr(EXTENSION, name)
    with pytest.raises(RuntimeError) as caught:
        op(torch.zeros(1), gamma=2.0)
    message = str(caught.value)
    assert f"'{name}'" in message
    assert 'without its compiled extension' in message  # the reason
    assert 'pip install --no-build-isolation' in message  # the remedy
    assert message.count('. ') == 0 and message.endswith('.')


def test_served_ops_are_those_of_mmcv_ops():
    for name, op in mmcv_ops.SERVED.items():
        assert getattr(EXTENSION, name) is op


def test_private_names_are_absent():
    for name in ('__path__', '__wrapped__', '_repr_html_'):
        assert not hasattr(EXTENSION, name)


def test_module_can_be_looked_at():
    assert inspect.ismodule(EXTENSION)
    assert 'mmcv._ext' in repr(EXTENSION)
    assert EXTENSION.__spec__.name == 'mmcv._ext'


def test_environment_report_says_that_there_is_no_extension():
    if importlib.util.find_spec('mmcv._ext').loader is not None:
        pytest.skip('this mmcv has its own extension')
    from mmcv.utils import collect_env

    report = collect_env()
    assert 'no compiled extension' in report['MMCV Compiler']
    assert 'no compiled extension' in report['MMCV CUDA Compiler']
