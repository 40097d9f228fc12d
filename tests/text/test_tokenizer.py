"""Tokenizers of text towers: CLIP's own, and those of the hub from folders made here."""

from __future__ import annotations

import json

import open_clip
import pytest
import torch
from tiny_tokenizers import PAD, UNKNOWN, WORDS, sentencepiece_folder, unigram_folder

from ovseg.errors import UserError
from ovseg.text import TextEncoder
from ovseg.text import tokenizer as tokenizer_module
from ovseg.text.fingerprint import tokenizer_fingerprint
from ovseg.text.tokenizer import build_tokenizer

CFG = {'context_length': 24, 'vocab_size': 400, 'width': 16, 'heads': 2, 'layers': 1}
SIGLIP = {**CFG, 'no_causal_mask': True, 'pool_type': 'last', 'proj_bias': True}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return unigram_folder(tmp_path_factory.mktemp('unigram'))


def of(folder, canonical=False, **settings):
    text = {**CFG, 'hf_tokenizer_name': str(folder), 'tokenizer_kwargs': settings}
    return build_tokenizer(text, canonical=canonical)


def read(tokenizer, tokens):
    """Sentences that tokens stand for."""
    inner = tokenizer._wrapped.tokenizer
    return [inner.decode(row, skip_special_tokens=True).strip() for row in tokens]


def test_without_a_name_it_is_clips_own_with_the_configs_length_and_settings():
    tokenizer = build_tokenizer({'context_length': 9, 'tokenizer_kwargs': {'clean': 'whitespace'}})
    assert type(tokenizer) is open_clip.SimpleTokenizer
    assert tokenizer(['a CAT']).shape == (1, 9)
    assert not torch.equal(tokenizer(['a CAT']), tokenizer(['a cat']))
    assert build_tokenizer({})(['x']).shape == (1, 77)


def test_words_of_any_script_come_through_unharmed(folder):
    tokenizer = of(folder)
    tokens = tokenizer(WORDS)
    assert tokens.shape == (len(WORDS), 24) and tokens.dtype == torch.int64
    assert not (tokens == UNKNOWN).any()
    assert read(tokenizer, tokens) == list(WORDS)
    # Canonical words lose case and punctuation of ASCII alone, and no letter of any script.
    canonical = of(folder, canonical=True)
    assert read(canonical, canonical(['猫!', 'قطة', '北京的街道'])) == ['猫', 'قطة', '北京的街道']


def test_what_fills_up_stands_behind_and_is_as_long_as_the_tower_reads(folder):
    # The folder's own setting is left, as Siglip2Tokenizer's is.
    tokens = of(folder)(['a cat'])
    (filled,) = (tokens[0] == PAD).nonzero(as_tuple=True)
    assert len(filled) and filled.tolist() == list(range(int(filled[0]), 24))
    assert of(folder)(['a cat'], context_length=40).shape == (1, 40)


def test_canonical_words_have_no_case_and_no_punctuation(folder):
    plain, canonical = of(folder), of(folder, canonical=True)
    mixed, clean = ['A photo of a "Cat".'], ['a photo of a cat']
    assert not torch.equal(plain(mixed), plain(clean))
    assert torch.equal(canonical(mixed), canonical(clean))
    assert torch.equal(canonical(clean), plain(clean))
    # What the config says goes before what the tower is known to want, and the other way round.
    assert torch.equal(of(folder, canonical=True, clean='whitespace')(mixed), plain(mixed))
    assert torch.equal(of(folder, clean='canonicalize')(mixed), canonical(mixed))


def test_a_tokenizer_of_siglips_class_gets_canonical_words_of_itself(tmp_path):
    tokenizer = of(sentencepiece_folder(tmp_path / 'siglip', 'SiglipTokenizer'))
    assert torch.equal(tokenizer(['A photo, of a Cat!']), tokenizer(['a photo of a cat']))
    assert tokenizer(['x']).shape == (1, 24)


def test_canonical_words_are_part_of_the_cached_identity(folder):
    plain, canonical = of(folder), of(folder, canonical=True)

    def identity(tokenizer):
        # Probes that are unknown to both say nothing of the cleaning.
        return tokenizer_fingerprint(lambda texts: torch.zeros(1), 24, tokenizer.cleaning)

    assert identity(plain) == identity(of(folder))
    assert identity(plain) != identity(canonical)


def test_a_cache_of_canonical_words_is_not_read_for_others(folder, make_clip, tmp_path):
    clip = make_clip(open_clip.CustomTextCLIP, **SIGLIP)
    texts = ['A Cat.', 'a cat']
    for canonical in (True, False):
        encoder = TextEncoder(clip, of(folder, canonical), tmp_path)
        rows = encoder.encode(texts)
        assert torch.equal(rows[0], rows[1]) == canonical
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('text', [SIGLIP, {**CFG, 'pool_type': 'eos', 'eos_id': 1}])
def test_towers_that_read_the_last_place_or_an_end_token_give_what_open_clip_gives(
    folder, make_clip, text
):
    clip = make_clip(open_clip.CustomTextCLIP, **text)
    tokenizer = of(folder)
    with torch.no_grad():
        wanted = clip.encode_text(tokenizer(WORDS))
    torch.testing.assert_close(TextEncoder(clip, tokenizer, None).encode(WORDS), wanted)
    if text is SIGLIP:  # what fills up is read there
        with torch.no_grad():
            shorter = clip.encode_text(tokenizer(WORDS, context_length=20))
        assert not torch.allclose(shorter, wanted, atol=1e-3)


def test_too_long_sentences_are_told(folder, make_clip):
    encoder = TextEncoder(make_clip(open_clip.CustomTextCLIP, **SIGLIP), of(folder), None)
    with pytest.warns(match="longer than the 24 tokens of the text model.*'猫 猫"):
        encoder.encode([' '.join(['猫'] * 60), 'a cat'])


def refused(message, *args, **kwargs):
    with pytest.raises(UserError, match=message) as caught:
        build_tokenizer(*args, **kwargs)
    assert '\n' not in str(caught.value)


def test_tokenizers_that_cannot_be_read_are_one_sentence(folder, tmp_path, monkeypatch):
    refused('must be one of whitespace, lower', {'tokenizer_kwargs': {'clean': 'caps'}})
    refused('tokenizer_kwargs: .*unexpected', {'tokenizer_kwargs': {'cleen': 'lower'}})
    refused('cannot be read .*give a folder with tokenizer.json', {}, tmp_path)
    (tmp_path / 'tokenizer.json').write_bytes((folder / 'tokenizer.json').read_bytes())
    refused(r'cannot be read .*tokenizer_config\.json', {}, tmp_path)  # nothing fills up
    monkeypatch.setattr(tokenizer_module, 'reaches_hub', lambda: False)
    refused(
        "'timm/none' cannot be read .*give their folder as clip.tokenizer",
        {'hf_tokenizer_name': 'timm/none'},
    )
    with pytest.raises(UserError, match='tokenizer of another model'):
        build_tokenizer({**CFG, 'vocab_size': 9}, folder)(['große Straße'])


def test_no_code_of_others_is_run(folder, tmp_path):
    refused(
        'ovseg never does', {'tokenizer_kwargs': {'trust_remote_code': True}}, source=str(folder)
    )
    ran = tmp_path / 'ran'
    (tmp_path / 'evil.py').write_text(f'open({str(ran)!r}, "w")\nclass T: pass\n')
    config = {'tokenizer_class': 'T', 'auto_map': {'AutoTokenizer': ['evil.T', None]}}
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(config))
    refused('needs no code of its own', {}, source=tmp_path)
    assert not ran.exists()


def test_without_transformers_there_is_an_install_line(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, 'transformers', None)
    refused(r'pip install "ovseg\[transformers\]"', {'hf_tokenizer_name': 'timm/some'})
