"""Parity with what is trained lightly: CoOp, CLIP-Adapter and VDT-Adapter."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg.encoders import load_clip
from ovseg.encoders.clip import build_architecture
from ovseg.text.causal_tower import find_causal_tower
from ovseg.text.cosine import cosine_logits
from ovseg.text.learned_contexts import (
    embed_with_contexts,
    encode_with_contexts,
    tokenize_for_contexts,
)
from ovseg.training.learners.feature_adapter import FeatureAdapter, SentenceAdapter
from ovseg.training.learners.files import (
    adapter_state,
    read_contexts,
    write_adapter,
    write_contexts,
)
from ovseg.weight_files import load_strictly, read_checkpoint
from parity.golden import clip_config, saved
from parity.report import EXACT, Case, Tolerance

_UNIT = Tolerance(atol=1e-5)
_LOGITS = Tolerance(atol=1e-5, rtol=1e-5)


@torch.no_grad()
def check_coop(file: Case, folder: Path) -> None:
    """CoOp: contexts from its files, among the tokens, and through CLIP's text tower."""
    config = file['config']
    width = config['transformer_width']
    sizes = {'image_size': 8, 'patch_size': 8, 'width': 8, 'layers': 1, 'heads': 1}
    architecture = {
        **clip_config({**sizes, 'embed_dim': config['embed_dim']}),
        'text_cfg': {
            'context_length': config['context_length'],
            'vocab_size': config['vocab'],
            'width': width,
            'heads': config['heads'],
            'layers': config['layers'],
        },
    }
    random = build_architecture(architecture).state_dict()
    vision = {key: value for key, value in random.items() if key.startswith('visual.')}
    with saved(clip={**vision, **file.content['state_dict']}) as files:
        clip = load_clip(architecture, files['clip']).model
    file.compare_weights('state_dict', clip.state_dict())
    tower = find_causal_tower(clip)

    def tokenizer(sentences: Sequence[str]) -> Tensor:
        tokens = torch.zeros(len(sentences), config['context_length'], dtype=torch.int64)
        for row, sentence in enumerate(sentences):
            words = sentence.replace('.', ' .').split()
            numbers = [config['sot'], *(config['word_ids'][w] for w in words), config['eot']]
            tokens[row, : len(numbers)] = torch.tensor(numbers)
        return tokens

    names = tokenize_for_contexts(config['names'], config['n_ctx'], tower, tokenizer)
    for case in file.cases('outputs'):
        position = case.path.rpartition('_')[2]
        golden = case.wanted('ctx')
        with tempfile.TemporaryDirectory() as place:
            published = Path(place, 'model.pth.tar-50')
            state = {'ctx': golden, 'token_prefix': torch.zeros(1), 'token_suffix': golden[:0]}
            torch.save({'state_dict': state, 'epoch': 50}, published)
            contexts, epoch = read_contexts(published)
            sentences = embed_with_contexts(names, contexts, 'end', tower)
            written = Path(place, 'model.pth.tar-51')
            write_contexts(written, contexts, sentences, epoch + 1)
            again = read_checkpoint(written)['state_dict']
            case.compare(EXACT, ctx=contexts)
            case.compare_as('ctx.written', again['ctx'], golden, EXACT)
        case.compare(EXACT, tokenized=names.tokens, name_lens=list(names.name_lengths))
        prompts = embed_with_contexts(names, contexts, position, tower)
        case.compare(_UNIT, prompts=prompts)
        if position == 'end':
            beside = torch.cat([again['token_prefix'], again['token_suffix']], 1)
            wanted = case.wanted('prompts')
            wanted = torch.cat([wanted[:, :1], wanted[:, 1 + config['n_ctx'] :]], 1)
            case.compare_as('prompts.written', beside, wanted, EXACT)
        case.compare(_UNIT, text=encode_with_contexts(names, contexts, position, tower))


@torch.no_grad()
def check_clip_adapter(file: Case, folder: Path) -> None:
    """CLIP-Adapter: from its file, on features, and written again."""
    config, inputs = file['config'], file.inner('inputs')
    adapter = FeatureAdapter(config['dim'], config['reduction'], config['ratio'])
    _loaded(file, adapter)
    mixed = adapter(inputs['features'])
    file.inner('intermediate').compare(_UNIT, mixed=mixed)
    text = F.normalize(inputs['text'], dim=-1)
    logits = cosine_logits(mixed, text, config['logit_scale'])
    file.inner('outputs').compare(_LOGITS, logits=logits)


@torch.no_grad()
def check_vdt_adapter(file: Case, folder: Path) -> None:
    """VDT-Adapter: from its file, on the sentences of classes."""
    config, sentences = file['config'], file.inner('inputs')['descriptions']
    adapter = SentenceAdapter(config['dim'], config['reduction'], config['ratio']).eval()
    _loaded(file, adapter)
    file.inner('intermediate').compare(_UNIT, adapted=adapter(sentences))
    file.inner('outputs').compare(_UNIT, text=adapter.rows(sentences))


def _loaded(file: Case, adapter: torch.nn.Module) -> None:
    """An adapter with the weights of a file in the published format, which is written again."""
    golden = file.content['state_dict']
    with saved(adapter={'state_dict': golden, 'epoch': 1}) as files:
        load_strictly(adapter, adapter_state(read_checkpoint(files['adapter'])), files['adapter'])
    with tempfile.TemporaryDirectory() as place:
        written = Path(place, 'adapter.pth')
        write_adapter(written, adapter.state_dict(), 2)
        file.compare_weights('state_dict', read_checkpoint(written)['state_dict'], whole=True)
