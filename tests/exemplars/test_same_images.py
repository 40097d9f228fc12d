"""Images of banks are one by what they show: names that collide hide nothing."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ovseg import OpenVocabSegmenter
from ovseg.errors import Notice, notices_heard
from ovseg.exemplars import Bank, EncoderIdentity, read_bank, write_bank
from ovseg.exemplars.pooling import WindowGrid, pool_labels
from ovseg.exemplars.same_images import digest_of, name_in_memory
from ovseg.weight_files.safetensors_files import read_safetensors_metadata

HERE = EncoderIdentity('a' * 32, 'tiny, whole')


def bank_of(seed, name, digest='', classes=('mug', 'lid')):
    torch.manual_seed(seed)
    labels = torch.arange(2).repeat_interleave(16).expand(32, 32)
    features = torch.randn(1, 8, 8, 8) + torch.randn(8)[:, None, None]
    pooled = pool_labels(features, labels, WindowGrid([(0, 0, 32, 32)], (8, 8)))
    return Bank.empty(HERE, 8).with_image(pooled, classes, name, digest=digest)


def test_two_images_of_one_name_are_two_after_a_merge():
    first, second = bank_of(0, 'photo.jpg', 'a' * 32), bank_of(1, 'photo.jpg', 'b' * 32)
    with pytest.warns(Notice, match=r"Two images are called 'photo.jpg': .* \[bbbbbbbbbbbb\]"):
        both = first.merged(second)
    assert both.images == ('photo.jpg', 'photo.jpg [bbbbbbbbbbbb]')
    assert both.digests == ('a' * 32, 'b' * 32) and both.image.tolist() == [0, 0, 1, 1]
    left = both.without(image='photo.jpg')
    assert torch.equal(left.vectors, second.vectors) and left.digests == ('b' * 32,)
    with notices_heard() as heard:
        again = both.merged(second)
    assert len(again) == 4 and 'count once' in heard[0]


def test_one_image_of_two_names_is_one():
    first, second = bank_of(0, 'photo.jpg', 'a' * 32), bank_of(0, 'old/photo.jpg', 'a' * 32)
    with notices_heard() as heard:
        both = first.merged(second)
    assert len(both) == 2 and both.images == ('photo.jpg',) and '2 of the 2 examples' in heard[0]
    more = first.merged(bank_of(0, 'old/photo.jpg', 'a' * 32, classes=('cup', 'saucer')))
    assert more.images == ('photo.jpg',) and more.image.tolist() == [0] * 4


def test_where_pixels_are_not_known_name_and_mean_patch_decide():
    old = bank_of(0, 'image in memory 1')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        both = old.merged(bank_of(1, 'image in memory 1'))
        assert len(both.images) == 2 and both.image.tolist() == [0, 0, 1, 1]
        known = both.merged(bank_of(0, 'image in memory 1', 'a' * 32))
    assert len(known) == 4 and known.image.tolist() == [0, 0, 1, 1]
    more = both.merged(bank_of(0, 'image in memory 1', 'a' * 32, classes=('cup', 'lid2')))
    assert more.digests == ('a' * 32, '') and more.image.tolist() == [0, 0, 1, 1, 0, 0]


def test_what_images_are_known_by_is_in_the_file(tmp_path):
    bank = bank_of(0, 'photo.jpg', 'a' * 32)
    path = write_bank(bank, tmp_path / 'bank.safetensors')
    assert read_bank(path).digests == ('a' * 32,)
    facts = json.loads(read_safetensors_metadata(path)['ovseg'])
    del facts['digests']  # as files of before
    save_file(load_file(path), path, {'ovseg': json.dumps(facts)})
    assert read_bank(path).digests == ('',)


def test_arrays_are_called_by_their_pixels():
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    mask = np.zeros((64, 64), bool)
    mask[8:40, 8:40] = True
    banks = []
    for picture in pictures:
        segment = OpenVocabSegmenter('maskclip-tiny', device='cpu', precision='float32')
        banks.append(segment.teach('mug', picture, mask))
        (name,) = banks[-1].images
        assert name == name_in_memory(digest_of(picture))
    both = banks[0].merged(banks[1])
    assert len(both.images) == len(both) == 2
    with pytest.warns(Notice, match='count once'):
        assert len(segment.teach('mug', pictures[1].copy(), mask)) == 1
    assert len(segment.teach('mug', pictures[1], ~mask).images) == 1
