from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from ovseg.errors import UserError, notices_heard
from ovseg.exemplars import Bank, EncoderIdentity, Stats, read_bank, write_bank
from ovseg.exemplars.bank import SAMPLES
from ovseg.exemplars.example_folder import find_examples
from ovseg.exemplars.marks import (
    box_mask,
    check_mask,
    click_mask,
    is_points,
    read_mask,
    scribble_mask,
)
from ovseg.exemplars.pooling import WindowGrid, pool_labels
from ovseg.exemplars.rules import Rule
from ovseg.text import Classifier
from ovseg.vocabulary import Rejection, Vocabulary

HERE = EncoderIdentity('a' * 32, 'tiny, whole')
NAMES = ['mug', 'Teapot', 'lid']


def pooled(seed=0, size=(32, 48)):
    """Three classes side by side, and a border that nobody looked at."""
    torch.manual_seed(seed)
    labels = torch.full(size, 255)
    for label, (left, right) in enumerate(((0, 16), (16, 36), (36, 46))):
        labels[:, left:right] = label
    return pool_labels(torch.randn(1, 8, 8, 12), labels, WindowGrid([(0, 0, *size)], (8, 12)))


@pytest.fixture
def bank():
    made = Bank.empty(HERE, 8).with_image(pooled(), NAMES, 'a.jpg')
    return made.with_image(pooled(1), ['teapot', 'part 7', 'lid'], 'b.jpg', has_words=False)


def same(first, second):
    for name in ('names', 'has_words', 'images', 'note'):
        assert getattr(first, name) == getattr(second, name)
    for name in ('vectors', 'classes', 'patches', 'image', 'contexts', 'samples', 'sample_row'):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    for name in ('number', 'total', 'scatter'):
        torch.testing.assert_close(
            getattr(first.stats, name), getattr(second.stats, name), rtol=1e-12, atol=1e-12
        )


def test_windows_that_overlap_share_their_pixels():
    torch.manual_seed(0)
    features = torch.randn(2, 8, 4, 4)
    labels = torch.zeros(16, 24, dtype=torch.int64)
    grid = WindowGrid([(0, 0, 16, 16), (0, 8, 16, 24)], (4, 4))
    found = pool_labels(features, labels, grid)
    assert float(found.patches) == pytest.approx(4 * 6)  # and not twice 16
    unit = F.normalize(features, dim=1)
    weights = torch.tensor([1.0, 1.0, 0.5, 0.5])
    mean = (unit[0] * weights).sum((1, 2)) + (unit[1] * weights.flip(0)).sum((1, 2))
    torch.testing.assert_close(found.vectors[0], F.normalize(mean, dim=0))
    assert len(found.samples) == 32


def test_patches_beyond_the_image_are_of_no_class():
    labels = torch.zeros(16, 16, dtype=torch.int64)
    grid = WindowGrid([(0, 0, 16, 16)], (3, 3), (4, 4, 4, 4))
    found = pool_labels(torch.randn(1, 8, 3, 3), labels, grid)
    assert float(found.patches) == pytest.approx(4)  # patches are 8 pixels, half of them outside
    assert len(found.samples) == 1


def test_a_bank_goes_by_names_in_any_case_and_comes_apart_again(bank):
    assert bank.counts() == {'mug': 1, 'Teapot': 2, 'lid': 2, 'part 7': 1}
    assert bank.has_words == (True, False, False, False)
    same(bank, bank.recounted())
    first = Bank.empty(HERE, 8).with_image(pooled(), NAMES, 'a.jpg')
    left = bank.without(image='b.jpg')
    assert left.counts() == first.counts() and left.images == ('a.jpg',)
    torch.testing.assert_close(left.stats.scatter, first.stats.scatter)
    assert 'mug' not in bank.without('MUG').names
    with pytest.raises(UserError, match="no class 'mugg'.*Did you mean"):
        bank.without('mugg')


def test_merged_banks_are_the_bank_of_all_images(bank):
    more = Bank.empty(HERE, 8).with_image(pooled(2), ['lid', 'mug', 'spoon'], 'c.jpg')
    both = bank.merged(more)
    assert both.counts() == {'mug': 2, 'Teapot': 2, 'lid': 3, 'part 7': 1, 'spoon': 1}
    same(both, both.recounted())
    assert both.images == ('a.jpg', 'b.jpg', 'c.jpg') and len(bank) == 6


def test_a_bank_is_the_same_after_its_file(bank, tmp_path):
    bank = replace(bank, note='my own photos, CC0', date='2026-01-02')
    back = read_bank(write_bank(bank, tmp_path / 'mugs.safetensors'))
    same(bank, back)
    assert back.encoder == HERE and back.date == '2026-01-02'
    assert back.stats.freedom == bank.stats.freedom


def test_a_file_that_is_no_bank_or_a_damaged_one_is_told(bank, tmp_path):
    path = write_bank(bank, tmp_path / 'bank.safetensors')
    tensors = load_file(path)
    from ovseg.weight_files.safetensors_files import read_safetensors_metadata

    metadata = read_safetensors_metadata(path)
    for changed, said in (
        ({'klass': tensors['klass'] + 3}, 'klass points to what is not there'),
        ({'vectors': tensors['vectors'] * torch.nan}, 'vectors holds NaN'),
        ({'samples': tensors['samples'][1:]}, 'sample_row'),
        ({'stats.number': tensors['stats.number'] + 1}, 'sums are not of its vectors'),
    ):
        save_file({**tensors, **changed}, path, metadata)
        with pytest.raises(UserError, match=f'damaged.*{said}'):
            read_bank(path)
    facts = json.loads(metadata['ovseg'])
    save_file(tensors, path, {'ovseg': json.dumps({**facts, 'format': 'ovseg-bank/9'})})
    with pytest.raises(UserError, match="format 'ovseg-bank/9'"):
        read_bank(path)
    save_file(tensors, path)
    with pytest.raises(UserError, match='is no bank of examples'):
        read_bank(path)
    with pytest.raises(UserError, match=r'must end in \.safetensors'):
        write_bank(bank, tmp_path / 'bank.pt')


def test_a_bank_of_another_encoder_names_both(bank):
    other = EncoderIdentity('b' * 32, 'large, slide of (336, 336)')
    with pytest.raises(UserError, match=r'tiny, whole \[aaaaaaaaaaaa\].*large, slide'):
        bank.check_encoder(other)
    with pytest.raises(UserError, match='large, slide'):
        bank.merged(replace(bank, encoder=other))


def test_what_is_too_small_or_has_no_name_is_told(bank):
    labels = torch.full((32, 48), 255)
    labels[0, 0] = 0
    grid = WindowGrid([(0, 0, 32, 48)], (8, 12))
    speck = pool_labels(torch.randn(1, 8, 8, 12), labels, grid)
    with pytest.raises(UserError, match=r'c.jpg covers 0.06 of a patch'):
        bank.with_image(speck, ['mug'], 'c.jpg')
    with pytest.raises(UserError, match='a class 2 that has no name'):
        bank.with_image(pooled(), ['mug', 'lid'], 'c.jpg')


def test_so_many_samples_are_kept_of_a_class_in_an_image():
    labels = torch.zeros(64, 64, dtype=torch.int64)
    grid = WindowGrid([(0, 0, 64, 64)], (16, 16))
    found = pool_labels(torch.randn(1, 8, 16, 16), labels, grid, SAMPLES)
    assert len(found.samples) == SAMPLES and len(found.samples.unique(dim=0)) == SAMPLES


def test_classes_of_a_vocabulary_find_theirs_by_name_or_synonym(bank):
    vocabulary = Vocabulary.parse('cup, mug; sky; PART 7')
    words = Classifier(F.normalize(torch.randn(3, 8), dim=1), torch.arange(3), 3, 100.0)
    support = bank.support(words, vocabulary)
    assert support.number.tolist() == [1, 0, 1] and support.nameless.tolist() == [0, 0, 1]
    assert len(support.vectors) == 2 and len(support.samples) == int(
        (support.sample_row >= 0).sum()
    )
    stats = Stats.of(support.vectors, support.entry, support.samples, support.sample_row, 3)
    torch.testing.assert_close(stats.total, support.stats.total)


def test_words_of_a_background_stay_apart_and_have_examples_of_their_own(bank):
    rule = Rejection('background', words=('wall', 'MUG', 'sky'))
    vocabulary = Vocabulary.parse('cup, lid').with_rejection(rule)
    rows = F.normalize(torch.randn(4, 8), dim=1)
    labels = torch.tensor([0, 0, 0, 1])
    words = Classifier(
        rows, labels, 2, 100.0, aggregation='max', rejection=rule, background_index=0
    )
    support = bank.support(words, vocabulary)
    assert support.has.tolist() == [False, True, False, True]
    torch.testing.assert_close(support.rows.float(), rows)
    mug = support.vectors[support.entry == 1]
    assert torch.equal(mug, bank.vectors[bank.classes == 0].double())
    for name in ('proto', 'bayes', 'gda', 'tip', 'proto-clip', 'multi-modal'):
        made = Rule(name)(support)
        assert made.class_index.tolist()[:3] == [0, 0, 0] and made.weight.isfinite().all()


@pytest.mark.parametrize(
    ('mask', 'said'),
    [
        (np.zeros((4, 5), bool), 'marks nothing'),
        (np.full((4, 5), 255), '255 everywhere'),
        (np.ones((5, 4), bool), 'is 5 x 4 and the image 4 x 5'),
        (np.full((4, 5), 'x'), 'holds no numbers'),
        (np.full((4, 5), np.nan), 'NaN or infinity'),
        (np.linspace(0, 1, 20).reshape(4, 5), 'mask > 0.5'),
        (np.arange(20).reshape(4, 5) - 1, 'below 0'),
        (np.stack([np.zeros((4, 5)), -np.ones((4, 5))], 2), 'below 0'),
    ],
)
def test_masks_that_say_nothing_are_told(mask, said):
    with pytest.raises(UserError, match=said):
        check_mask(mask, (4, 5))


def test_boxes_clicks_and_scribbles_are_masks():
    assert box_mask((1, 1, 3, 9), (4, 5)).sum() == 2 * 3
    discs = click_mask([(2, 2), (17, 8)], (12, 20), 2)
    assert discs[2, 2] and discs[8, 17] and discs.sum() == 26
    assert box_mask((-1e300, -1e300, 1e300, 2), (4, 5)).sum() == 10
    assert is_points((3, 4)) and is_points([]) and not is_points((0, 1, 2, 3))
    line = scribble_mask([(2, 2), (17, 2)], (12, 20), 1)
    assert line[1:4, 3:17].all() and not line[5:].any()
    for call, said in (
        (lambda: box_mask((9, 9, 12, 12), (4, 5)), 'no pixel of the image'),
        (lambda: box_mask((1, 2, 3), (4, 5)), 'four numbers'),
        (lambda: click_mask([(9, 1)], (4, 5), 2), 'x 9, y 1 lies outside'),
        (lambda: scribble_mask([(1, 1)], (4, 5), 2), 'one point is a click'),
        (lambda: click_mask([('a', 'b')], (4, 5), 2), 'must be numbers'),
        (lambda: click_mask([(1e300, 1)], (4, 5), 2), 'x 1e\\+300, y 1 lies outside'),
        (lambda: click_mask([], (4, 5), 2), r'such as \[\(30, 40\)\]'),
        (lambda: box_mask((9, 9, 2.5, 2), (4, 5)), 'the box 9, 9, 2.5, 2 has'),
    ):
        with pytest.raises(UserError, match=said):
            call()


def test_mask_files_go_by_numbers_and_by_alpha(tmp_path):
    marked = np.zeros((4, 5), np.uint8)
    marked[1, 2:4] = 1
    palette = Image.fromarray(marked, 'P')
    palette.putpalette([0, 0, 0, 0, 0, 0])  # both colours are black
    palette.save(tmp_path / 'p.png')
    alpha = np.dstack([np.full((4, 5, 3), 200, np.uint8), 255 * marked])
    Image.fromarray(alpha).save(tmp_path / 'a.png')
    for name in ('p.png', 'a.png'):
        assert np.array_equal(read_mask(tmp_path / name, (4, 5)), marked > 0)
    with pytest.raises(FileNotFoundError, match='mask'):
        read_mask(tmp_path / 'none.png', (4, 5))


def test_opaque_pictures_go_by_colour_and_lossy_ones_are_refused(tmp_path):
    marked = np.zeros((16, 16, 3), np.uint8)
    marked[3:9, 4:7] = 255
    Image.fromarray(marked).convert('RGBA').save(tmp_path / 'opaque.png')
    assert np.array_equal(read_mask(tmp_path / 'opaque.png', (16, 16)), marked[..., 0] > 0)
    Image.fromarray(marked).save(tmp_path / 'm.png', format='JPEG')
    with pytest.raises(UserError, match='is a JPEG, .* save it as PNG'):
        read_mask(tmp_path / 'm.png', (16, 16))


def test_of_a_label_map_it_is_said_that_all_of_it_counts():
    labels = np.zeros((4, 5), np.uint8)
    labels[0], labels[1, 1] = 255, 3
    with notices_heard() as heard:
        assert check_mask(labels, (4, 5)).sum() == 6
        assert check_mask(labels == 3, (4, 5)).sum() == check_mask(labels // 255, (4, 5)).sum() - 4
    assert len(heard) == 1 and '2 numbers beside 0 (3 to 255)' in heard[0]


def test_what_a_bank_holds_already_counts_once(bank):
    names = [name.upper().replace(' ', '_') for name in bank.names]
    with notices_heard() as heard:
        again = bank.merged(replace(bank, names=tuple(names)))
        half = bank.without(bank.names[0]).merged(bank)
    assert again is bank and len(half) == len(bank) and sorted(half.names) == sorted(bank.names)
    torch.testing.assert_close(half.stats.scatter, bank.stats.scatter)
    assert len(heard) == 2 and f'{len(bank)} of the {len(bank)} examples' in heard[0]
    # Files are told apart by the case of their letters, classes are not.
    others = replace(bank, images=tuple(name.upper() for name in bank.images))
    assert len(set(bank.merged(others).images)) == 2 * len(bank.images)


def test_a_folder_of_examples_is_read_whole_or_not_at_all(tmp_path):
    (tmp_path / 'red mug').mkdir()
    image = tmp_path / 'red mug' / 'a.jpg'
    for path in (image, tmp_path / 'red mug' / 'a.jpg.mask.png'):
        Image.new('L', (5, 4)).save(path)
    assert find_examples(tmp_path) == [('red mug', image, image.with_name('a.jpg.mask.png'))]
    Image.new('L', (5, 4)).save(tmp_path / 'red mug' / 'b.png')
    with pytest.raises(UserError, match=r'b.png has no mask'):
        find_examples(tmp_path)
    (tmp_path / 'red mug' / 'b.png').rename(tmp_path / 'red mug' / 'c.png.mask.png')
    with pytest.raises(UserError, match=r'c.png.mask.png has no image'):
        find_examples(tmp_path)
    with pytest.raises(UserError, match='holds no examples'):
        find_examples(tmp_path / 'red mug')
    with pytest.raises(UserError, match='is no folder of examples'):
        find_examples(tmp_path / 'none')
