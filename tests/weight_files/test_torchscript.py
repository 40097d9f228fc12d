"""TorchScript archives: the tensors that torch.jit.load gives, without torch.jit."""

from __future__ import annotations

import zipfile

import open_clip
import pytest
import torch
from crafted_files import with_data
from tiny_clip_models import RESNET, VIT
from torch import nn

from ovseg.encoders import load_clip
from ovseg.encoders.clip import build_architecture
from ovseg.errors import UserError
from ovseg.weight_files import read_state_dict, read_tensors


class Part(nn.Module):
    """All that a module may hold beside weights."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3).half()
        self.bare = nn.Linear(2, 2, bias=False)
        self.mask = torch.ones(2)
        self.register_buffer('unsaved', torch.zeros(2), persistent=False)
        self.nothing = None
        self.number, self.share = 3, 1.5
        self.words, self.sizes, self.table = ['a', 'b'], [1, 2], {'a': 1}
        self.tensors = [torch.ones(1), torch.ones(2)]

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value + self.mask


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = Part()
        self.again = self.part
        self.weight = nn.Parameter(torch.randn(4))
        self.tied = self.weight
        self.register_buffer('view', torch.randn(3, 4)[1:, ::2])
        self.register_buffer('turned', torch.randn(2, 3).T)
        self.register_buffer('one', torch.randn(1).expand(5))
        self.register_buffer('empty', torch.zeros(0, 3))
        self.register_buffer('input_resolution', torch.tensor(224))
        for dtype in (torch.bfloat16, torch.float64, torch.int8, torch.uint8, torch.bool):
            self.register_buffer(f'as_{str(dtype)[6:]}', torch.ones(3).to(dtype))
        self.register_buffer('as_complex', torch.randn(2, dtype=torch.complex64))
        self.layers = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Conv2d(1, 2, 1)))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return self.part(value)


def saved(path, how):
    torch.manual_seed(0)
    model = Whole().eval()
    if how == 'script':
        made = torch.jit.script(model)
    else:
        # Traced modules may not share what they have.
        del model.again, model.tied
        made = torch.jit.trace(model, torch.ones(2))
    made.save(str(path))
    return path


def same(path):
    """The reader's tensors, compared with those of torch.jit in every respect."""
    expected, found = torch.jit.load(path).state_dict(), read_tensors(path)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
        assert found[name].dtype == value.dtype and found[name].stride() == value.stride(), name
    return found


@pytest.fixture
def without_jit(monkeypatch):
    """A function: from now on nobody may call torch.jit."""

    def refuse(*_, **__):
        raise AssertionError('torch.jit was called')

    def forbid():
        for name in ('load', 'script', 'trace'):
            monkeypatch.setattr(torch.jit, name, refuse)
        monkeypatch.setattr(torch._C, 'import_ir_module', refuse)
        monkeypatch.setattr(torch._C, 'import_ir_module_from_buffer', refuse)

    return forbid


@pytest.mark.parametrize('how', ['script', 'trace'])
def test_tensors_are_those_of_torch_jit(how, tmp_path):
    found = same(saved(tmp_path / 'a.pt', how))
    assert 'part.mask' not in found and found['part.linear.weight'].dtype == torch.float16
    assert found['input_resolution'] == 224


def test_shared_tensors_share_their_memory(tmp_path):
    found = read_tensors(saved(tmp_path / 'a.pt', 'script'))
    assert found['again.linear.weight'].data_ptr() == found['part.linear.weight'].data_ptr()
    assert found['tied'].data_ptr() == found['weight'].data_ptr()


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
@pytest.mark.parametrize('config', [VIT, RESNET], ids=['vit', 'resnet'])
def test_a_traced_clip_in_half_precision_is_taken_as_openai_publishes_it(
    config, tmp_path, without_jit
):
    """Traced with both inputs; sizes are tensors beside the weights, the mask is an attribute."""
    torch.manual_seed(0)
    model = build_architecture(config).eval()
    for name, value in (('input_resolution', 32), ('context_length', 16), ('vocab_size', 49408)):
        model.__dict__.pop(name, None)
        model.register_buffer(name, torch.tensor(value))
    mask = model.attn_mask
    del model.attn_mask
    model.attn_mask = mask
    side = config['vision_cfg']['image_size']
    inputs = (torch.zeros(1, 3, side, side), torch.zeros(1, 16, dtype=torch.int64))
    traced = torch.jit.trace(model, inputs, check_trace=False)
    for value in (*traced.parameters(), *traced.buffers()):
        value.data = value.data.half() if value.is_floating_point() else value.data
    path = tmp_path / 'clip.pt'
    traced.save(str(path))
    found = same(path)
    assert 'attn_mask' not in found and 'vocab_size' in found
    without_jit()
    loaded = load_clip(config, path).model
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, found[name].to(value.dtype)), name


def test_a_scripted_open_clip_is_taken(tmp_path, without_jit):
    model = open_clip.CLIP(**VIT).eval()
    path = tmp_path / 'clip.pt'
    torch.jit.script(model).save(str(path))
    same(path)
    without_jit()
    # A scripted module keeps its causal mask as a buffer, which is no weight.
    for name, value in load_clip(VIT, path).model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def rewritten(path, change):
    """The archive with members changed: ``name, data -> data or None``."""
    target = path.with_name('changed.pt')
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, 'w') as archive:
        for name in source.namelist():
            if (data := change(name, source.read(name))) is not None:
                archive.writestr(name, data)
    return target


def test_an_archive_without_lists_of_buffers_gives_all_tensors(tmp_path):
    path = saved(tmp_path / 'a.pt', 'script')
    bare = rewritten(path, lambda name, data: None if '/code/' in name else data)
    found, expected = read_tensors(bare), torch.jit.load(path).state_dict()
    assert set(found) == {*expected, 'part.mask', 'again.mask'}


def test_an_archive_that_lost_a_source_is_refused(tmp_path):
    path = saved(tmp_path / 'a.pt', 'script')
    # A process that scripted a layer before has it in a file named ___torch_mangle_N.py.
    lost = rewritten(
        path, lambda name, data: None if 'linear' in name and name.endswith('.py') else data
    )
    with pytest.raises(UserError, match=r'linear.*\.py'):
        read_tensors(lost)


def test_an_archive_of_the_other_byte_order_is_refused(tmp_path):
    path = saved(tmp_path / 'a.pt', 'script')
    other = rewritten(path, lambda name, data: b'big' if name.endswith('byteorder') else data)
    with pytest.raises(UserError, match='byte order'):
        read_tensors(other)


def test_a_flipped_bit_of_a_storage_is_found(tmp_path):
    path = saved(tmp_path / 'a.pt', 'script')
    weight = torch.jit.load(path).state_dict()['weight'].numpy().tobytes()
    data = bytearray(path.read_bytes())
    data[data.index(weight) + 3] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(UserError, match='Bad CRC-32'):
        read_tensors(path)


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.', 'asks for os.system'),
        (b'\x80\x02cbuiltins\ngetattr\n.', 'asks for builtins.getattr'),
        (b'\x80\x02ctorch\nload\n.', 'asks for torch.load'),
        (b'\x80\x04\x8c\x02os\x8c\x06system\x93.', 'operation SHORT_BINUNICODE'),
        (b'\x80\x02r\xff\xff\xff\xff.', 'numbers its objects'),
        (b'\x80\x02K\x01.', 'no module'),
        (b'\x80\x02c__torch__\nM\n)\x81K\x01b.', 'by code of its own'),
        (b'\x80\x02c__torch__\nM\n}X\x01\x00\x00\x00aK\x01sb.', 'positional argument'),
        (b'\x80\x02ctorch\nFloatStorage\n}b.', 'change what belongs to torch'),
    ],
)
def test_a_pickle_that_wants_more_than_tensors_is_refused(data, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read_tensors(with_data(tmp_path, 'x.pt', data))


def test_openais_sizes_are_no_weights(tmp_path):
    state = read_state_dict(saved(tmp_path / 'a.pt', 'trace'))
    assert 'input_resolution' not in state and 'weight' in state
