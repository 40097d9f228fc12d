from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ovseg.encoders.dense import TextAlignedFeatures
from ovseg.encoders.text_context import tokenize_names
from ovseg.errors import UserError
from ovseg.training.heads.matching_settings import MatchingSettings
from ovseg.training.heads.pixel_text_matching import PixelTextMatching
from ovseg.vocabulary import Vocabulary

WORDS = ('wall', 'traffic light', 'sky')
TEXT = dict(
    type='CLIPTextContextEncoder',
    context_length=8,
    transformer_width=16,
    transformer_heads=4,
    transformer_layers=1,
    embed_dim=12,
)
DECODER = dict(
    type='ContextDecoder',
    transformer_width=16,
    transformer_heads=4,
    transformer_layers=1,
    visual_dim=12,
    dropout=0.0,
)
DEFAULTS = dict(
    text_encoder=TEXT,
    context_decoder=DECODER,
    vocabulary='; '.join(WORDS),
    token_embed_dim=16,
    text_dim=12,
)


class Matcher(PixelTextMatching, nn.Module):
    def __init__(self, **settings):
        super().__init__()
        given, rest = MatchingSettings.take({**DEFAULTS, **settings})
        self.init_matching(given, **rest)


def matcher(**settings):
    """Random weights under which the context decoder matters."""
    torch.manual_seed(0)
    model = Matcher(**settings)
    with torch.no_grad():
        for parameter in model.context_decoder.parameters():
            nn.init.normal_(parameter, std=0.3)
        if model.matching_settings.prompting == 'post':
            nn.init.normal_(model.gamma)
    return model


def features(count=2, grid=(3, 5)):
    generator = torch.Generator().manual_seed(2)
    return TextAlignedFeatures(
        (torch.randn(count, 4, 6, 10, generator=generator),),
        torch.randn(count, 12, generator=generator),
        torch.randn(count, 12, *grid, generator=generator),
    )


@pytest.fixture
def count_calls():
    """A function: how often a model's text tower ran since it was last asked."""
    counts = {}

    def count(model):
        if id(model) not in counts:
            counts[id(model)] = 0

            def add(*_):
                counts[id(model)] += 1

            model.text_encoder.register_forward_hook(add)
        found, counts[id(model)] = counts[id(model)], 0
        return found

    return count


# Formulas ------------------------------------------------------------------------------------


@torch.no_grad()
def test_post_prompting_adds_what_the_image_changes_and_takes_cosines():
    model, given = matcher().eval(), features()
    found = model.match(given)
    text = model.text_encoder(model.tokens, model.contexts)
    for index in range(2):
        dense = given.dense_embedding[index].flatten(1).T
        memory = torch.cat([given.global_embedding[index][None], dense])[None]
        adapted = (text + model.gamma * model.context_decoder(text, memory))[0]
        torch.testing.assert_close(found.text[index], adapted)
        cosines = F.cosine_similarity(adapted[:, None], dense[None], dim=2).unflatten(1, (3, 5))
        torch.testing.assert_close(found.score_map[index], cosines, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_pre_prompting_encodes_the_names_for_each_image(count_calls):
    model, given = matcher(prompting='pre').eval(), features()
    count_calls(model)
    found = model.match(given)
    assert count_calls(model) == 1  # one call, a set of contexts an image
    for index in range(2):
        dense = given.dense_embedding[index].flatten(1).T
        memory = torch.cat([given.global_embedding[index][None], dense])[None]
        contexts = model.context_decoder(model.contexts, memory)
        assert contexts.shape == (1, 3, 16)
        text = model.text_encoder(model.tokens, contexts)[0]
        torch.testing.assert_close(found.text[index], text, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found.text[0], found.text[1], atol=1e-3)
    assert not hasattr(model, 'gamma')


def test_parameters_start_as_published():
    torch.manual_seed(0)
    model = Matcher(text_encoder=dict(TEXT, context_length=505))
    assert model.contexts.shape == (1, 500, 16)
    assert model.contexts.abs().max() <= 2
    assert model.contexts.std().item() == pytest.approx(0.88, abs=0.03)
    assert (model.gamma == 1e-4).all() and model.gamma.shape == (12,)
    assert model.matching_settings.tau == 0.07
    roots = {key.split('.')[0] for key in model.state_dict()}
    assert roots == {'contexts', 'gamma', 'text_encoder', 'context_decoder'}


# When the text tower runs --------------------------------------------------------------------


def test_the_text_tower_runs_once_a_step_whatever_the_batch_is(count_calls):
    model = matcher()
    count_calls(model)
    for batch in (1, 4):
        model.match(features(batch)).score_map.sum().backward()
        assert count_calls(model) == 1


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_without_gradients_it_runs_once_for_all_images(mode, count_calls):
    model = matcher().eval()
    count_calls(model)
    with mode():
        first = model.embed_text()
        for batch in (1, 3):
            model.match(features(batch))
        assert torch.equal(model.embed_text(), first)
        assert count_calls(model) == 1
    model.match(features())  # with gradients nothing is kept
    assert count_calls(model) == 1


def test_what_was_kept_in_inference_mode_serves_a_step_with_gradients_later():
    model = matcher().eval()
    with torch.inference_mode():
        kept = model.match(features()).text
    model.match(features()).score_map.sum().backward()
    assert model.contexts.grad.abs().max() > 0
    with torch.no_grad():
        torch.testing.assert_close(model.match(features()).text, kept)


def load_other(model):
    other = {name: value + 0.1 for name, value in model.state_dict().items()}
    model.load_state_dict(other)


def step(model):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with torch.enable_grad():
        model.match(features()).score_map.square().sum().backward()
    optimizer.step()


def swap_data(model):
    # As hooks that average weights do before the model is set to eval: no version is counted.
    model.contexts.data.copy_(model.contexts.data + 1)
    model.eval()


def to_half_and_back(model):
    model.bfloat16()
    model.float()


CHANGES = {
    'load_state_dict': load_other,
    'in_place': lambda model: model.contexts.mul_(2),
    'in_place_in_the_tower': lambda model: model.text_encoder.text_projection.mul_(2),
    'optimizer': step,
    'averaging': swap_data,
    'double': lambda model: model.double(),
    'half_and_back': to_half_and_back,
}


@pytest.mark.parametrize('change', CHANGES)
@torch.no_grad()
def test_a_kept_text_never_outlives_a_change_of_the_weights(change):
    model = matcher().eval()
    model.embed_text()
    CHANGES[change](model)
    fresh = model.text_encoder(model.tokens, model.contexts)
    found = model.embed_text()
    assert found.dtype == fresh.dtype and torch.equal(found, fresh)


@torch.no_grad()
def test_autocast_and_full_precision_keep_no_text_of_each_other():
    model = matcher().eval()
    full = model.embed_text()
    with torch.autocast('cpu', torch.bfloat16):
        half = model.embed_text()
    assert not torch.equal(full.float(), half.float())
    assert torch.equal(model.embed_text(), full)


@torch.no_grad()
def test_a_copy_of_a_model_has_its_own_text():
    model = matcher().eval()
    with torch.inference_mode():
        kept = model.embed_text()
    other = copy.deepcopy(model)
    other.contexts.mul_(2)
    assert not torch.allclose(other.embed_text(), kept)
    assert torch.equal(model.embed_text(), kept)


# What learns ---------------------------------------------------------------------------------


@pytest.mark.parametrize('prompting', ['post', 'pre'])
@pytest.mark.parametrize('frozen', [True, False])
def test_contexts_learn_and_the_text_tower_only_unless_frozen(prompting, frozen):
    model = matcher(prompting=prompting, freeze_text_encoder=frozen).train()
    model.match(features()).score_map.square().sum().backward()
    without = {name for name, value in model.named_parameters() if value.grad is None}
    tower = {f'text_encoder.{name}' for name, _ in model.text_encoder.named_parameters()}
    assert without == (tower if frozen else set())
    assert model.contexts.grad.abs().max() > 0


# Export --------------------------------------------------------------------------------------


@torch.no_grad()
def test_an_exported_model_matches_equally_without_text_encoder():
    model = matcher().eval()
    exported = matcher(text_encoder=None).eval()
    state = model.state_without_text_encoder()
    assert not [name for name in state if name.startswith(('text_encoder', 'contexts'))]
    exported.load_state_dict(state)
    ours, theirs = exported.match(features()), model.match(features())
    assert torch.equal(ours.text, theirs.text) and torch.equal(ours.score_map, theirs.score_map)
    again = exported.state_without_text_encoder()
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], value) for name, value in state.items())


def test_pre_prompting_cannot_do_without_text_encoder():
    with pytest.raises(UserError, match='needs its text tower: it stays as it is'):
        matcher(prompting='pre').state_without_text_encoder()
    with pytest.raises(UserError, match="model.text_encoder is None, but with prompting='pre'"):
        matcher(prompting='pre', text_encoder=None)


# Bad settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(prompting='both'), r"model.prompting must be one of \['post', 'pre'\], got 'both'"),
        (
            dict(context_decoder=dict(DECODER, visual_dim=10)),
            'context_decoder.visual_dim is 10, but model.text_dim is 12',
        ),
        (
            dict(context_decoder=dict(DECODER, text_dim=16)),
            'context_decoder.text_dim is 16, but what it decodes has 12 channels',
        ),
        (
            dict(context_decoder=dict(DECODER, text_dim=12), prompting='pre'),
            'context_decoder.text_dim is 12, but what it decodes has 16 channels',
        ),
        (
            dict(token_embed_dim=20),
            'has width 16 and embed_dim 12, but model.token_embed_dim is 20',
        ),
        (
            dict(text_dim=20, context_decoder=dict(DECODER, visual_dim=20)),
            'embed_dim 12, but model.token_embed_dim is 16 and model.text_dim 20',
        ),
        (dict(context_length=8), 'text_encoder.context_length=8 leaves no learned context'),
        (dict(context_length=3), "'traffic light' has 4 tokens, .* model.context_length is 3: "),
        (
            dict(vocabulary=Vocabulary.parse('wall; sky', 'threshold')),
            "class 'background' of model.vocabulary has no words to show to CLIP",
        ),
    ],
)
def test_bad_settings_say_what_to_set(settings, message):
    with pytest.raises(UserError, match=message):
        matcher(**settings)


def test_each_class_shows_its_first_prompt():
    model = matcher(vocabulary='sofa, couch; sky')
    assert torch.equal(model.tokens, tokenize_names(['sofa', 'sky'], 5))
