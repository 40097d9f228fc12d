"""Each noun gets the region that CLIP finds nearest."""

import numpy as np
import pytest
import torch
from tiny_clip_models import tiny_clip
from torch.nn import functional as F

from ovseg.encoders import load_clip
from ovseg.scenes.demo import demo_scene
from ovseg.scenes.draw import draw, whole
from ovseg.scenes.world import MATERIALS, OBJECTS
from ovseg.training.region_nouns import RegionNamer


def picture():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 30, 40), dtype=torch.uint8, generator=generator)


def masks():
    given = torch.zeros(4, 30, 40, dtype=torch.bool)
    given[0, :10, :10] = True
    given[2, 12:28, 5:30] = True
    given[3, 20:, 30:] = True
    return given  # the second one is empty


def test_every_noun_gets_its_most_similar_region():
    clip = tiny_clip()
    namer = RegionNamer(clip, templates='single', batch_size=2)
    named = list(namer.name(picture(), masks(), ['dog', 'tree', 'car']))
    assert [region.noun for region in named] == ['dog', 'tree', 'car']
    # The same regions, seen one by one.
    features = {}
    for query in (0, 2, 3):
        (alone,) = namer.name(picture(), masks()[query : query + 1], ['dog'])
        pixels = alone.image[None] / 255 - torch.tensor(clip.mean).view(3, 1, 1)
        pixels = pixels / torch.tensor(clip.std).view(3, 1, 1)
        with torch.no_grad():
            features[query] = F.normalize(clip.model.encode_image(pixels), dim=-1)[0]
    for region in named:
        tokens = clip.tokenizer([f'a photo of a {region.noun}.'])
        with torch.no_grad():
            text = clip.model.encode_text(tokens, normalize=True)[0]
        similarity = {query: float(text @ feature) for query, feature in features.items()}
        assert region.query == max(similarity, key=similarity.get)
        assert region.similarity == pytest.approx(similarity[region.query], abs=1e-5)


def test_a_region_shows_nothing_but_itself():
    namer = RegionNamer(tiny_clip(), templates='single', fill=(1, 2, 3))
    lower = torch.zeros(1, 30, 40, dtype=torch.bool)
    lower[0, 5:25, 5:35] = True
    lower[0, 5:15, 5:20] = False
    (region,) = namer.name(picture(), lower, ['dog'])
    assert region.image.shape == (3, 32, 32) and region.mask.shape == (32, 32)
    assert not region.mask[:14, :14].any() and region.mask[18:].all()
    assert (region.image[:, :12, :12] == torch.tensor([1, 2, 3])[:, None, None]).all()


def test_the_fill_is_clips_mean_unless_it_is_given():
    assert RegionNamer(tiny_clip(), templates='single').fill == (123, 117, 104)


def test_without_masks_or_nouns_there_is_nothing():
    namer = RegionNamer(tiny_clip(), templates='single')
    assert not list(namer.name(picture(), masks(), []))
    assert not list(namer.name(picture(), masks()[:0], ['dog']))
    assert not list(namer.name(picture(), masks()[1:2], ['dog']))


def test_the_tiny_clip_names_things_of_scenes():
    scene = demo_scene()
    drawn = draw(scene, whole(scene))
    owners = np.unique(drawn.owner)
    words = [
        MATERIALS[i] if i < len(MATERIALS) else OBJECTS[scene.things[i - len(MATERIALS)].kind]
        for i in owners
    ]
    once = [number for number, word in enumerate(words) if words.count(word) == 1]
    clip = load_clip('tiny_clip_scenes', 'embedded')
    namer = RegionNamer(clip, templates='a')
    given = torch.from_numpy(drawn.owner[None] == owners[once][:, None, None])
    image = torch.from_numpy(drawn.image.copy()).permute(2, 0, 1)
    nouns = [words[number] for number in once]
    right = [nouns[region.query] == region.noun for region in namer.name(image, given, nouns)]
    assert np.mean(right) >= 0.7 and len(right) >= 4
