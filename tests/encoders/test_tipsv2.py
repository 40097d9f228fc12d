"""TIPSv2: files as published, its text tower, its tokenizer, and its configs on tiny towers."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from ovseg.encoders import build_vision_language
from ovseg.encoders.masked_text import MaskedMeanTextTower, sinusoids
from ovseg.encoders.tipsv2 import PUBLISHED, TIPSv2Model, TIPSv2Size, from_published, load_tipsv2
from ovseg.errors import UserError
from ovseg.text.sentence_pieces import Bytes, SentencePieces

SIZE = {
    'width': 16,
    'layers': 2,
    'heads': 2,
    'hidden': 32,
    'text_hidden': 32,
    'text_layers': 1,
    'image_size': 28,
    'vocabulary': 60,
}
GATED = {**SIZE, 'gated': True, 'hidden': 24}


def published(size, seed=0):
    """Random weights under the published names, with their position of the class token."""
    torch.manual_seed(seed)
    state = TIPSv2Model(TIPSv2Size(**size)).state_dict()
    names = {'fc1': 'w12', 'fc2': 'w3'} if size.get('gated') else {}
    found = {'vision_encoder.mask_token': torch.zeros(1, 16)}
    for name, value in state.items():
        tower, _, rest = name.partition('.')
        if name == 'logit_scale':
            continue
        for ours, theirs in names.items():
            rest = rest.replace(f'mlp.{ours}.', f'mlp.{theirs}.')
        rest = rest.replace('reg_token', 'register_tokens')
        found[f'{"vision" if tower == "visual" else "text"}_encoder.{rest}'] = value.clone()
    first = torch.randn(1, 1, 16)
    table = found['vision_encoder.pos_embed']
    found['vision_encoder.pos_embed'] = torch.cat([first, table], dim=1)
    found['vision_encoder.cls_token'] -= first
    return found


@pytest.mark.parametrize('size', [SIZE, GATED])
def test_a_published_file_loads_strictly_whatever_way_it_is_named(size, tmp_path):
    state = published(size)
    save_file(state, tmp_path / 'model.safetensors')
    torch.manual_seed(0)
    wanted = TIPSv2Model(TIPSv2Size(**size)).state_dict()
    for given in (tmp_path, tmp_path / 'model.safetensors'):
        loaded = build_vision_language({'type': 'TIPSv2', 'model': size, 'pretrained': given})
        for name, value in loaded.model.state_dict().items():
            assert torch.allclose(value, wanted[name], atol=1e-6), name
        assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
        assert (loaded.mean, loaded.std) == ((0.0,) * 3, (1.0,) * 3)
    assert abs(float(loaded.model.logit_scale.exp()) - 197.4) < 0.05


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: state.pop('text_encoder.ln_final.bias'), r'text\.ln_final\.bias'),
        (lambda state: state.update({'vision_encoder.more': torch.ones(1)}), r'visual\.more'),
        (lambda state: state.update({'decoder.weight': torch.ones(1)}), r'decoder\.weight'),
    ],
)
def test_a_file_with_other_tensors_is_refused(change, message, tmp_path):
    state = published(SIZE)
    change(state)
    torch.save(state, tmp_path / 'other.pt')
    with pytest.raises(UserError, match=message):
        load_tipsv2(SIZE, tmp_path / 'other.pt')


def test_names_and_sizes_that_there_are_not_are_refused():
    with pytest.raises(UserError, match=r"clip\.model must be one of tipsv2-b14, .* 'tipsv2-l14'"):
        load_tipsv2('tipsv2-l4', 'random')
    with pytest.raises(UserError, match="must name a file, or 'random'"):
        load_tipsv2(SIZE)
    with pytest.raises(UserError, match='clip.model'):
        load_tipsv2({**SIZE, 'depth': 3}, 'random')


@pytest.mark.parametrize('name', PUBLISHED)
def test_sizes_are_those_of_the_release(name):
    with torch.device('meta'):
        model = TIPSv2Model(PUBLISHED[name])
    counts = {'tipsv2-b14': (86, 110), 'tipsv2-l14': (304, 184), 'tipsv2-so400m14': (413, 448)}
    found = tuple(
        round(sum(value.numel() for value in tower.parameters()) / 1e6)
        for tower in (model.visual, model.text)
    )
    assert found == counts.get(name, (1136, 389))


@torch.no_grad()
def test_the_text_tower_equals_that_of_transformers():
    transformers = pytest.importorskip('transformers', reason='ovseg[transformers] is missing')
    config = transformers.Tipsv2TextConfig(
        vocab_size=60,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    torch.manual_seed(0)
    theirs = transformers.Tipsv2TextModel(config).eval()
    ours = MaskedMeanTextTower(60, 16, 2, 2, 32).eval()
    for parameter in ours.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    state = theirs.state_dict()
    state['embeddings.token_embedding.weight'] = ours.token_embedding.weight
    state['final_layer_norm.weight'] = ours.ln_final.weight
    state['final_layer_norm.bias'] = ours.ln_final.bias
    for number, block in enumerate(ours.transformer.resblocks):
        place = f'encoder.layers.{number}'
        for index, which in enumerate('qkv'):
            for kind in ('weight', 'bias'):
                part = getattr(block.attn, f'in_proj_{kind}').chunk(3)[index]
                state[f'{place}.self_attn.{which}_proj.{kind}'] = part
        for kind in ('weight', 'bias'):
            state[f'{place}.self_attn.out_proj.{kind}'] = getattr(block.attn.out_proj, kind)
            state[f'{place}.layer_norm1.{kind}'] = getattr(block.ln_1, kind)
            state[f'{place}.layer_norm2.{kind}'] = getattr(block.ln_2, kind)
            state[f'{place}.mlp.fc1.{kind}'] = getattr(block.mlp.c_fc, kind)
            state[f'{place}.mlp.fc2.{kind}'] = getattr(block.mlp.c_proj, kind)
    theirs.load_state_dict(state)
    tokens = torch.randint(1, 60, (4, 12))
    for row, length in enumerate((12, 5, 1, 9)):
        tokens[row, length:] = 0
    wanted = theirs(tokens, attention_mask=(tokens != 0).long()).pooler_output
    assert torch.allclose(ours(tokens), wanted, atol=1e-5)


@torch.no_grad()
def test_filling_changes_no_sentence_and_a_sentence_of_nothing_is_finite():
    torch.manual_seed(0)
    tower = MaskedMeanTextTower(60, 16, 1, 2, 32).eval()
    tokens = torch.tensor([[5, 9, 0, 0], [7, 8, 9, 3], [0, 0, 0, 0]])
    together = tower(tokens)
    assert torch.allclose(together[:1], tower(tokens[:1, :2]), atol=1e-6)
    assert torch.isfinite(together).all() and not together[2].any()
    assert sinusoids(3, 5)[:, 4].tolist() == [0.0] * 3


@pytest.fixture(scope='module')
def pieces(tmp_path_factory):
    """The path of a small SentencePiece model."""
    trainer = pytest.importorskip('sentencepiece', reason='ovseg[transformers] is missing')
    folder = tmp_path_factory.mktemp('pieces')
    (folder / 'text.txt').write_text('a photo of a red star\nthe blue house\n' * 20)
    trainer.SentencePieceTrainer.train(
        input=str(folder / 'text.txt'),
        model_prefix=str(folder / 'tokenizer'),
        vocab_size=40,
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return folder / 'tokenizer.model'


def test_sentences_become_pieces_lower_cased_without_marks_and_filled_up(pieces):
    tokenizer = SentencePieces(lambda: pieces, 16)
    lower, upper, strange = tokenizer(['a red star', 'A Red STAR', '北 star'])
    assert torch.equal(lower, upper) and tuple(lower.shape) == (16,)
    assert lower[0] > 1 and lower[-1] == 0
    assert (strange == 1).any()  # unknown, not left out
    assert tuple(tokenizer(['a red star'], 2).shape) == (1, 2)


def test_a_tokenizer_is_looked_for_when_words_are_asked_and_no_sooner(pieces, tmp_path):
    state = published(SIZE)
    torch.save(state, tmp_path / 'tipsv2.pt')
    loaded = load_tipsv2(SIZE, tmp_path / 'tipsv2.pt', tmp_path / 'nothing.model')
    with pytest.raises(FileNotFoundError, match=r'nothing\.model'):
        loaded.text_encoder(None).encode(['a star'])
    (tmp_path / 'nothing.model').write_bytes(b'no tokenizer')
    with pytest.raises(UserError, match='is no model of SentencePiece'):
        loaded.text_encoder(None).encode(['a star'])
    with_words = load_tipsv2(SIZE, tmp_path / 'tipsv2.pt', pieces)
    rows = with_words.text_encoder(None).encode(['a red star', 'the house'])
    assert rows.shape == (2, 16) and not torch.allclose(rows[0], rows[1])


def test_bytes_stand_for_pieces_where_weights_know_no_words():
    ids = Bytes(60, 8)(['Ab', 'ab', 'é'])
    assert torch.equal(ids[0], ids[1]) and 0 < int(ids.max()) < 60 and ids[2, 1] > 0


def test_names_that_are_no_weights_stay_for_the_loader_to_refuse():
    assert set(from_published({'vision_encoder.norm.bias': 1, 'x': 2})) == {'visual.norm.bias', 'x'}
