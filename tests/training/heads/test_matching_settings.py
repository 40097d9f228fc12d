from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from ovseg.training.heads.matching_settings import MatchingSettings

PARTS = dict(text_encoder=dict(embed_dim=12), context_decoder=dict(visual_dim=12))


def test_a_models_arguments_are_told_apart():
    given = dict(PARTS, tau=0.1, pretrained='clip.pt', neck=dict(type='FPN'), train_cfg=None)
    settings, others = MatchingSettings.take(given)
    assert (settings.tau, settings.pretrained, settings.context_length) == (0.1, 'clip.pt', 5)
    assert others == dict(neck=dict(type='FPN'), train_cfg=None)
    with pytest.raises(FrozenInstanceError):
        settings.tau = 0.07


def test_contexts_are_decoded_before_the_text_tower_and_embeddings_after_it():
    widths = dict(token_embed_dim=16, text_dim=12)
    assert MatchingSettings(**PARTS, **widths).decoded_dim == 12
    assert MatchingSettings(**PARTS, **widths, prompting='pre').decoded_dim == 16


def test_weights_are_for_towers_that_name_none():
    settings = MatchingSettings(**PARTS, pretrained='clip.pt')
    assert settings.with_weights(dict(depth=1)) == dict(pretrained='clip.pt', depth=1)
    assert settings.with_weights(dict(pretrained='own.pt')) == dict(pretrained='own.pt')
    assert MatchingSettings(**PARTS).with_weights(dict(depth=1)) == dict(depth=1)
