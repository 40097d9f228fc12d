"""TF32 and channels last: set where tensor cores are, and nowhere else."""

import pytest
import torch
from scripts import load_script
from torch import nn

from ovseg import OpenVocabSegmenter, precision
from ovseg.errors import UserError
from ovseg.precision import precision_told, set_precision
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene
from ovseg.tensor_cores import put_channels_last, set_tf32, tf32_is_allowed

GPU, CPU = torch.device('cuda'), torch.device('cpu')


@pytest.fixture
def switches():
    """Torch's own, set back after the test."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.fixture
def ampere(monkeypatch, switches):
    """A GPU that is asked for nothing but what it is."""
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (8, 0))


def test_float32_on_a_gpu_is_whole_unless_tf32_is_allowed(ampere):
    assert tf32_is_allowed(GPU)  # torch's own default, in convolutions
    set_tf32(False, GPU)
    assert not tf32_is_allowed(GPU)
    assert torch.get_float32_matmul_precision() == 'highest'
    set_tf32(True, GPU)
    assert tf32_is_allowed(GPU) and torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == 'high'
    assert not tf32_is_allowed(CPU)


def test_the_protocol_says_that_tf32_is_allowed(ampere, monkeypatch):
    model = nn.Linear(2, 2)
    assert precision_told(model) == 'float32'
    monkeypatch.setattr(precision, 'tf32_is_allowed', lambda device: tf32_is_allowed(GPU))
    set_tf32(True, GPU)
    assert precision_told(model) == 'float32 (TF32 allowed)'
    set_tf32(False, GPU)
    assert precision_told(model) == 'float32'


def test_switches_of_other_machines_stay_as_they_are(monkeypatch, switches):
    torch.backends.cudnn.allow_tf32 = True
    set_tf32(False, CPU)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (7, 5))
    set_tf32(False, GPU)
    assert torch.backends.cudnn.allow_tf32
    for device in (CPU, GPU):
        with pytest.raises(UserError, match='--tf32 is for NVIDIA GPUs from compute capability'):
            set_tf32(True, device)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is one')
@pytest.mark.parametrize(
    ('tool', 'folder', 'words'),
    [
        ('image_demo', 'demo', ['demo/scene.png', 'sky; grass', '--out-dir', '{0}']),
        ('test', 'tools', ['maskclip-tiny', '--work-dir', '{0}']),
        ('benchmark', 'tools', ['maskclip-tiny']),
    ],
)
def test_every_door_says_that_a_gpu_is_missing(tool, folder, words, tmp_path, capsys):
    main = load_script(tool, folder).main
    given = [word.format(tmp_path) for word in words] + ['--tf32']
    try:
        assert main(given) == 2
        told = capsys.readouterr().err
    except UserError as error:  # tools leave it to who called them
        told = str(error)
    assert '--tf32 is for NVIDIA GPUs' in told


class Convolutions(nn.Module):
    """Remembers how what its convolutions gave lies in memory."""

    def __init__(self, network):
        super().__init__()
        self.lies = []
        for part in network.modules():
            if isinstance(part, nn.Conv2d) and part.kernel_size != (1, 1):
                part.register_forward_hook(self.note)

    def note(self, part, inputs, found):
        self.lies.append(found.is_contiguous(memory_format=torch.channels_last))


def picture():
    scene = sample_scene('heldout', 0)
    return draw(scene, whole(scene, 1.0)).image


def test_convolutions_follow_their_weights_and_labels_stay():
    segment = OpenVocabSegmenter('denseclip-tiny', device='cpu', precision='float32')
    network = segment.model.backbone
    seen = Convolutions(network)
    wanted = segment(picture())
    assert seen.lies and not all(seen.lies)
    seen.lies.clear()
    put_channels_last(network)
    found = segment(picture())
    assert all(seen.lies)
    assert (found.labels != wanted.labels).mean() < 1e-3


def test_only_what_is_cast_on_a_gpu_is_laid_out_with_channels_last(monkeypatch):
    laid_out = []
    monkeypatch.setattr(precision, 'put_channels_last', laid_out.append)
    monkeypatch.setattr(precision, 'choose_precision', lambda name, device: torch.bfloat16)
    model = OpenVocabSegmenter('denseclip-tiny', device='cpu', precision='float32').model
    set_precision(model, 'bfloat16')
    assert laid_out == []  # on a CPU
    monkeypatch.setattr(precision, 'computes_on_cuda', lambda model: True)
    other = OpenVocabSegmenter('denseclip-tiny', device='cpu', precision='bfloat16').model
    assert other.backbone in laid_out and other.decode_head not in laid_out


@pytest.mark.gpu
def test_channels_last_and_tf32_on_a_gpu(switches):
    exact = OpenVocabSegmenter('denseclip-tiny', device='cuda', precision='float32')
    wanted = exact(picture()).labels
    segment = OpenVocabSegmenter('denseclip-tiny', device='cuda', precision='auto')
    assert (segment(picture()).labels != wanted).mean() < 0.005
    set_tf32(True, segment.device)
    assert (exact(picture()).labels != wanted).mean() < 0.005
