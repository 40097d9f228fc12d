"""Vision towers whose text towers wait in their files: every loader, one mechanism."""

from __future__ import annotations

import copy
import json
import os
import pickle
from dataclasses import replace
from functools import partial

import pytest
import torch
from published_dinotxt import version_3, write_version_2
from safetensors.torch import save_file
from simultaneous import in_threads
from tiny_clip_models import VIT
from tiny_tokenizers import unigram_folder

from ovseg.apis.encoded_image import identity_of
from ovseg.encoders import build_vision_language
from ovseg.encoders.two_towers import VisionAlone
from ovseg.errors import UserError
from ovseg.registry import build_part
from ovseg.text.causal_tower import find_causal_tower
from ovseg.text.sentence_pieces import Bytes

KNOWN, NEW = ['a cat', 'a dog'], ['a wolf', 'a bird']
TIMM = {'img_size': 32, 'patch_size': 8, 'embed_dim': 16, 'depth': 2, 'num_heads': 2}
TEXT = {'context_length': 8, 'vocab_size': 49408, 'width': 8, 'heads': 2, 'layers': 1}
HUB = {
    **{'hidden_size': 16, 'num_hidden_layers': 2, 'num_attention_heads': 2},
    'intermediate_size': 32,
}


def open_clips(folder, seed=0, suffix='safetensors'):
    torch.manual_seed(seed)
    state = build_vision_language({'model': VIT, 'pretrained': 'random'}).model.state_dict()
    path = folder / f'clip.{suffix}'
    (save_file if suffix == 'safetensors' else torch.save)(state, path)
    return {'model': VIT, 'pretrained': str(path)}


def tipsv2s(folder):
    size = {
        **{'width': 16, 'layers': 2, 'heads': 2, 'hidden': 32, 'text_hidden': 32},
        **{'text_layers': 1, 'image_size': 32, 'patch': 8, 'vocabulary': 60},
    }
    random = build_vision_language({'type': 'TIPSv2', 'model': size, 'pretrained': 'random'})
    state = {
        name.replace('visual.', 'vision_encoder.').replace('reg_token', 'register_tokens')
        if name.startswith('visual.')
        else name.replace('text.', 'text_encoder.'): value
        for name, value in random.model.state_dict().items()
        if name != 'logit_scale'
    }
    table = state['vision_encoder.pos_embed']
    state['vision_encoder.pos_embed'] = torch.cat([torch.zeros(1, 1, 16), table], dim=1)
    save_file(state, folder / 'tips.safetensors')
    return {'type': 'TIPSv2', 'model': size, 'pretrained': str(folder / 'tips.safetensors')}


def of_transformers(folder, kind):
    package = pytest.importorskip('transformers', reason='ovseg[transformers] is missing')
    sizes = {'vision_config': {**HUB, 'image_size': 32, 'patch_size': 8}}
    sizes['text_config'] = {**HUB, 'vocab_size': 220, 'max_position_embeddings': 12}
    if kind == 'CLIP':
        sizes['text_config']['eos_token_id'] = 2
    else:
        sizes['text_config']['projection_size'] = 16
    config = getattr(package, f'{kind}Config')(**sizes)
    getattr(package, f'{kind}Model')(config).save_pretrained(folder)
    unigram_folder(folder)
    pixels = {'image_mean': [0.5] * 3, 'image_std': [0.5] * 3}
    (folder / 'preprocessor_config.json').write_text(json.dumps(pixels))
    return {'type': 'TransformersCLIP', 'model': str(folder)}


def radios(folder):
    text = {'model': {'embed_dim': 12, 'text_cfg': TEXT}}
    random = {'type': 'RADIO', 'model': {**TIMM, 'reg_tokens': 3}, 'pretrained': 'random'}
    made = build_vision_language({**random, 'text': {**text, 'pretrained': 'random'}}).model
    state = {f'text.{name}': value for name, value in made.text.state_dict().items()}
    save_file({**state, 'logit_scale': torch.tensor(3.0)}, folder / 'siglip.safetensors')
    return {**random, 'text': {**text, 'pretrained': str(folder / 'siglip.safetensors')}}


def dinotxts(folder, version):
    more = {'reg_tokens': 2} if version == 2 else {'num_reg_tokens': 2}
    backbone = {name: value for name, value in TIMM.items() if version == 2 or name != 'img_size'}
    size = {
        'backbone': {**backbone, **more},
        **{'text_width': 8, 'text_layers': 1, 'text_heads': 2, 'context_length': 12},
    }
    made = build_vision_language({'type': 'DINOTxt', 'model': size, 'pretrained': 'random'}).model
    if version == 2:
        return {'type': 'DINOTxt', 'model': size, **write_version_2(made, folder)}
    torch.save(version_3(made), folder / 'dinotxt.pth')
    return {'type': 'DINOTxt', 'model': size, 'pretrained': str(folder / 'dinotxt.pth')}


FAMILIES = {
    'open_clip': open_clips,
    'open_clip.pt': partial(open_clips, suffix='pt'),
    'TIPSv2': tipsv2s,
    'CLIP of transformers': partial(of_transformers, kind='CLIP'),
    'SigLIP of transformers': partial(of_transformers, kind='Siglip'),
    'RADIO': radios,
    'dino.txt 2': partial(dinotxts, version=2),
    'dino.txt 3': partial(dinotxts, version=3),
}


def load(config, cache):
    """A model and its text encoder, whose tokens no published tokenizer is needed for."""
    torch.manual_seed(5)
    loaded = build_vision_language(config, cache)
    if config.get('type') == 'TIPSv2':
        loaded = replace(loaded, tokenizer=Bytes(60, 12))
    return loaded, loaded.text_encoder(cache)


@pytest.mark.parametrize('family', FAMILIES)
def test_a_known_text_tower_is_loaded_for_new_words_alone_and_changes_nothing(family, tmp_path):
    config, cache = FAMILIES[family](tmp_path), tmp_path / 'cache'
    plain, reference = load(config, None)
    first, words = load(config, cache)
    drawn = torch.rand(1)
    known = words.encode(KNOWN)
    assert type(first.model) is type(plain.model)
    again, words = load(config, cache)
    assert torch.equal(torch.rand(1), drawn)  # whatever was built
    assert isinstance(again.model, VisionAlone)
    named = {name for name, _ in again.model.named_parameters() if not name.startswith('visual.')}
    assert named <= {'logit_scale', 'logit_bias'}
    assert torch.equal(words.encode(KNOWN), known) and torch.equal(known, reference.encode(KNOWN))
    assert words.fingerprint == reference.fingerprint
    assert words.context_length == reference.context_length
    assert words.logit_scale == reference.logit_scale
    assert not again.model.waiting_text.is_loaded
    assert torch.equal(words.encode(NEW), reference.encode(NEW))
    assert again.model.waiting_text.is_loaded
    assert named == {n for n, _ in again.model.named_parameters() if not n.startswith('visual.')}
    images = torch.rand(2, 3, 24, 40)
    maps = [each.dense_encoder({}, each.mean, each.std)(images).patch for each in (plain, again)]
    assert torch.equal(*maps)
    tokens = again.tokenizer(NEW)
    assert torch.equal(again.model.encode_text(tokens), plain.model.encode_text(tokens))


def test_the_vision_tower_alone_is_read_of_a_safetensors_file(tmp_path, monkeypatch):
    from ovseg.weight_files import safetensors_files

    read, config = [], open_clips(tmp_path)
    load(config, tmp_path)[1].encode(KNOWN)
    entry = safetensors_files._Entry.read
    monkeypatch.setattr(
        safetensors_files._Entry,
        'read',
        lambda self, file, start: read.append(self.end - self.begin) or entry(self, file, start),
    )
    found, words = load(config, tmp_path)
    words.encode(KNOWN)
    kept = sum(4 * value.numel() for value in found.model.state_dict().values())
    assert sum(read) == kept


def segmentor(config, cache, words='cat; dog'):
    return build_part(
        {
            **{'type': 'TrainingFreeSegmentor', 'clip': config, 'vocabulary': words},
            'text': {'templates': 'single', 'cache_dir': cache and str(cache)},
        }
    )


def counted(model, monkeypatch):
    """The loads of a model's text tower, from now on."""
    text, loads = model.clip.waiting_text, []
    build = text._build
    monkeypatch.setattr(text, '_build', lambda: loads.append(1) or build())
    return loads


def test_many_threads_with_new_words_load_the_tower_once(tmp_path, monkeypatch):
    config = open_clips(tmp_path)
    plain = segmentor(config, tmp_path)
    model = segmentor(config, tmp_path)
    loads = counted(model, monkeypatch)
    rows = in_threads(lambda number: model.text.encoder.encode([f'a {number}']))
    assert loads == [1]
    for number, row in enumerate(rows):
        assert torch.equal(plain.text.encoder.encode([f'a {number}']), row)


def test_copies_and_pickles_wait_as_well_and_bring_along_what_is_loaded(tmp_path):
    config = open_clips(tmp_path)
    segmentor(config, tmp_path)
    model = segmentor(config, tmp_path)
    wanted = segmentor(config, None, None).text.encoder.encode(NEW)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied.clip.waiting_text is copied.text.encoder._waiting
        assert not copied.clip.waiting_text.is_loaded and copied.text.space == model.text.space
        copied.text.encoder._cache_dir = None
        assert torch.equal(copied.text.encoder.encode(NEW), wanted)
        assert not model.clip.waiting_text.is_loaded
    os.remove(config['pretrained'])
    away = pickle.loads(pickle.dumps(copied))
    assert torch.equal(away.text.encoder.encode(NEW), wanted)


@torch.inference_mode()
def test_the_tower_takes_the_precision_and_place_of_the_moment(tmp_path):
    config = open_clips(tmp_path)
    plain, model = (segmentor(config, tmp_path) for _ in range(2))
    space = model.text.space
    for each in (plain, model):
        each.half()
        each.set_vocabulary('fox; owl')
    assert isinstance(model.clip, VisionAlone) and model.text.space == plain.text.space == space
    assert torch.equal(model.classifier.weight, plain.classifier.weight)
    halves = {value.dtype for value in model.clip.waiting_text._tower.parameters()}
    assert halves == {torch.float16}
    third = segmentor(config, tmp_path).half()
    third.set_vocabulary('fox; owl')
    assert not third.clip.waiting_text.is_loaded  # known in this precision, too
    assert torch.equal(third.classifier.weight, model.classifier.weight)
    model.float().set_vocabulary('hen; elk')
    exact = segmentor(config, None, 'hen; elk')
    assert torch.equal(model.classifier.weight, exact.classifier.weight)


def test_features_of_before_serve_whether_or_not_the_text_tower_is_there(tmp_path):
    config = open_clips(tmp_path)
    plain, model = (segmentor(config, tmp_path) for _ in range(2))
    assert isinstance(model.clip, VisionAlone) and identity_of(model) == identity_of(plain)
    torch.nn.init.zeros_(model.clip.visual.proj)
    assert identity_of(model) != identity_of(plain)


def test_who_looks_into_the_text_tower_has_it_loaded(tmp_path):
    config = open_clips(tmp_path)
    plain, model = (segmentor(config, tmp_path) for _ in range(2))
    ours, theirs = (find_causal_tower(each.clip).owner for each in (model, plain))
    assert model.clip.waiting_text.is_loaded
    assert torch.equal(ours.token_embedding.weight, theirs.token_embedding.weight)


def test_other_weights_in_the_file_have_other_rows(tmp_path):
    config = open_clips(tmp_path)
    one = segmentor(config, tmp_path)
    open_clips(tmp_path, seed=1)
    other = segmentor(config, tmp_path)
    assert not isinstance(other.clip, VisionAlone) and other.text.space != one.text.space
    assert not torch.equal(other.classifier.weight, one.classifier.weight)
    again = segmentor(config, tmp_path)
    assert isinstance(again.clip, VisionAlone) and again.text.space == other.text.space
    assert torch.equal(again.classifier.weight, other.classifier.weight)


def exchanged(path):
    open_clips(path.parent, seed=1)


def touched_back(path):
    """Other weights, with size and time of writing of the file of before."""
    stat = os.stat(path)
    open_clips(path.parent, seed=1)
    assert os.stat(path).st_size == stat.st_size
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (os.remove, r'clip\.safetensors, which cannot be read any more \(.*does not exist'),
        (exchanged, r'clip\.safetensors, and there is another one in it than when'),
        (touched_back, 'another one in it'),
        (lambda path: path.write_bytes(b'no weights'), 'cannot be read any more'),
    ],
)
def test_a_file_that_was_changed_since_is_refused(change, message, tmp_path):
    config = open_clips(tmp_path)
    segmentor(config, tmp_path)
    model = segmentor(config, tmp_path)
    change(tmp_path / 'clip.safetensors')
    model.set_vocabulary('dog; cat')  # known
    for _ in range(2):
        with pytest.raises(UserError, match=message) as caught:
            model.set_vocabulary('wolf')
        assert '\n' not in str(caught.value)
    assert model.vocabulary.names == ('dog', 'cat') or list(model.vocabulary.names) == [
        'dog',
        'cat',
    ]


def records(folder):
    return list((folder / 'known_towers').iterdir())


def test_a_record_of_other_files_or_of_nobody_is_none(tmp_path):
    config = open_clips(tmp_path)
    one = segmentor(config, tmp_path)
    [record] = records(tmp_path)
    written = json.loads(record.read_text())
    assert one.text.encoder._current_weights().secret.hex() not in record.read_text()
    for change in ({'fingerprint': '0' * 32}, {'secret': '0' * 32}, {'width': 3}, {'proof': ''}):
        record.write_text(json.dumps({**written, **change}))
        assert not isinstance(segmentor(config, tmp_path).clip, VisionAlone), change
    for text in ('', '[]', '{"proof": 3}'):
        record.write_text(text)
        assert not isinstance(segmentor(config, tmp_path).clip, VisionAlone), text
    assert isinstance(segmentor(config, tmp_path).clip, VisionAlone)
    stat = os.stat(config['pretrained'])
    os.utime(config['pretrained'], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert not isinstance(segmentor(config, tmp_path).clip, VisionAlone)
    other = {**config, 'model': {**VIT, 'quick_gelu': False}}  # the same file, read another way
    assert not isinstance(segmentor(other, tmp_path).clip, VisionAlone)


def test_without_a_cache_and_with_random_weights_both_towers_are_there(tmp_path):
    config = open_clips(tmp_path)
    for _ in range(2):
        assert not isinstance(segmentor(config, None, None).clip, VisionAlone)
        random = segmentor({**config, 'pretrained': 'random'}, tmp_path)
        assert not isinstance(random.clip, VisionAlone)
    assert not (tmp_path / 'known_towers').exists()
