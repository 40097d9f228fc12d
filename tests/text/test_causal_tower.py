"""Sentences computed as a tree: equal to the whole tower, and only where that is causal."""

from __future__ import annotations

import open_clip
import pytest
import torch
from torch import nn

from ovseg.encoders.tiny import build_tiny_clip
from ovseg.text import TextEncoder
from ovseg.text import encoder as encoder_module
from ovseg.text.causal_tower import find_causal_tower
from ovseg.vocabulary.templates import fill_template, get_templates

pytestmark = pytest.mark.filterwarnings('ignore:longer than the')

SENTENCES = [
    'cat',
    'a photo of a cat.',
    'a photo of a dog.',
    'a photo of a dog on a red sofa beside the window of an old house.',
    'a photo of the cat.',
    'bed ',
    '',
    ' '.join(['word'] * 90),
]


def filled(*words):
    return [fill_template(t, word) for word in words for t in get_templates('openai-80')]


def uncut(clip, sentences):
    tokens = open_clip.SimpleTokenizer(context_length=clip.context_length)(sentences)
    with torch.no_grad():
        return clip.encode_text(tokens, normalize=False)


def both(clip, sentences):
    tokenizer = open_clip.SimpleTokenizer(context_length=clip.context_length)
    return TextEncoder(clip, tokenizer, cache_dir=None).encode(sentences), uncut(clip, sentences)


@pytest.fixture
def rows_seen(monkeypatch):
    """How many token rows the first layer norm of each block saw."""
    rows = []

    def watch(clip):
        tower = clip if hasattr(clip, 'transformer') else clip.text
        tower.transformer.resblocks[0].ln_1.register_forward_hook(
            lambda module, inputs, output: rows.append(inputs[0].shape[:-1].numel())
        )
        return rows

    return watch


@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        (open_clip.CLIP, {}),
        (open_clip.CLIP, {'layers': 3, 'width': 32, 'heads': 4}),
        (open_clip.CLIP, {'context_length': 16}),
        (open_clip.CLIP, {'pool_type': 'first'}),
        (open_clip.CLIP, {'pool_type': 'eos', 'eos_id': 49407}),
        (open_clip.CustomTextCLIP, {}),
        (open_clip.CustomTextCLIP, {'pool_type': 'eos', 'eos_id': 49407}),
        (open_clip.CustomTextCLIP, {'proj_bias': True, 'ls_init_value': 0.5}),
        (open_clip.CustomTextCLIP, {'proj_type': 'none', 'width': 8}),
    ],
)
def test_causal_towers_give_the_same_from_fewer_tokens(make_clip, rows_seen, kind, settings):
    clip = make_clip(kind, **settings)
    assert find_causal_tower(clip) is not None
    rows = rows_seen(clip)
    cut, whole = both(clip, SENTENCES)
    torch.testing.assert_close(cut, whole, atol=1e-5, rtol=0)
    assert rows[0] < rows[1] / 2


@pytest.mark.parametrize(
    ('kind', 'settings'),
    [
        (open_clip.CLIP, {'pool_type': 'last'}),
        (open_clip.CLIP, {'no_causal_mask': True}),
        (open_clip.CustomTextCLIP, {'pool_type': 'last'}),
        (open_clip.CustomTextCLIP, {'no_causal_mask': True}),
        (open_clip.CustomTextCLIP, {'no_causal_mask': True, 'pool_type': 'last', 'eos_id': 1}),
        (open_clip.CustomTextCLIP, {'embed_cls': True, 'pool_type': 'last'}),
        (open_clip.CustomTextCLIP, {'qk_norm': True}),
    ],
)
def test_other_towers_see_all_tokens(make_clip, rows_seen, kind, settings):
    clip = make_clip(kind, **settings)
    assert find_causal_tower(clip) is None
    rows = rows_seen(clip)
    cut, whole = both(clip, SENTENCES)
    assert torch.equal(cut, whole)
    assert rows[0] == rows[1] == len(SENTENCES) * (77 + settings.get('embed_cls', 0))


@pytest.mark.parametrize(
    ('tower', 'kind'),
    [('ViT-B-16-SigLIP', open_clip.CustomTextCLIP), ('coca_ViT-B-32', open_clip.CoCa)],
)
def test_full_size_settings_of_towers_that_are_not_cut(tower, kind):
    text = {**open_clip.get_model_config(tower)['text_cfg'], 'layers': 1, 'width': 16, 'heads': 2}
    text.update(vocab_size=64, hf_tokenizer_name=None)
    config = {**open_clip.get_model_config(tower), 'text_cfg': text, 'embed_dim': 8}
    with torch.device('meta'):
        visual = {'layers': 1, 'width': 16, 'image_size': 16, 'patch_size': 16, 'head_width': 8}
        decoder = {'multimodal_cfg': {'layers': 1}} if kind is open_clip.CoCa else {}
        clip = kind(8, vision_cfg=visual, text_cfg=config['text_cfg'], **decoder)
    assert find_causal_tower(clip) is None


def test_a_tower_of_another_package_is_called_as_it_is(counting_clip):
    assert find_causal_tower(counting_clip) is None


def test_a_method_or_a_hook_of_somebody_else_is_not_passed_over(make_clip):
    class Louder(open_clip.CLIP):
        def encode_text(self, text, normalize=False):
            return 2 * super().encode_text(text, normalize)

    clip = make_clip(Louder)
    cut, whole = both(clip, SENTENCES)
    assert torch.equal(cut, whole)

    hooked = make_clip()
    handle = hooked.transformer.resblocks[0].register_forward_hook(lambda m, i, output: 2 * output)
    cut, whole = both(hooked, SENTENCES)
    assert torch.equal(cut, whole)
    handle.remove()
    assert find_causal_tower(hooked) is not None

    exchanged = make_clip()
    exchanged.transformer.resblocks[0].forward = lambda q_x, **masks: q_x
    cut, whole = both(exchanged, SENTENCES)
    assert torch.equal(cut, whole)

    patched = make_clip()
    patched.encode_text = lambda tokens, normalize=False: torch.ones(len(tokens), 8)
    assert (TextEncoder(patched, open_clip.SimpleTokenizer(), None).encode(['cat']) == 1).all()


@pytest.mark.parametrize(
    'spoil',
    [
        lambda mask: mask.zero_(),
        lambda mask: mask[3, 5].zero_(),
        lambda mask: mask[5, 3].fill_(-1.0),
        lambda mask: mask.clamp_(min=-10.0),
    ],
)
def test_a_mask_that_is_not_quite_causal_is_none(make_clip, spoil):
    clip = make_clip()
    spoil(clip.attn_mask)
    assert find_causal_tower(clip) is None
    cut, whole = both(clip, SENTENCES)
    assert torch.equal(cut, whole)


def test_a_tower_that_pools_nothing_is_told(make_clip):
    encoder = TextEncoder(make_clip(pool_type='none'), open_clip.SimpleTokenizer(), None)
    with pytest.raises(Exception, match=r'\(2, 77, 8\) for 2 sentences, not one vector a sentence'):
        encoder.encode(['cat', 'dog'])


def test_the_embedded_clip_reads_templates_the_same_way():
    clip, tokenizer, *_ = build_tiny_clip()
    sentences = filled('red star', 'sand', 'blue fish of the deep sea')
    encoded = TextEncoder(clip, tokenizer, None).encode(sentences)
    torch.testing.assert_close(encoded, uncut(clip, sentences), atol=1e-5, rtol=0)


def test_batches_and_order_change_nothing(make_clip, monkeypatch):
    clip = make_clip(layers=2)
    sentences = SENTENCES + filled('cat')
    expected, _ = both(clip, sentences)
    monkeypatch.setattr(encoder_module, '_BATCH_SIZE', 5)
    monkeypatch.setattr(encoder_module, '_BATCHES_PER_SAVE', 3)
    backwards = both(clip, sentences[::-1])[0].flip(0)
    torch.testing.assert_close(backwards, expected, atol=1e-5, rtol=0)


def test_what_begins_alike_is_computed_once(make_clip, rows_seen):
    clip = make_clip()
    rows = rows_seen(clip)
    encoder = TextEncoder(clip, open_clip.SimpleTokenizer(), None)
    encoder.encode(['a photo of a cat.', 'a photo of a dog.'])
    # Start, a, photo, of, a; then for each its word, the full stop and the end.
    assert rows == [5 + 2 * 3]


def test_neighbours_in_a_batch_are_of_like_length(make_clip):
    tower = find_causal_tower(make_clip())
    tokens = open_clip.SimpleTokenizer()(['x ' * count for count in (3, 60, 4, 62, 5, 30)])
    lengths = (tower.ends(tokens) + 1)[tower.order(tokens)].tolist()
    assert [length > 50 for length in lengths] == [False] * 4 + [True] * 2
    assert max(lengths[:3]) < 10


def test_half_precision_towers_are_as_exact_as_they_were(make_clip):
    clip = make_clip(layers=2).bfloat16()
    exact = uncut(make_clip(layers=2), SENTENCES)
    cut, whole = both(clip, SENTENCES)
    assert (cut - exact).abs().max() < 1.5 * (whole.float() - exact).abs().max() + 1e-3


def test_weights_of_linear_projections_are_used(make_clip):
    clip = make_clip(open_clip.CustomTextCLIP, proj_bias=True)
    nn.init.ones_(clip.text.text_projection.bias)
    cut, whole = both(clip, ['cat'])
    torch.testing.assert_close(cut, whole, atol=1e-5, rtol=0)
