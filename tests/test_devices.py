"""Devices that are not there are told in one sentence that names those that are."""

import pytest
import torch
from scripts import ROOT, load_script

from ovseg import OpenVocabSegmenter, devices
from ovseg.apis.profiling import StageClock
from ovseg.devices import choose_device, present_devices
from ovseg.errors import UserError

ABSENT = ['cud', 'cuda:77', 'xpu:9', 'npu:x', 'npu', 'hpu', 'vulkan', 'meta', 'cpu:3', '']


@pytest.mark.parametrize('name', ABSENT)
def test_a_device_that_is_not_there_names_those_present(name):
    with pytest.raises(UserError) as told:
        choose_device(name)
    text = str(told.value)
    assert text.startswith(f'There is no device {name!r}: ') and "'cpu'" in text
    assert '\n' not in text


def test_the_nearest_name_is_offered():
    with pytest.raises(UserError, match="Did you mean 'cuda'"):
        choose_device('cud')


def test_each_device_that_is_present_can_be_chosen():
    for name in present_devices():
        assert choose_device(name).type == name.split(':')[0]
    assert choose_device('cpu:0') == torch.device('cpu')


def test_the_default_device_of_torch_is_the_default():
    with torch.device('meta'), pytest.raises(UserError, match="no device 'meta'"):
        choose_device()
    with torch.device('meta'):
        assert choose_device('cpu').type == 'cpu'


@pytest.mark.parametrize(
    ('there', 'chosen'),
    [
        ((), 'cpu'),
        (('mps',), 'mps'),
        (('mps', 'xpu'), 'xpu'),
        (('xpu', 'cuda'), 'cuda'),
        (('npu',), 'cpu'),
    ],
)
def test_auto_is_the_first_gpu_there_is(there, chosen, monkeypatch):
    monkeypatch.setattr(devices, '_count', lambda kind: int(kind in there))
    assert choose_device('auto') == choose_device() == torch.device(chosen)


@pytest.mark.parametrize('name', ['cuda:1', 'xpu', 'mps'])
def test_a_clock_waits_for_the_gpu(name, monkeypatch):
    device, waited = torch.device(name), []
    monkeypatch.setattr(getattr(torch, device.type), 'synchronize', lambda *of: waited.append(of))
    clock = StageClock(device)
    with clock.measure('encode'):
        assert len(waited) == 1  # for what was given to it before
    assert len(waited) == 2 and waited[0] == ((device,) if name == 'cuda:1' else ())


@pytest.mark.parametrize('name', ['cuda:77', 'mps:5', 'cud'])
def test_every_door_says_so(name, capsys):
    demo, benchmark = load_script('image_demo', 'demo'), load_script('benchmark')
    words = [str(ROOT / 'demo' / 'scene.png'), 'sky; grass', '--device', name]
    for main, given in (demo.main, words), (benchmark.main, ['maskclip-tiny', '--device', name]):
        assert main(given) == 2
        assert f'error: There is no device {name!r}' in capsys.readouterr().err
    with pytest.raises(UserError, match=f"no device '{name}'"):
        OpenVocabSegmenter(device=name)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is one')
def test_a_model_that_is_to_move_to_a_missing_gpu_says_so():
    model = OpenVocabSegmenter(device='cpu').model
    for move in (lambda: model.to('cuda'), lambda: model.cuda(), lambda: model.cuda(1)):
        with pytest.raises(UserError, match='There is no device .cuda'):
            move()
    assert model.device.type == 'cpu'


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is one')
@pytest.mark.parametrize(
    ('tool', 'words', 'told'),
    [
        ('test', ['maskclip-tiny', '--amp'], '--amp needs a GPU'),
        ('train', ['denseclip/fpn_clip_tiny_600_scenes-192x192', '--amp'], '--amp needs a GPU'),
        (
            'train',
            [
                'denseclip/fpn_clip_tiny_600_scenes-192x192',
                '--cfg-options',
                'optim_wrapper.type=AmpOptimWrapper',
            ],
            'needs a GPU',
        ),
        ('test', ['maskclip-tiny', '--cfg-options', 'device=cuda'], 'CUDA_VISIBLE_DEVICES'),
    ],
)
def test_tools_say_that_a_gpu_is_missing(tool, words, told, tmp_path):
    with pytest.raises(UserError, match=told):
        load_script(tool).main([*words, '--work-dir', str(tmp_path)])
