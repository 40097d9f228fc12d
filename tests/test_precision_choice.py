"""``precision='auto'`` by device, and precisions that a device has not."""

import warnings

import pytest
import torch

import ovseg.precision_choice as choice
from ovseg.errors import Notice, UserError
from ovseg.precision_choice import choose_precision

# The real one: all tests run with another, see conftest.py.

CPU, GPU, MPS, XPU, HPU = (torch.device(kind) for kind in ('cpu', 'cuda', 'mps', 'xpu', 'hpu'))


@pytest.fixture
def machine(monkeypatch):
    """A machine that has what it is told to have."""
    monkeypatch.delenv(choice.VARIABLE)

    def make(cpu=(), capability=(0, 0), computes=()):
        monkeypatch.setattr(choice, 'cpu_multiplies', lambda name: name in cpu)
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: capability)
        monkeypatch.setattr(choice, '_computes', lambda name, device: name in computes)

    return make


BOTH = ('bfloat16', 'float16')


@pytest.mark.parametrize(
    ('device', 'has', 'wanted'),
    [
        (CPU, {}, 'float32'),
        (CPU, {'cpu': ['bfloat16']}, 'bfloat16'),
        (CPU, {'cpu': ['float16']}, 'float32'),
        (GPU, {'capability': (9, 0)}, 'bfloat16'),
        (GPU, {'capability': (8, 0)}, 'bfloat16'),
        (GPU, {'capability': (7, 5)}, 'float16'),
        (GPU, {'capability': (7, 0)}, 'float16'),
        (GPU, {'capability': (6, 1), 'cpu': ['bfloat16']}, 'float32'),
        (MPS, {'computes': BOTH}, 'float16'),
        (XPU, {'computes': BOTH}, 'bfloat16'),
        (XPU, {}, 'float32'),
        (HPU, {'computes': BOTH}, 'float32'),
    ],
)
def test_auto_is_the_fastest_that_a_device_has(machine, device, has, wanted):
    machine(**has)
    assert choose_precision('auto', device) == getattr(torch, wanted)
    assert choose_precision('float32', device) == torch.float32


@pytest.mark.parametrize(
    ('device', 'has', 'asked', 'instead'),
    [
        (GPU, {'capability': (7, 5), 'computes': BOTH}, 'bfloat16', 'float16'),
        (GPU, {'capability': (6, 1), 'computes': BOTH}, 'bfloat16', 'float32'),
        (MPS, {'computes': ['float16']}, 'bfloat16', 'float16'),
        (XPU, {}, 'float16', 'float32'),
        (HPU, {}, 'bfloat16', 'float32'),
    ],
)
def test_a_precision_that_a_device_has_not_is_one_sentence(machine, device, has, asked, instead):
    machine(**has)
    with pytest.raises(UserError) as told:
        choose_precision(asked, device)
    assert str(told.value) == (
        f"The device '{device}' does not compute in {asked}: choose the precision '{instead}', or "
        "'auto', which does."
    )


def test_what_a_device_has_may_be_asked_for(machine):
    machine(cpu=['bfloat16'], capability=(8, 6), computes=BOTH)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for device in (CPU, GPU, XPU):
            assert choose_precision('bfloat16', device) == torch.bfloat16
            assert choose_precision(torch.bfloat16, device) == torch.bfloat16
        assert choose_precision('float16', GPU) == torch.float16
    with pytest.warns(Notice, match='no instructions for products in float16'):
        assert choose_precision('float16', CPU) == torch.float16


@pytest.mark.parametrize('name', ['bflot16', 'half', '', 'int8', torch.float64, None])
def test_other_names_are_refused_with_the_known_ones(name):
    with pytest.raises(UserError, match='must be one of auto, float32, bfloat16, float16, got'):
        choose_precision(name)
    if name == 'bflot16':
        with pytest.raises(UserError, match="Did you mean 'bfloat16'"):
            choose_precision(name)


@pytest.mark.parametrize(
    ('listed', 'asked', 'machine_name', 'onednn', 'wanted'),
    [
        ({'amx_bf16': True}, {}, 'x86_64', True, True),
        ({'avx512_bf16': True, 'amx_bf16': False}, {}, 'x86_64', True, True),
        ({'avx512_bf16': True}, {}, 'x86_64', False, False),
        ({'avx512_f': True, 'amx_int8': True}, {}, 'x86_64', True, False),
        ({'neon': True, 'bf16': True}, {}, 'aarch64', True, True),
        ({'neon': True}, {}, 'aarch64', True, False),
        # A torch without the list is asked one by one; one that knows no question has none.
        (None, {'_is_amx_tile_supported': True}, 'x86_64', True, True),
        (None, {'_is_avx512_bf16_supported': True}, 'x86_64', True, True),
        (None, {'_is_avx512_bf16_supported': False}, 'x86_64', True, False),
        (None, {}, 'AMD64', True, False),
        (None, {}, 'aarch64', True, True),
        (None, {}, 'arm64', False, False),
    ],
)
def test_a_processor_is_known_by_its_instructions(
    monkeypatch, listed, asked, machine_name, onednn, wanted
):
    for question in ('get_capabilities', '_is_amx_tile_supported', '_is_avx512_bf16_supported'):
        monkeypatch.delattr(torch.cpu, question, raising=False)
    if listed is not None:
        monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: listed, raising=False)
    for question, answer in asked.items():
        monkeypatch.setattr(torch.cpu, question, lambda answer=answer: answer, raising=False)
    monkeypatch.setattr('platform.machine', lambda: machine_name)
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: True)
    monkeypatch.setattr(
        torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: onednn, raising=False
    )
    assert choice.cpu_multiplies('bfloat16') is wanted
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
    assert choice.cpu_multiplies('bfloat16') is False


def test_this_machine_computes_in_what_auto_chooses(monkeypatch):
    monkeypatch.delenv(choice.VARIABLE)
    dtype = choose_precision('auto')
    assert choice._computes(str(dtype).removeprefix('torch.'), CPU)
    assert not choice._computes('bfloat16', torch.device('cuda', 99))


def test_the_environment_says_what_auto_means(monkeypatch):
    for name in ('bfloat16', 'float32'):
        monkeypatch.setenv(choice.VARIABLE, name)
        assert choose_precision('auto') == getattr(torch, name)
        assert choose_precision('float32') == torch.float32
    monkeypatch.setenv(choice.VARIABLE, 'floaty')
    with pytest.raises(UserError, match=r"OVSEG_PRECISION must be one of .* got 'floaty'"):
        choose_precision('auto')
