"""Any text either parses or gives one sentence; what is written is read back."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovseg.vocabulary import Rejection, Vocabulary, VocabularyClass, fill_template, get_templates

quick = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

plain_words = st.from_regex(r'[a-z]{2,6}( [a-z]{2,6})?', fullmatch=True).filter(
    lambda word: word.split()[-1] not in ('an', 'the')
)
any_words = st.text(min_size=1, max_size=12).filter(
    lambda text: any(letter.isalnum() for letter in text)
)
colors = st.none() | st.tuples(*[st.integers(0, 255)] * 3)
rejections = st.one_of(
    st.just(Rejection()),
    st.just(Rejection('class_zero')),
    st.builds(Rejection, st.just('threshold'), st.floats(0, 1)),
    st.builds(
        Rejection,
        st.just('background'),
        st.floats(0, 1),
        st.lists(plain_words, min_size=1, max_size=3, unique=True).map(tuple),
    ),
)


@st.composite
def vocabularies(draw, words=any_words):
    classes = []
    for _ in range(draw(st.integers(1, 5))):
        prompts = draw(st.lists(words, min_size=1, max_size=3))
        descriptions = draw(st.lists(words, max_size=2))
        classes.append((prompts, draw(colors), descriptions))
    try:
        return Vocabulary(
            [VocabularyClass(p[0], tuple(p), c, tuple(d)) for p, c, d in classes],
            draw(rejections),
        )
    except ValueError:
        # Repeated words, a template alone: then any one class stands for the example.
        return Vocabulary([VocabularyClass('cat', ('cat',))])


@quick
@given(st.text(max_size=40))
def test_any_text_parses_or_raises_one_sentence(text):
    try:
        vocabulary = Vocabulary.parse(text)
    except (ValueError, FileNotFoundError) as error:
        assert str(error).strip()
        assert len(str(error).splitlines()) == 1
    else:
        assert len(vocabulary) == len(vocabulary.names) == len(set(vocabulary.names))
        assert all(item.prompts for item in vocabulary)


@quick
@given(st.lists(st.one_of(st.text(max_size=8), st.none(), st.lists(st.text(max_size=5)))))
def test_any_list_parses_or_raises_one_sentence(entries):
    try:
        vocabulary = Vocabulary.parse(entries)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert len(vocabulary) == len(entries)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ['classes', 'name', 'prompts', 'color', 'threshold', 'background', 'cat']
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@quick
@given(json_values)
def test_any_json_parses_or_raises_one_sentence(tmp_path, document):
    file = tmp_path / 'words.json'
    file.write_text(json.dumps(document))
    try:
        vocabulary = Vocabulary.parse(file)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert len(vocabulary.palette) == len(vocabulary) > 0


@quick
@given(vocabularies())
def test_json_round_trip(tmp_path, vocabulary):
    file = tmp_path / 'words.json'
    vocabulary.save(file)
    assert Vocabulary.parse(file) == vocabulary


@quick
@given(st.lists(st.lists(plain_words, min_size=1, max_size=3), min_size=1, max_size=5))
def test_format_round_trip(classes):
    flat = [word for words in classes for word in words]
    if len(set(flat)) < len(flat):
        with pytest.raises(ValueError, match='duplicate|twice'):
            Vocabulary.parse('; '.join(', '.join(words) for words in classes))
        return
    vocabulary = Vocabulary.parse(classes)
    assert Vocabulary.parse(vocabulary.format()) == vocabulary


@quick
@given(vocabularies())
def test_format_is_faithful_or_refuses(vocabulary):
    try:
        text = vocabulary.format()
    except ValueError as error:
        assert 'to_json' in str(error)
    else:
        try:
            read_back = Vocabulary.parse(text)
        except ValueError as error:
            assert 'duplicate' in str(error)  # a synonym shared by two classes
        else:
            assert read_back.with_rejection(None).names == vocabulary.with_rejection(None).names


@quick
@given(vocabularies(), rejections)
def test_rule_changes_are_reversible(vocabulary, rejection):
    try:
        changed = vocabulary.with_rejection(rejection)
    except ValueError:
        assert 'background' in ' '.join(vocabulary.names).casefold()
        return
    assert changed.with_rejection(vocabulary.rejection) == vocabulary
    assert len(changed.palette) == len(changed)
    assert (changed.background_index is None) == (rejection.kind == 'none')


@quick
@given(any_words)
def test_filling_a_template_keeps_the_word_verbatim(word):
    for template in get_templates('openai-80')[:5]:
        before, after = template.split('{}')
        assert fill_template(template, word) == before + word + after
