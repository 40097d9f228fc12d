"""The tiny CLIP with the tiny DINO beside it, on scenes that neither saw."""

from __future__ import annotations

import pytest
from scene_predictions import scene_accuracy

SCENES = 4
CONFIG = 'proxyclip/proxyclip'


@pytest.mark.slow
def test_values_mixed_by_the_companion_are_better_than_values_alone():
    alone = scene_accuracy(CONFIG, SCENES, encoder={'last_block': 'value'})
    assert scene_accuracy(CONFIG, SCENES) > alone + 0.02
