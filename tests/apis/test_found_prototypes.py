"""Rows from images without labels, by the tiny CLIP on Scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg.apis import OpenVocabSegmenter
from ovseg.apis.building import build_model
from ovseg.apis.found_prototypes import prototypes_from_images
from ovseg.config_files import read_config
from ovseg.errors import UserError
from ovseg.scenes.textures import texture
from ovseg.scenes.world import MATERIALS
from ovseg.vocabulary import build_vocabulary

WORDS = 'grass; snow; water'


@pytest.fixture(scope='module')
def segment():
    return OpenVocabSegmenter('maskclip-tiny')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Three pictures each of three materials, beside others."""
    place = tmp_path_factory.mktemp('images')
    for name in ('grass', 'snow', 'water'):
        tile = texture(MATERIALS.index(name))
        other = texture(MATERIALS.index('sand'))
        for number in range(3):
            picture = np.concatenate([tile[:48, 48 * number :][:, :48], other[:48, :24]], axis=1)
            Image.fromarray(picture).save(place / f'{name}_{number}.png')
    return place


def test_rows_of_a_folder_are_made_of_its_images_and_serve_a_config(segment, folder, tmp_path):
    found = prototypes_from_images(segment, WORDS, folder, per_class=3)
    assert found.names == ('grass', 'snow', 'water') and found.rows.shape == (3, 128)
    for name, images in zip(found.names, found.images, strict=True):
        assert len(images) == 3 and all(f'{name}_' in image for image in images)
    words = segment.model.build_classifier(build_vocabulary(WORDS)).weight
    assert (found.rows @ words.T).argmax(1).tolist() == [0, 1, 2]
    found.save(tmp_path / 'rows_clip_text.pth')
    config = read_config('maskclip_tiny.py', 'scenes')
    config.model.update(vocabulary=WORDS)
    config.model.text.embeddings = str(tmp_path / 'rows_clip_text.pth')
    assert torch.equal(build_model(config).classifier.weight, found.rows)


def test_one_image_is_not_enough(segment, folder):
    with pytest.raises(UserError, match='1 image has nothing in common with others'):
        prototypes_from_images(segment, WORDS, folder / 'grass_0.png')


def test_what_is_everywhere_changes_the_seeds(segment, folder):
    plain = prototypes_from_images(segment, WORDS, folder, per_class=3)
    without = prototypes_from_images(segment, WORDS, folder, context='sand', per_class=3)
    assert not torch.allclose(plain.rows, without.rows)
