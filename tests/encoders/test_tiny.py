"""The embedded tiny CLIP and SigLIP: small, complete, and they know their world."""

import json

import open_clip
import pytest
import torch
from torch.nn import functional as F

from ovseg.encoders.clip import load_clip
from ovseg.encoders.embedded import write_embedded
from ovseg.encoders.tiny import TOKENS, build_tiny_clip
from ovseg.errors import UserError
from ovseg.scenes.captions import CAPTION_WORDS, with_article
from ovseg.scenes.draw import Camera, draw
from ovseg.scenes.world import (
    COLORS,
    HELDOUT,
    MATERIALS,
    OBJECTS,
    Scene,
    Thing,
    sample_scene,
)
from ovseg.weight_files import WEIGHTS

NEUTRAL = (1.0, 1.0, 1.0)


# The class, the key of its token embedding, and the most bytes of the file.
EMBEDDED = {
    'tiny_clip_scenes': (open_clip.CLIP, TOKENS, 5_000_000),
    'tiny_siglip_scenes': (open_clip.CustomTextCLIP, f'text.{TOKENS}', 3_000_000),
}
both = pytest.mark.parametrize('tiny', EMBEDDED, indirect=True)


@pytest.fixture(scope='module')
def tiny(request):
    return build_tiny_clip(getattr(request, 'param', 'tiny_clip_scenes'))


def embed(tiny, images, texts):
    clip, tokenizer, mean, std = tiny
    pixels = torch.stack([torch.from_numpy(image) for image in images]).permute(0, 3, 1, 2)
    pixels = (pixels / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.inference_mode():
        return (
            clip.encode_image(pixels, normalize=True),
            clip.encode_text(tokenizer(texts), normalize=True),
        )


def close_up(kind, color, number):
    """One object in the middle of a view, on the ground of some scene."""
    regions = sample_scene('val', number).regions[:1]
    thing = Thing(kind, color, (96.0, 96.0), 56.0, 15.0 * (number % 3 - 1), False, NEUTRAL)
    return draw(Scene((192, 192), regions, (thing,)), Camera(64.0, 64.0, (32, 32), 0.5)).image


@pytest.mark.parametrize('name', EMBEDDED)
def test_the_files_are_small_and_say_where_they_come_from(name):
    assert (WEIGHTS / f'{name}.safetensors').stat().st_size <= EMBEDDED[name][2]
    facts = json.loads((WEIGHTS / f'{name}.json').read_text())
    assert 'no pixel labels' in facts['origin']['supervision']
    assert facts['model']['text_cfg']['vocab_size'] == 49408


@pytest.mark.parametrize('name', EMBEDDED)
def test_load_clip_gives_open_clips_class_with_its_tokenizer(name):
    loaded = load_clip(name, 'embedded')
    clip, tokenizer, mean, std = loaded.model, loaded.tokenizer, loaded.mean, loaded.std
    assert type(clip) is EMBEDDED[name][0]
    assert isinstance(tokenizer, open_clip.SimpleTokenizer)
    assert len(clip.get_parameter(EMBEDDED[name][1])) == tokenizer.vocab_size == 49408
    assert len(mean) == len(std) == 3
    assert not clip.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in clip.parameters())


@both
def test_only_rows_of_words_in_captions_were_trained(tiny):
    clip, tokenizer, _, _ = tiny
    rows = getattr(clip, 'text', clip).token_embedding.weight
    unseen = tokenizer.encode('locomotive')[0]
    other = tokenizer.encode('parliament')[0]
    assert torch.equal(rows[unseen], rows[other])
    for word in CAPTION_WORDS:
        assert not torch.equal(rows[tokenizer.encode(word)[0]], rows[unseen]), word


@both
def test_it_names_materials_objects_and_colours(tiny):
    grounds, things = [], []
    for number in range(40):
        scene = sample_scene('val', number)
        region = scene.regions[0]
        plain = Scene((192, 192), (region,), ())
        grounds.append((draw(plain, Camera(20.0, 20.0, (32, 32), 0.6)).image, region.material))
        kind, color = number % len(OBJECTS), number % len(COLORS)
        if HELDOUT[OBJECTS[kind]] != list(COLORS)[color]:
            things.append((close_up(kind, color, number), kind, color))
    images, texts = embed(tiny, [image for image, _ in grounds], list(MATERIALS))
    right = (images @ texts.T).argmax(1) == torch.tensor([m for _, m in grounds])
    assert right.float().mean() >= 0.9
    pairs = [(kind, color) for kind in range(len(OBJECTS)) for color in range(len(COLORS))]
    phrases = [with_article(f'{list(COLORS)[color]} {OBJECTS[kind]}') for kind, color in pairs]
    images, texts = embed(tiny, [image for image, _, _ in things], phrases)
    found = [pairs[i] for i in (images @ texts.T).argmax(1).tolist()]
    kinds = sum(f[0] == kind for f, (_, kind, _) in zip(found, things, strict=True))
    colors = sum(f[1] == color for f, (_, _, color) in zip(found, things, strict=True))
    assert kinds / len(things) >= 0.8
    assert colors / len(things) >= 0.8


@torch.no_grad()
def test_a_patch_of_the_tiny_siglip_is_what_its_pooling_says_of_it_alone():
    loaded = load_clip('tiny_siglip_scenes', 'embedded')
    encoder = loaded.dense_encoder({'last_block': 'vanilla'}, loaded.mean, loaded.std)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = encoder(images, frozenset({'embedding', 'tokens'}))
    expected = loaded.model.encode_image(images)
    torch.testing.assert_close(features.embedding, expected, rtol=0, atol=1e-4)
    trunk = loaded.model.visual.trunk
    patch = trunk.forward_features(images)[:, 5:6]  # the second of the second row, normed
    alone = trunk.attn_pool(patch)
    torch.testing.assert_close(features.patch[:, :, 1, 1], alone, rtol=0, atol=1e-4)


def test_unknown_model_is_explained():
    with pytest.raises(UserError, match="Did you mean 'tiny_clip_scenes'"):
        build_tiny_clip('tiny_clip_scene')


def test_weights_that_do_not_fit_are_explained(tmp_path, tiny):
    clip = tiny[0]
    state = dict(clip.state_dict())
    state[TOKENS] = state[TOKENS][:3]
    model = json.loads((WEIGHTS / 'tiny_clip_scenes.json').read_text())['model']
    settings = dict(model=model, mean=(0.5,) * 3, std=(0.5,) * 3, origin={})
    infinite = {**state, 'logit_scale': torch.tensor(1e9)}
    with pytest.raises(UserError, match='logit_scale of the checkpoint is not finite'):
        write_embedded(tmp_path / 'x', 'clip', infinite, token_ids=[0, 1, 2], **settings)
    assert not list(tmp_path.iterdir())
    write_embedded(tmp_path / 'x', 'clip', state, token_ids=[1, 2], **settings)
    with pytest.raises(UserError, match='3 stored token rows .* do not fit 2 ids'):
        build_tiny_clip('x', tmp_path)
    del state['visual.proj']
    write_embedded(tmp_path / 'x', 'clip', state, token_ids=[0, 1, 2], **settings)
    with pytest.raises(UserError, match='does not fit'):
        build_tiny_clip('x', tmp_path)


def test_features_survive_the_file(tmp_path, tiny):
    clip, tokenizer, *_ = tiny
    facts = json.loads((WEIGHTS / 'tiny_clip_scenes.json').read_text())
    state = {**clip.state_dict(), TOKENS: clip.token_embedding.weight[facts['token_ids']]}
    write_embedded(tmp_path / 'copy', 'clip', state, **facts)
    again = build_tiny_clip('copy', tmp_path)[0]
    tokens = tokenizer(['a red star', 'locomotive'])
    ours, theirs = clip.encode_text(tokens), again.encode_text(tokens)
    torch.testing.assert_close(F.normalize(ours), F.normalize(theirs), rtol=0, atol=1e-3)
