"""Encoding sentences: raw embeddings, cache use, tokenizers, truncation, fingerprints."""

from __future__ import annotations

import copy
import io
import pickle
import sys
import warnings

import numpy as np
import open_clip
import pytest
import torch
from simultaneous import in_threads

from ovseg.errors import UserError
from ovseg.text import EncodingCache, TextEncoder
from ovseg.text import encoder as encoder_module

PROMPTS = ['a photo of a cat.', 'a photo of a dog.', 'bed ']


def test_embeddings_are_the_models_own_and_not_normalised(clip):
    tokenizer = open_clip.SimpleTokenizer()
    encoded = TextEncoder(clip, tokenizer, cache_dir=None).encode(PROMPTS)
    with torch.no_grad():
        expected = clip.encode_text(tokenizer(PROMPTS))
    torch.testing.assert_close(encoded, expected)
    assert encoded.dtype == torch.float32
    assert not torch.allclose(encoded.norm(dim=1), torch.ones(3), atol=1e-3)


@pytest.mark.parametrize('kind', [open_clip.CLIP, open_clip.CustomTextCLIP])
@pytest.mark.parametrize('context_length', [16, 77, 100])
def test_any_context_length(make_clip, kind, context_length):
    clip = make_clip(kind, context_length=context_length)
    tokenizer = open_clip.SimpleTokenizer(context_length=context_length)
    encoder = TextEncoder(clip, tokenizer, cache_dir=None)
    assert encoder.context_length == context_length
    with torch.no_grad():
        expected = clip.encode_text(tokenizer(PROMPTS))
    torch.testing.assert_close(encoder.encode(PROMPTS), expected)


def test_models_context_length_wins_over_the_tokenizers(make_clip):
    encoder = TextEncoder(make_clip(context_length=16), open_clip.SimpleTokenizer(), None)
    assert encoder.encode(['cat']).shape == (1, 8)


def test_tokenizer_without_a_context_argument_serves(counting_clip, byte_tokenizer):
    encoder = TextEncoder(counting_clip, lambda texts: byte_tokenizer(texts), None)
    other = TextEncoder(counting_clip, byte_tokenizer, None)
    assert torch.equal(encoder.encode(['cat']), other.encode(['cat']))
    assert encoder.encode(['a very long sentence indeed']).shape == (1, 6)


def test_second_run_with_known_words_encodes_nothing(
    make_counting_clip, counting_clip, byte_tokenizer, tmp_path
):
    first = TextEncoder(counting_clip, byte_tokenizer, tmp_path).encode(['cat', 'dog', 'cat'])
    assert counting_clip.encoded == 2
    again = make_counting_clip()
    second = TextEncoder(again, byte_tokenizer, tmp_path).encode(['dog', 'cat'])
    assert again.encoded == 0
    assert torch.equal(second, first[[1, 0]])
    TextEncoder(again, byte_tokenizer, tmp_path).encode(['dog', 'wolf'])
    assert again.encoded == 1


def test_other_weights_do_not_share_the_cache(make_counting_clip, byte_tokenizer, tmp_path):
    TextEncoder(make_counting_clip(seed=0), byte_tokenizer, tmp_path).encode(['cat'])
    other = make_counting_clip(seed=1)
    TextEncoder(other, byte_tokenizer, tmp_path).encode(['cat'])
    assert other.encoded == 1


def test_other_tokenizer_does_not_share_the_cache(counting_clip, byte_tokenizer, tmp_path):
    def upper(texts, context_length=16):
        return byte_tokenizer([text.upper() for text in texts], context_length)

    lower_rows = TextEncoder(counting_clip, byte_tokenizer, tmp_path).encode(['cat'])
    upper_rows = TextEncoder(counting_clip, upper, tmp_path).encode(['cat'])
    assert counting_clip.encoded == 2
    assert not torch.equal(lower_rows, upper_rows)


def test_changed_weights_are_noticed(counting_clip, byte_tokenizer, tmp_path):
    encoder = TextEncoder(counting_clip, byte_tokenizer, tmp_path)
    before, fingerprint = encoder.encode(['cat']), encoder.fingerprint
    counting_clip.load_state_dict(
        {name: 2 * value for name, value in counting_clip.state_dict().items()}
    )
    torch.testing.assert_close(encoder.encode(['cat']), 2 * before)
    assert encoder.fingerprint != fingerprint


def test_damaged_entry_is_computed_again(counting_clip, byte_tokenizer, tmp_path):
    expected = TextEncoder(counting_clip, byte_tokenizer, tmp_path).encode(['cat'])
    [file] = tmp_path.rglob('*.npy')
    content = bytearray(file.read_bytes())
    content[-2] ^= 0x40
    file.write_bytes(content)
    for encoded in (2, 2):
        again = TextEncoder(counting_clip, byte_tokenizer, tmp_path).encode(['cat'])
        assert torch.equal(again, expected)
        assert counting_clip.encoded == encoded


def test_unusable_cache_is_one_warning(counting_clip, byte_tokenizer, tmp_path):
    (tmp_path / 'file').write_text('')
    encoder = TextEncoder(counting_clip, byte_tokenizer, tmp_path / 'file' / 'cache')
    with pytest.warns(UserWarning, match='text cache .* going on without') as warned:
        first = encoder.encode(['cat'])
        encoder.encode(['dog'])
    assert len(warned) == 1
    assert torch.equal(first, TextEncoder(counting_clip, byte_tokenizer, None).encode(['cat']))


def test_default_cache_is_under_the_environments_folder(counting_clip, byte_tokenizer, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('OVSEG_CACHE', str(tmp_path))
        TextEncoder(counting_clip, byte_tokenizer).encode(['cat'])
    assert list((tmp_path / 'text').rglob('*.npy'))


def test_many_prompts_are_saved_in_parts(counting_clip, byte_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_module, '_BATCH_SIZE', 2)
    monkeypatch.setattr(encoder_module, '_BATCHES_PER_SAVE', 2)
    words = [f'w{number}' for number in range(11)]
    parts = TextEncoder(counting_clip, byte_tokenizer, tmp_path).encode(words)
    assert len(list(tmp_path.rglob('*.npy'))) == 3
    whole = TextEncoder(counting_clip, byte_tokenizer, None).encode(words)
    torch.testing.assert_close(parts, whole)


def test_interrupted_run_keeps_finished_parts(
    make_counting_clip, byte_tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setattr(encoder_module, '_BATCH_SIZE', 2)
    monkeypatch.setattr(encoder_module, '_BATCHES_PER_SAVE', 1)
    clip = make_counting_clip()
    encode = clip.encode_text

    def interrupt_later(tokens, normalize=False):
        if clip.encoded >= 4:
            raise KeyboardInterrupt
        return encode(tokens, normalize)

    clip.encode_text = interrupt_later
    words = [f'w{number}' for number in range(8)]
    with pytest.raises(KeyboardInterrupt):
        TextEncoder(clip, byte_tokenizer, tmp_path).encode(words)
    again = make_counting_clip()
    TextEncoder(again, byte_tokenizer, tmp_path).encode(words)
    assert again.encoded == 4


def test_truncated_prompts_are_quoted_once(make_clip):
    encoder = TextEncoder(make_clip(context_length=8), open_clip.SimpleTokenizer(), None)
    long = 'one two three four five six seven'
    with pytest.warns(UserWarning, match='longer than the 8 tokens') as warned:
        encoder.encode(['one two three four five six', long, 'internationalisation'])
    assert repr(long) in str(warned[0].message)
    assert "'one two three four five six'" not in str(warned[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        encoder.encode([long])


def test_cached_prompts_warn_of_truncation_too(counting_clip, byte_tokenizer, tmp_path):
    for _ in range(2):
        with pytest.warns(UserWarning, match='longer than the 16 tokens'):
            TextEncoder(counting_clip, byte_tokenizer, tmp_path).encode(['a sentence too long'])
    assert counting_clip.encoded == 1


def test_tokenizers_that_mark_the_end_of_the_context_report_nothing(counting_clip, byte_tokenizer):
    def marked(texts, context_length=16):
        tokens = byte_tokenizer(texts, context_length)
        tokens[:, -1] = 256
        return tokens

    with warnings.catch_warnings():
        warnings.simplefilter('error')
        TextEncoder(counting_clip, marked, None).encode(['fine sentence, long'])


def test_nan_weights_are_an_error_and_not_cached(counting_clip, byte_tokenizer, tmp_path):
    with torch.no_grad():
        counting_clip.table.weight[ord('d') + 1] = float('nan')
    with pytest.raises(UserError, match="gives NaN or infinity for 'dog'"):
        TextEncoder(counting_clip, byte_tokenizer, tmp_path).encode(['cat', 'dog'])
    assert not list(tmp_path.rglob('*.npy'))


def test_half_precision_models_give_float32(clip):
    encoder = TextEncoder(clip.bfloat16(), open_clip.SimpleTokenizer(), None)
    assert encoder.encode(PROMPTS).dtype == torch.float32


def test_autocast_around_does_not_reach_inside(clip):
    encoder = TextEncoder(clip, open_clip.SimpleTokenizer(), None)
    expected = encoder.encode(PROMPTS)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(encoder.encode(PROMPTS), expected)


def test_encoding_leaves_the_model_as_it_was(clip):
    clip.train()
    clip.visual.eval()
    state = {name: value.clone() for name, value in clip.state_dict().items()}
    TextEncoder(clip, open_clip.SimpleTokenizer(), None).encode(PROMPTS)
    assert clip.training and clip.transformer.training and not clip.visual.training
    assert all(torch.equal(value, state[name]) for name, value in clip.state_dict().items())


def test_fingerprint_follows_text_weights_and_activation_only(make_clip):
    def fingerprint(clip, name=''):
        return TextEncoder(clip, open_clip.SimpleTokenizer(), None, name).fingerprint

    reference = fingerprint(make_clip())
    assert fingerprint(make_clip()) == reference
    assert fingerprint(make_clip(seed=1)) != reference
    assert fingerprint(make_clip(quick_gelu=True)) != reference
    assert fingerprint(make_clip(), 'other') != reference
    other_vision = make_clip()
    torch.nn.init.zeros_(other_vision.visual.proj)
    assert fingerprint(other_vision) == reference
    other_projection = make_clip()
    torch.nn.init.zeros_(other_projection.text_projection)
    assert fingerprint(other_projection) != reference


def test_logit_scale_is_the_models(counting_clip, byte_tokenizer):
    encoder = TextEncoder(counting_clip, byte_tokenizer, None)
    assert encoder.logit_scale == pytest.approx(20.0855, abs=1e-3)
    del counting_clip.logit_scale
    with pytest.raises(UserError, match='no logit_scale'):
        _ = encoder.logit_scale


def test_wrong_arguments_are_named(counting_clip, byte_tokenizer):
    with pytest.raises(TypeError, match='Linear has no encode_text'):
        TextEncoder(torch.nn.Linear(1, 1), byte_tokenizer)
    encoder = TextEncoder(counting_clip, byte_tokenizer, None)
    with pytest.raises(TypeError, match='got one string'):
        encoder.encode('cat')
    with pytest.raises(ValueError, match='at least one sentence'):
        encoder.encode([])


# The cache is another model's, or nobody's ----------------------------------------------------


def test_entries_of_another_model_are_told_and_computed_anew(
    make_counting_clip, byte_tokenizer, tmp_path
):
    words = ['cat', 'dog']
    expected = TextEncoder(make_counting_clip(seed=0), byte_tokenizer, tmp_path).encode(words)
    TextEncoder(make_counting_clip(seed=1), byte_tokenizer, tmp_path).encode(words)
    one, other = sorted(tmp_path.rglob('*.npy'))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    with pytest.warns(UserWarning, match='of other words or weights') as told:
        again = TextEncoder(make_counting_clip(seed=0), byte_tokenizer, tmp_path).encode(words)
    assert len(told) == 1
    assert torch.equal(again, expected)


def test_vectors_of_another_length_are_computed_anew(make_clip, tmp_path):
    encoder = TextEncoder(make_clip(), open_clip.SimpleTokenizer(), tmp_path)
    expected = encoder.encode(PROMPTS)
    folder = encoder._open_cache().directory
    for file in folder.iterdir():
        file.unlink()
    # Written by someone who has the weights, too.
    EncodingCache(folder, encoder._current_weights().secret).put(
        {prompt: np.ones(5, np.float32) for prompt in PROMPTS}
    )
    again = TextEncoder(make_clip(), open_clip.SimpleTokenizer(), tmp_path)
    with pytest.warns(UserWarning, match='unusable'):
        torch.testing.assert_close(again.encode(PROMPTS), expected)


def test_a_cache_of_an_earlier_version_is_passed_over(counting_clip, byte_tokenizer, tmp_path):
    encoder = TextEncoder(counting_clip, byte_tokenizer, tmp_path)
    expected = encoder.encode(['cat'])
    directory = encoder._open_cache().directory
    earlier = directory.with_name(directory.name.rsplit('-', 1)[0])
    directory.rename(earlier)
    kept = [file.read_bytes() for file in earlier.iterdir()]
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert torch.equal(encoder.encode(['dog', 'cat'])[1:], expected)
    assert [file.read_bytes() for file in earlier.iterdir()] == kept


# Threads ---------------------------------------------------------------------------------------


def test_threads_that_ask_the_same_encode_it_once(counting_clip, byte_tokenizer, tmp_path):
    encoder = TextEncoder(counting_clip, byte_tokenizer, tmp_path)
    words = [f'word {number}' for number in range(20)]
    results = in_threads(lambda number: encoder.encode(words), 8)
    assert counting_clip.encoded == 20
    assert all(torch.equal(result, results[0]) for result in results)


def test_so_do_threads_without_a_folder_to_write_to(counting_clip, byte_tokenizer, tmp_path):
    (tmp_path / 'file').write_text('')
    encoder = TextEncoder(counting_clip, byte_tokenizer, tmp_path / 'file')
    with pytest.warns(UserWarning, match='cannot be written') as told:
        in_threads(lambda number: encoder.encode(['cat', 'dog']), 8)
    assert len(told) == 1
    assert counting_clip.encoded == 2


def test_threads_that_ask_different_words_get_what_one_would(make_clip, tmp_path):
    serial = TextEncoder(make_clip(), open_clip.SimpleTokenizer(), None)
    shared = TextEncoder(make_clip(), open_clip.SimpleTokenizer(), tmp_path)

    def words(number):
        return [f'thing {(7 * number + step) % 23} of {number % 3}' for step in range(12)]

    results = in_threads(lambda number: [shared.encode(words(number + i)) for i in range(4)], 8)
    for number, of_thread in enumerate(results):
        for step, result in enumerate(of_thread):
            expected = serial.encode(words(number + step))
            torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


def test_a_model_in_training_mode_stays_there_under_threads(make_clip, tmp_path):
    clip = make_clip().train()
    encoder = TextEncoder(clip, open_clip.SimpleTokenizer(), tmp_path)
    in_threads(lambda number: encoder.encode([f'word {number}']), 4)
    assert all(module.training for module in clip.modules())


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_has_locks_of_its_own(clip, tmp_path, duplicate):
    encoder = TextEncoder(clip, open_clip.SimpleTokenizer(), tmp_path)
    expected = encoder.encode(PROMPTS)
    with encoder._model_lock, encoder._memory_lock:
        twin = duplicate(encoder)
        [encoded] = in_threads(lambda number: twin.encode([*PROMPTS, 'wolf']), 1)
    torch.testing.assert_close(encoded[:3], expected)


# Progress --------------------------------------------------------------------------------------


@pytest.mark.parametrize(('on_terminal', 'is_slow'), [(True, True), (True, False), (False, True)])
def test_a_line_of_progress_only_on_a_terminal_and_if_it_takes_long(
    counting_clip, byte_tokenizer, monkeypatch, on_terminal, is_slow
):
    class Terminal(io.StringIO):
        def isatty(self):
            return on_terminal

    monkeypatch.setattr(encoder_module, '_BATCH_SIZE', 2)
    monkeypatch.setattr(encoder_module, '_QUIET_SECONDS', 0.0 if is_slow else 600.0)
    monkeypatch.setattr(sys, 'stderr', Terminal())
    TextEncoder(counting_clip, byte_tokenizer, None).encode([f'w{n}' for n in range(9)])
    assert ('encoding words' in sys.stderr.getvalue()) == (on_terminal and is_slow)
