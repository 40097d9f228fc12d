"""From words and templates to rows: averaging orders, synonyms, backgrounds, parity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F

from ovseg.errors import UserError
from ovseg.text import TextEncoder, average_sentences, build_classifier, classifier_from_rows
from ovseg.text.combine import Query, combine_rows
from ovseg.vocabulary import Rejection, Vocabulary, get_templates

DATA = Path(__file__).parent.parent / 'data' / 'text' / 'maskclip_text.pt'
TEMPLATES = ('a {}', 'the {}.')


@pytest.fixture
def encoder(counting_clip, byte_tokenizer):
    return TextEncoder(counting_clip, byte_tokenizer, cache_dir=None)


def prototype(encoder, word):
    sentences = [template.replace('{}', word) for template in TEMPLATES]
    rows = F.normalize(encoder.encode(sentences), dim=1)
    return F.normalize(rows.mean(0), dim=0)


def build(words, encoder, rejection=None, **settings):
    vocabulary = Vocabulary.parse(words, rejection)
    return build_classifier(vocabulary, encoder, TEMPLATES, **settings)


def test_rows_equal_the_reference_implementation():
    """Rows that MaskCLIP's own code made with OpenAI's own text tower."""
    golden = torch.load(DATA, weights_only=True)
    config = golden['config']
    model = open_clip.CLIP(
        config['embed_dim'],
        {'image_size': 16, 'layers': 1, 'width': 16, 'head_width': 8, 'patch_size': 8},
        {
            'context_length': 77,
            'vocab_size': 49408,
            'width': config['text_width'],
            'heads': config['text_heads'],
            'layers': config['text_layers'],
        },
        quick_gelu=True,
    )
    table = torch.zeros(49408, config['text_width'])
    table[golden['token_embedding_ids'].long()] = golden['token_embedding_rows']
    state = {**golden['text_state_dict'], 'token_embedding.weight': table}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.startswith('visual.') for name in missing)
    tokenizer = open_clip.SimpleTokenizer()
    first = [
        template.replace('{}', config['classes'][0]) for template in get_templates('maskclip-85')
    ]
    assert torch.equal(tokenizer(first), golden['text_tokens_first_class'].long())

    encoder = TextEncoder(model, tokenizer, cache_dir=None)
    vocabulary = Vocabulary.parse(config['classes'])
    for templates, key in (
        ('maskclip-85', 'text_classifier_85'),
        ('maskclip_npe', 'text_classifier_1'),
    ):
        rows = build_classifier(vocabulary, encoder, templates).weight
        torch.testing.assert_close(rows, golden[key], atol=1e-6, rtol=1e-5)


def test_average_orders_differ_as_defined():
    raw = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    equal_say = average_sentences(raw, 'normalize_mean_normalize')
    torch.testing.assert_close(equal_say, torch.full((2,), 0.5**0.5))
    by_length = average_sentences(raw, 'mean_normalize')
    torch.testing.assert_close(by_length, torch.tensor([3.0, 1.0]) / 10**0.5)


def test_a_class_of_one_word_is_its_prototype(encoder):
    classifier = build('cat; sofa', encoder)
    torch.testing.assert_close(classifier.weight[1], prototype(encoder, 'sofa'))
    assert classifier.class_index.tolist() == [0, 1]
    assert classifier.aggregation == 'linear'
    assert classifier.fingerprint == encoder.fingerprint
    assert classifier.logit_scale == pytest.approx(encoder.logit_scale)
    assert build('cat', encoder, logit_scale=40).logit_scale == 40


def test_mean_gives_one_row_a_class(encoder):
    classifier = build('cat, kitten; sofa', encoder, combine='mean')
    mean = (prototype(encoder, 'cat') + prototype(encoder, 'kitten')) / 2
    torch.testing.assert_close(classifier.weight[0], F.normalize(mean, dim=0))
    assert classifier.class_index.tolist() == [0, 1]


def test_max_and_mean_scores_keep_a_row_a_synonym(encoder):
    features = torch.randn(1, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    words = [prototype(encoder, word) for word in ('cat', 'kitten', 'sofa')]
    cosines = torch.einsum('pd,bdhw->bphw', torch.stack(words), F.normalize(features, dim=1))

    best = build('cat, kitten; sofa', encoder, combine='max')
    assert best.class_index.tolist() == [0, 0, 1]
    torch.testing.assert_close(best.scores(features)[:, 0], cosines[:, :2].amax(1))

    mean = build('cat, kitten; sofa', encoder, combine='mean_scores')
    torch.testing.assert_close(mean.scores(features)[:, 0], cosines[:, :2].mean(1))
    torch.testing.assert_close(mean.folded().scores(features), mean.scores(features))


def test_log_sums_do_not_depend_on_copies_or_order(encoder):
    features = torch.randn(1, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    once = build({'cat': ['cat', 'kitten'], 'sofa': 'sofa'}, encoder, combine='lse')
    copied = build({'sofa': ['sofa', 'couch'], 'cat': ['cat', 'kitten']}, encoder, combine='lse')
    same = build({'sofa': 'sofa', 'cat': ['kitten', 'cat']}, encoder, combine='lse')
    assert once.row_weight.tolist() == [0.5, 0.5, 1]
    expected = once.scores(features)
    torch.testing.assert_close(same.scores(features).flip(1), expected)
    one_row = copied.weight.clone()
    one_row[1] = one_row[0]
    twice = replace(copied, weight=one_row)
    torch.testing.assert_close(twice.scores(features).flip(1), expected)


def test_equal_rows_share_what_one_would_have():
    vectors = F.normalize(torch.randn(2, 6, generator=torch.Generator().manual_seed(1)), dim=1)
    queries = [Query(0, (word,)) for word in 'aab']
    encoded = [vectors[:1], vectors[:1], vectors[1:]]
    rows = combine_rows(queries, encoded, 'lse', 'mean_normalize', None)
    assert rows.row_weight.tolist() == [0.25, 0.25, 0.5]
    added = combine_rows(queries, encoded, 'sum_prob', 'mean_normalize', None)
    assert added.row_weight.tolist() == [1, 1, 1]


def test_the_words_of_a_background_stay_whole_in_a_log_sum(encoder):
    rule = Rejection('background', words=('wall', 'sky'))
    classifier = build('cat, kitten; sofa', encoder, rule, combine='lse')
    assert classifier.row_weight.tolist() == [1, 1, 0.5, 0.5, 1]


def test_raw_means_average_before_any_length_is_taken(encoder):
    classifier = build('cat, kitten; sofa', encoder, combine='raw_mean')
    sentences = [
        template.replace('{}', word) for word in ('cat', 'kitten') for template in TEMPLATES
    ]
    expected = F.normalize(encoder.encode(sentences).mean(0), dim=0)
    torch.testing.assert_close(classifier.weight[0], expected)
    assert classifier.aggregation == 'linear'


def test_joined_makes_one_prompt_of_the_synonyms(encoder):
    classifier = build('cat, kitten; sofa', encoder, combine='joined')
    torch.testing.assert_close(classifier.weight[0], prototype(encoder, 'cat, kitten'))


@pytest.mark.parametrize('combine', ['mean', 'max', 'mean_scores'])
@pytest.mark.parametrize(
    ('words', 'rejection'),
    [
        ('cat, kitten; sofa', Rejection('background', words=('wall', 'sky'))),
        ('wall, sky; cat, kitten; sofa', Rejection('class_zero')),
    ],
)
def test_background_is_max_over_its_words(encoder, combine, words, rejection):
    classifier = build(words, encoder, rejection, combine=combine)
    features = torch.randn(1, 6, 4, 4, generator=torch.Generator().manual_seed(1))
    unit = F.normalize(features, dim=1)
    walls = [
        torch.einsum('d,bdhw->bhw', prototype(encoder, word), unit) for word in ('wall', 'sky')
    ]
    scores = classifier.scores(features)
    assert scores.shape[1] == 3
    assert classifier.aggregation == 'max'
    torch.testing.assert_close(scores[:, 0], torch.maximum(*walls))
    plain = build('cat, kitten; sofa', encoder, combine=combine).scores(features)
    torch.testing.assert_close(scores[:, 1:], plain)


def test_joined_background_is_one_prompt(encoder):
    rule = Rejection('background', words=('wall', 'sky'))
    classifier = build('cat', encoder, rule, combine='joined')
    torch.testing.assert_close(classifier.weight[0], prototype(encoder, 'wall, sky'))


def test_background_of_a_threshold_has_no_row(encoder):
    classifier = build('cat; sofa', encoder, Rejection('threshold', 0.3))
    assert classifier.class_index.tolist() == [1, 2]
    assert classifier.num_classes == 3
    assert classifier.background_index == 0


def test_descriptions_are_read_without_templates(encoder):
    source = {
        'classes': [
            {'name': 'okapi', 'description': 'Striped.'},
            {'name': 'cat', 'prompts': ['cat'], 'description': ['Purrs.', 'Hunts.']},
        ]
    }
    classifier = build(source, encoder, combine='max')
    assert classifier.class_index.tolist() == [0, 1, 1, 1]
    expected = F.normalize(encoder.encode(['Striped.', 'Purrs.', 'Hunts.']), dim=1)
    torch.testing.assert_close(classifier.weight[[0, 2, 3]], expected)


def test_all_sentences_of_a_vocabulary_are_encoded_once(encoder, counting_clip):
    build('cat, kitten; sofa', encoder)
    assert counting_clip.encoded == 3 * len(TEMPLATES)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'combine': 'avg'}, "unknown combine 'avg'"),
        ({'combine': 'maxx'}, "Did you mean 'max'?"),
        ({'average': 'mean'}, "unknown average 'mean'"),
    ],
)
def test_unknown_settings_are_named(encoder, settings, message):
    with pytest.raises(UserError) as error:
        build('cat', encoder, **settings)
    assert message in str(error.value)


def test_published_rows_are_used_as_they_are():
    vocabulary = Vocabulary.parse('cat; sofa', Rejection('threshold', 0.3))
    rows = torch.tensor([[3.0, 4.0], [0.0, 2.0]], dtype=torch.float16)
    classifier = classifier_from_rows(vocabulary, rows, 100.0, 'rows.pth')
    torch.testing.assert_close(classifier.weight, rows.float())
    assert classifier.class_index.tolist() == [1, 2]
    # In the name of no text model, so that features of any may meet them.
    assert classifier.fingerprint == '' and classifier.origin == ('rows.pth', 'rows.pth')


def test_published_rows_that_do_not_fit_are_refused():
    vocabulary = Vocabulary.parse('cat; sofa')
    with pytest.raises(UserError, match='rows.pth holds 3 text embeddings .* 2 classes'):
        classifier_from_rows(vocabulary, torch.ones(3, 4), 100.0, 'rows.pth')
    with pytest.raises(UserError, match='rows.pth holds NaN'):
        classifier_from_rows(vocabulary, torch.full((2, 4), torch.nan), 100.0, 'rows.pth')


def test_descriptions_weigh_no_more_than_the_words(encoder, tmp_path):
    path = tmp_path / 'said.json'
    path.write_text('{"cat": ["A cat purrs.", "A cat purrs.", "A cat hunts."]}', encoding='utf-8')
    cat, kitten, sofa = (prototype(encoder, word) for word in ('cat', 'kitten', 'sofa'))
    purrs, hunts = F.normalize(encoder.encode(['A cat purrs.', 'A cat hunts.']), dim=1)
    words, said = (cat + kitten) / 2, (2 * purrs + hunts) / 3
    plain = build('cat, kitten; sofa', encoder, descriptions=path)
    torch.testing.assert_close(plain.weight[0], F.normalize(words + said, dim=0))
    torch.testing.assert_close(plain.weight[1], sofa)
    scores = build('cat, kitten; sofa', encoder, descriptions=path, combine='mean_scores')
    torch.testing.assert_close(scores.weight[0], (words + said) / 2)
    alone = build('cat, kitten', encoder, descriptions=path, name_share=0)
    torch.testing.assert_close(alone.weight[0], F.normalize(said, dim=0))
    best = build('cat, kitten; sofa', encoder, descriptions=path, combine='max')
    assert best.class_index.tolist() == [0, 0, 1] and best.origin == ('text',) * 3
    torch.testing.assert_close(best.weight[1], F.normalize(kitten + said, dim=0))
    mixed = build('cat; sofa', encoder, descriptions=path, combine='lse')
    assert mixed.origin == ('text', 'description', 'description', 'text')
    torch.testing.assert_close(mixed.row_weight, torch.tensor([1 / 2, 1 / 3, 1 / 6, 1]))


def test_shares_beyond_all_are_refused(encoder):
    with pytest.raises(UserError, match=r'from 0 to 1, got 1\.5'):
        build('cat', encoder, name_share=1.5)
