"""Images that are sent ahead: pinned, in a stream of their own, and waited for by the GPU."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from ovseg import OpenVocabSegmenter
from ovseg.images.transport import Sent, Transport, as_bgr
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import sample_scene

IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


class Stream:
    """A GPU's queue of work, which notes what it is told."""

    def __init__(self, name, told):
        self.name, self._told = name, told

    def record_event(self):
        self._told.append((self.name, 'record'))
        return 'copied'

    def wait_event(self, event):
        self._told.append((self.name, 'wait', event))


@pytest.fixture
def told(monkeypatch):
    """What was asked of a GPU that is not there, in order."""
    told = []

    @contextmanager
    def inside(stream):
        told.append((stream.name, 'enter'))
        yield
        told.append((stream.name, 'leave'))

    def pin(tensor):
        told.append('pinned')
        return tensor.clone()

    def move(tensor, device, non_blocking=False):
        told.append(('to', device.type, non_blocking))
        return tensor

    monkeypatch.setattr(torch.cuda, 'Stream', lambda device: Stream('copies', told))
    monkeypatch.setattr(torch.cuda, 'stream', inside)
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: Stream('work', told))
    monkeypatch.setattr(Tensor, 'pin_memory', pin)
    monkeypatch.setattr(Tensor, 'to', move)
    monkeypatch.setattr(Tensor, 'record_stream', lambda _, stream: told.append(stream.name))
    return told


def test_a_copy_is_begun_in_a_stream_of_its_own_and_waited_for_by_the_other(told):
    sent = Transport(torch.device('cuda')).send(IMAGE)
    assert told == [
        ('copies', 'enter'),
        'pinned',
        ('to', 'cuda', True),
        ('copies', 'record'),
        ('copies', 'leave'),
    ]
    told.clear()
    assert torch.equal(sent.arrived(), as_bgr(IMAGE))
    assert told == [('work', 'wait', 'copied'), 'work']


def test_without_memory_for_it_an_image_travels_with_its_batch(told, monkeypatch):
    def full(tensor, device, non_blocking):
        raise torch.cuda.OutOfMemoryError('out of memory')

    monkeypatch.setattr(Tensor, 'to', full)
    assert Transport(torch.device('cuda')).send(IMAGE) is None


def test_a_cpu_has_nothing_to_gain():
    assert Transport(torch.device('cpu')).send(IMAGE) is None


def scenes():
    for number in range(5):
        scene = sample_scene('heldout', number)
        yield draw(scene, whole(scene, 1.0)).image


def test_a_batch_is_made_of_what_was_sent(monkeypatch):
    segment = OpenVocabSegmenter('maskclip-tiny', device='cpu')
    wanted = [result.labels for result in segment.stream(scenes(), 'sky; grass; ball')]
    arrived = []

    class Here(Sent):
        def arrived(self):
            arrived.append(self)
            return self.pixels

    monkeypatch.setattr(segment._transport, 'send', lambda image: Here(as_bgr(image), None))
    found = list(segment.stream(scenes(), 'sky; grass; ball'))
    assert len(arrived) == 5
    assert all(np.array_equal(a.labels, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.gpu
def test_a_stream_on_a_gpu_has_the_labels_of_single_images():
    segment = OpenVocabSegmenter('maskclip-tiny', device='cuda', precision='float32', batch_size=2)
    wanted = [segment(image, 'sky; grass; ball').labels for image in scenes()]
    found = [result.labels for result in segment.stream(scenes(), 'sky; grass; ball')]
    assert all((a != b).mean() < 1e-3 for a, b in zip(found, wanted, strict=True))
