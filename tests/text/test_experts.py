"""Template experts: rankings, fusion, and a classifier with several templates."""

from __future__ import annotations

import json

import pytest
import torch

from ovseg.budget import MemoryBudget
from ovseg.errors import Notice, UserError
from ovseg.scores.expert_map import Expert, ExpertMap
from ovseg.scores.row_map import WindowMaps
from ovseg.text import TextEncoder, build_classifier
from ovseg.text.experts import (
    TemplateEntropy,
    TemplateRanking,
    fuse_experts,
    read_ranking,
    refuse_experts,
)
from ovseg.vocabulary import Rejection, Vocabulary

TEMPLATES = ('a {}', 'the {}.', 'many {}')


def stacked(default, experts):
    """The rule as it is published: all maps at once, class after class."""
    fused = default.clone()
    best = torch.full(default.shape[1:], -1.0)
    for label, shares in sorted(experts.items()):
        claims = (shares.argmax(0) == label) & (shares[label] > best)
        best[claims] = shares[label][claims]
        fused[:, claims] = shares[:, claims]
    return fused


def ranking(**best):
    """A ranking that has one template a class."""
    entry = [{'template_id': 0, 'entropy': 0.0, 'pixel_percentage': 0.0, 'rank': 1}]
    return {
        name: {
            'entropy_ranking': [
                *entry,
                {'template_id': number, 'entropy': 0.5, 'pixel_percentage': 9.0, 'rank': 2},
            ]
        }
        for name, number in best.items()
    }


def written(tmp_path, classes):
    path = tmp_path / 'ranking.json'
    path.write_text(json.dumps({'model': 'm', 'classes': classes}), encoding='utf-8')
    return path


def test_experts_one_by_one_give_what_all_at_once_give():
    random = torch.Generator().manual_seed(0)
    default, *maps = torch.rand(5, 4, 6, 7, generator=random).softmax(1)
    maps[2][2, :3] = maps[1][1, :3] = 0.9  # equal claims
    experts = dict(enumerate(maps[:3]))
    expected = stacked(default, experts)
    for order in ([0, 1, 2], [2, 0, 1]):
        given = [((label,), experts[label]) for label in order]
        assert torch.equal(fuse_experts(default, given), expected)
    shared = stacked(default, {0: maps[0], 3: maps[0], 1: maps[1]})
    assert torch.equal(fuse_experts(default, [((0, 3), maps[0]), ((1,), maps[1])]), shared)


def test_templates_under_which_a_class_never_wins_are_not_ranked(tmp_path):
    found = TemplateEntropy.empty(2, 2)
    found.add(0, torch.tensor([[0.9, 0.6], [0.1, 0.4]]))
    found.add(1, torch.tensor([[0.8, 0.2], [0.2, 0.8]]))
    assert found.total == 2 and found.pixels.tolist() == [[2, 0], [1, 1]]
    made = TemplateRanking.of_entropy(found, ['cat', 'sofa'], 'm', 'd', 's')
    assert [each.template for each in made.classes['cat']] == [0, 1]
    assert [each.template for each in made.classes['sofa']] == [1]
    assert made.classes['sofa'][0].percentage == 50
    made.save(tmp_path / 'made.json')
    again = read_ranking(tmp_path / 'made.json')
    assert again.classes == made.classes and again.dataset == 'd'


def test_each_class_takes_its_best_template_that_it_wins_under(tmp_path):
    path = written(tmp_path, ranking(pottedplant=2, sofa=1))
    asked = Vocabulary.parse('potted plant; sofa; cat', Rejection('threshold', 0.1))
    with pytest.warns(Notice, match="1 classes have no template .*'cat'"):
        assert read_ranking(path).experts(asked, 3) == [None, 2, 1, None]
    with pytest.raises(UserError, match='names template 2, and the model has 2'):
        read_ranking(path).experts(asked, 2)
    with pytest.raises(UserError, match='for none of the classes asked for'):
        read_ranking(path).experts(Vocabulary.parse('dog'), 3)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([], 'no map of classes'),
        ({'classes': {'cat': []}}, "'cat' has no list"),
        ({'classes': {'cat': {'entropy_ranking': [{'rank': 1}]}}}, 'entry 1 .* no template_id'),
        (
            {'classes': {'cat': {'entropy_ranking': [{'template_id': 1, 'rank': 'x'}]}}},
            'holds no numbers',
        ),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / 'ranking.json'
    path.write_text(json.dumps(content), encoding='utf-8')
    with pytest.raises(UserError, match=message):
        read_ranking(path)


def test_experts_are_fused_in_strips_and_encode_nothing_new(
    tmp_path, counting_clip, byte_tokenizer
):
    encoder = TextEncoder(counting_clip, byte_tokenizer, tmp_path / 'cache')
    asked = Vocabulary.parse('cat; sofa; wall', Rejection('threshold', 0.2))
    build_classifier(asked, encoder, TEMPLATES)
    counted = counting_clip.encoded
    path = written(tmp_path, ranking(cat=2, sofa=1, wall=1))
    classifier = build_classifier(asked, encoder, TEMPLATES, experts=path)
    assert counting_clip.encoded == counted
    assert [labels for labels, _ in classifier.experts] == [(1,), (2, 3)]
    with pytest.raises(UserError, match='decide pixels'):
        refuse_experts(classifier, 'a stone')

    features = torch.randn(1, 6, 3, 4, generator=torch.Generator().manual_seed(0))
    size = (9, 8)

    def scored(each):
        return WindowMaps(each.row_scores(features), [(0, 0, *size)], size)

    fused = ExpertMap(
        scored(classifier),
        classifier.rule(),
        [Expert(labels, scored(each), each.rule()) for labels, each in classifier.experts],
    )
    single = {
        label: each.rule().probabilities(scored(each).rows(0, 9)[None])[0]
        for labels, each in classifier.experts
        for label in labels
    }
    default = classifier.rule().probabilities(scored(classifier).rows(0, 9)[None])[0]
    expected = stacked(default, single)
    assert not torch.equal(expected, default)
    whole = fused.whole(MemoryBudget(0.001))
    torch.testing.assert_close(whole, expected[1:])
    rule = fused.fused_rule
    torch.testing.assert_close(rule.probabilities(whole[None])[0], expected)
    best, labels = expected.max(0)
    assert torch.equal(rule.decide(whole[None])[0], labels.masked_fill(best < 0.2, 0))
