"""Questions about scenes: what is named is there or is not, and boxes say what is meant."""

import numpy as np
import pytest
import torch

from ovseg.errors import UserError
from ovseg.scenes.phrases import (
    NO_BOX,
    VISUAL,
    Concept,
    ScenePhrasesMasksDataset,
    ask,
    box_of,
)
from ovseg.scenes.world import COLORS, HELDOUT, MATERIALS, OBJECTS

RED, BLUE = list(COLORS).index('red'), list(COLORS).index('blue')
STAR, FISH = OBJECTS.index('star'), OBJECTS.index('fish')
# A blue star, another one, a pink fish, on grass.
FOUND = [
    Concept(material=MATERIALS.index('grass')),
    Concept(kind=STAR, color=BLUE),
    Concept(kind=STAR, color=list(COLORS).index('green')),
    Concept(kind=FISH, color=RED),
]


def questions(clear=(True,) * 4, rounds=40):
    rng = np.random.default_rng(0)
    return [each for _ in range(rounds) for each in ask(rng, FOUND, np.array(clear), 6)]


def named(phrase):
    """Indices of what a phrase names, by its words."""
    words = phrase.removeprefix('a ').removeprefix('an ')
    return tuple(
        number
        for number, one in enumerate(FOUND)
        if words in (one.name, *one.name.split(), one.name.split()[-1])
    )


def test_answers_are_what_the_words_say():
    asked = [each for each in questions() if not each.boxes]
    assert {named(each.phrase) == each.members for each in asked} == {True}
    answered = {each.phrase: each.members for each in asked}
    assert answered['star'] == (1, 2) and answered['blue star'] == (1,)
    assert answered['red'] == (3,) and answered['sky'] == ()
    # Near to what is there, and not there.
    assert {'blue fish', 'purple star'} & set(answered)


def test_boxes_show_what_is_meant_or_what_is_not():
    asked = [each for each in questions() if each.boxes]
    for each in asked:
        good = {number for number, label in each.boxes if label}
        bad = {number for number, label in each.boxes if not label}
        assert good <= set(each.members) and not bad & set(each.members)
        if each.phrase == VISUAL:  # all of the kind
            assert each.members in ((0,), (1, 2), (3,)) and good
        elif bad and each.phrase.endswith('star'):  # those of the other colour stay
            assert set(each.members) | bad == {1, 2}
    assert {label for each in asked for _, label in each.boxes} == {0, 1}


def test_of_what_can_hardly_be_seen_nothing_is_asked():
    asked = {each.phrase for each in questions(clear=(True, True, False, True)) if not each.boxes}
    assert not asked & {'star', 'a star', 'green star', 'green', 'kite star'}
    assert {'blue star', 'grass'} <= asked


def test_pairs_that_are_held_out_are_never_named():
    data = ScenePhrasesMasksDataset(60, size=32)
    phrases = {phrase for number in range(60) for phrase in data[number]['phrases']}
    held = {f'{color} {kind}' for kind, color in HELDOUT.items()}
    assert not held & {phrase.removeprefix('a ').removeprefix('an ') for phrase in phrases}
    assert any(phrase.startswith('a ') for phrase in phrases)


def test_a_sample_is_a_function_of_number_and_seed_and_its_boxes_lie_around_masks():
    first, again, other = (ScenePhrasesMasksDataset(9, size=64, seed=seed)[5] for seed in (0, 0, 1))
    assert list(first['phrases']) == list(again['phrases']) != list(other['phrases'])
    assert torch.equal(first['inputs'], again['inputs'])
    data = ScenePhrasesMasksDataset(30, size=64, questions=5)
    for number in range(30):
        sample = data[number]
        count = len(sample['masks'])
        assert sample['inputs'].shape == (3, 64, 64) and sample['masks'].shape[1:] == (32, 32)
        assert sample['members'].shape == (5, count) and len(sample['phrases']) == 5
        assert sample['masks'].sum(0).eq(1).all()
        boxes = {box_of(mask.numpy()) for mask in sample['masks']}
        for box, label in zip(
            sample['boxes'].flatten(0, 1), sample['box_labels'].flatten(), strict=True
        ):
            close = any(np.allclose(box, each, atol=1e-6) for each in boxes)
            assert close == (int(label) != NO_BOX)


@pytest.mark.parametrize(
    'change',
    [dict(num_scenes=0), dict(size=63), dict(questions=0), dict(span=(0, 9)), dict(span=(9, 193))],
)
def test_wrong_arguments_are_explained(change):
    with pytest.raises(UserError, match='questions must be above 0, size even'):
        ScenePhrasesMasksDataset(**{'num_scenes': 1, **change})
