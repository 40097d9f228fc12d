"""Compiled encoders: the same labels, few programs for many sizes, and what is said about it."""

import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scripts import load_script
from torch import nn

from ovseg import OpenVocabSegmenter, compiled
from ovseg.compiled import Compilation, compilation_of, compile_encoders
from ovseg.engine import CompileHook
from ovseg.errors import UserError
from ovseg.precision import precision_told
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene

pytestmark = pytest.mark.filterwarnings('ignore:an image encoder was compiled')


class Convolved(nn.Module):
    """The smallest model with an image encoder."""

    casts_products = True

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image):
        return self.layer(image).relu() + 1


@pytest.fixture
def recorded(monkeypatch):
    """Encoders are recorded, sizes as symbols, and run as recorded: seconds, not minutes."""
    torch.compiler.reset()
    monkeypatch.setattr(compiled, '_translator', lambda: lambda graph, inputs: graph.forward)
    yield
    torch.compiler.reset()


def scene(number):
    found = sample_scene('heldout', number)
    return draw(found, whole(found, 1.0)).image


@pytest.mark.parametrize('name', ['maskclip-tiny', 'denseclip-tiny'])
def test_labels_stay_and_one_program_serves_all_sizes(name, recorded):
    images = [scene(0), scene(1)[:150], scene(0)[:, :100], scene(1)[:120, :170]]
    plain = OpenVocabSegmenter(name, on='scenes', device='cpu', precision='float32')
    wanted = [plain(image).labels for image in images]
    segment = OpenVocabSegmenter(name, on='scenes', device='cpu', precision='float32', compile=True)
    found = [segment(images[0]).labels]
    programs = compilation_of(segment.model).programs
    found += [segment(image).labels for image in images[1:]]
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert len({image.shape for image in images}) == 4
    after = compilation_of(segment.model).programs
    if name == 'maskclip-tiny':
        assert programs == after == 1
    else:  # torch records in parts what it cannot record whole
        assert 1 <= programs <= after <= 8
    assert compilation_of(plain.model) is None


@pytest.mark.skipif(shutil.which('g++') is None, reason='no C++ compiler')
def test_torch_compiles_an_encoder_that_answers_the_same():
    from torch._inductor import config as inductor_config

    torch.compiler.reset()
    model = Convolved().eval()
    images = [torch.rand(2, 3, 20, 30), torch.rand(3, 3, 31, 17)]
    with torch.no_grad():
        wanted = [model(image) for image in images]
        compilation = compile_encoders(model)
        # Without vectors: torch tries each kind by a program of its own, ten seconds in all.
        with (
            inductor_config.patch({'cpp.vec_isa_ok': False}),
            pytest.warns(UserWarning, match='an image encoder was compiled in [0-9.]+ s, once'),
        ):
            found = [model(image) for image in images]
    torch.testing.assert_close(found, wanted)
    assert compilation.programs == 1 and compilation.seconds > 0
    copy = pickle.loads(pickle.dumps(Convolved()))
    assert copy._compiled_call_impl is None


def test_torch_may_begin_anew(monkeypatch):
    from torch._dynamo.exc import RestartAnalysis

    def again():
        raise RestartAnalysis

    monkeypatch.setattr(compiled, '_translator', again)
    with pytest.raises(RestartAnalysis):
        Compilation().build(None, [])


def test_what_cannot_be_compiled_runs_as_it_is_written(monkeypatch):
    def broken():
        raise RuntimeError('no header Python.h')

    monkeypatch.setattr(compiled, '_translator', broken)
    torch.compiler.reset()
    model, image = Convolved().eval(), torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        wanted = model(image)
        compilation = compile_encoders(model)
        with pytest.warns(UserWarning, match="runs as it is written: RuntimeError\\('no header"):
            torch.testing.assert_close(model(image), wanted)
    assert compilation.programs == 0


def test_without_a_compiler_or_an_encoder_it_is_said(monkeypatch, capsys):
    with pytest.raises(UserError, match='Linear has no image encoder that could be compiled'):
        compile_encoders(nn.Linear(2, 2))
    monkeypatch.setenv('CXX', 'no-such-compiler')
    told = "needs a C\\+\\+ compiler, and 'no-such-compiler' is not on this machine"
    with pytest.raises(UserError, match=told):
        OpenVocabSegmenter('maskclip-tiny', device='cpu', compile=True)
    with pytest.raises(UserError, match='needs the package triton'):
        monkeypatch.setattr(compiled.importlib.util, 'find_spec', lambda name: None)
        compiled._check_compiler(torch.device('cuda'))
    words = ['maskclip-tiny', '--device', 'cpu', '--compile', '--repeat', '1']
    assert load_script('benchmark').main(words) == 2
    assert "'no-such-compiler' is not on this machine" in capsys.readouterr().err


def test_a_test_compiles_what_the_runner_has(recorded):
    model = Convolved().eval()
    CompileHook().before_test(SimpleNamespace(model=model))
    assert isinstance(compilation_of(model), Compilation)
    assert precision_told(model) == 'float32, compiled'


def test_the_benchmark_compares_a_model_with_itself(recorded, capsys):
    words = ['maskclip-tiny', '--device', 'cpu', '--precision', 'float32', '--repeat', '1']
    assert load_script('benchmark').main([*words, '--compile']) == 0
    printed = capsys.readouterr().out
    assert (
        'maskclip-tiny takes' in printed and 'times the time of maskclip-tiny, compiled' in printed
    )
    assert 'compiled: the first image took' in printed
