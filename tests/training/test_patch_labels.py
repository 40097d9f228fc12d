from __future__ import annotations

import torch
from torch.nn import functional as F

from ovseg.encoders.dense import NO_MARGINS
from ovseg.training.feature_cache import CachedPatches, join
from ovseg.training.patch_labels import PatchLabels, label_patches, patch_cross_entropy

LABELS = torch.tensor(
    [
        [0, 0, 1, 255],
        [0, 2, 1, 1],
        [2, 2, 2, 2],
        [2, 2, 9, 9],
    ]
)


def dense(found, patches, classes=3):
    table = torch.zeros(patches, classes)
    table[found.patch, found.label] = found.share
    return table.tolist()


def test_shares_count_pixels_of_classes_and_no_others():
    found = label_patches(LABELS, 3, [(0, 0, 4, 4)], (4, 4), (2, 2), NO_MARGINS)
    assert dense(found, 4) == [[0.75, 0, 0.25], [0, 0.75, 0], [0, 0, 1], [0, 0, 0.5]]
    assert found.pixels(3).tolist() == [0.75, 0.75, 1.75]


def test_windows_come_one_after_another_and_what_lies_outside_is_no_class():
    boxes = [(0, 0, 2, 4), (2, 0, 4, 4)]
    found = label_patches(LABELS, 3, boxes, (4, 4), (1, 2), NO_MARGINS)
    assert dense(found, 4) == [[0.75, 0, 0.25], [0, 0.75, 0], [0, 0, 1], [0, 0, 0.5]]
    found = label_patches(LABELS, 3, [(0, 0, 2, 2)], (4, 4), (1, 1), (0, 2, 0, 0))
    assert dense(found, 1) == [[0.375, 0, 0.125]]


def test_labels_of_another_size_are_taken_at_the_inputs_pixels():
    large = LABELS.repeat_interleave(3, 0).repeat_interleave(3, 1)
    found = label_patches(large, 3, [(0, 0, 4, 4)], (4, 4), (2, 2), NO_MARGINS)
    assert dense(found, 4) == [[0.75, 0, 0.25], [0, 0.75, 0], [0, 0, 1], [0, 0, 0.5]]


def test_the_loss_is_the_mean_over_pixels_that_have_a_class():
    scores = torch.randn(4, 3)
    found = label_patches(LABELS, 3, [(0, 0, 4, 4)], (4, 4), (2, 2), NO_MARGINS)
    pixels = scores.T.unflatten(1, (2, 2)).repeat_interleave(2, 1).repeat_interleave(2, 2)
    labels = LABELS.where(LABELS < 3, -1)
    wanted = F.cross_entropy(pixels[None], labels[None], ignore_index=-1)
    assert torch.allclose(patch_cross_entropy(scores, found), wanted)
    absent = torch.tensor([False, True, False])
    kept = PatchLabels(*(part[found.label != 1] for part in vars(found).values()))
    without = patch_cross_entropy(scores, kept, absent)
    labels = labels.where(labels != 1, -1)
    wanted = F.cross_entropy(
        pixels[None, [0, 2]], labels[None].where(labels != 2, 1), ignore_index=-1
    )
    assert torch.allclose(without, wanted)


def test_files_hold_labelled_patches_and_join_to_batches(tmp_path):
    found = PatchLabels(torch.tensor([1, 3]), torch.tensor([0, 2]), torch.tensor([0.5, 1.0]))
    features = torch.arange(8.0).view(4, 2)
    CachedPatches(features, found).packed().save(tmp_path / 'a.safetensors')
    read = CachedPatches.load(tmp_path / 'a.safetensors').to(torch.device('cpu'))
    both = join([read, read])
    assert both.features.tolist() == [[2, 3], [6, 7]] * 2
    assert both.labels.patch.tolist() == [0, 1, 2, 3] and both.labels.label.tolist() == [0, 2] * 2
