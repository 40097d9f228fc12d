"""Tiny tokenizers in folders, as the hub has them, made here without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

# Of several scripts, with capitals and with marks; every character of WORDS is in the pieces.
WORDS = ('猫', '北京的街道', 'große Straße', 'Äpfel', 'قطة', 'شارع في المدينة', 'traffic light')
CORPUS = ['A photo of a cat.', 'a photo of a cat', 'STAR! star, "dog"', *WORDS]
PAD, END, UNKNOWN = 0, 1, 2


def unigram_folder(folder: Path, side: str = 'left', **settings) -> Path:
    """A tokenizer of pieces with scores, an end token, and 0 to fill up with on a side."""
    tokenizers = pytest.importorskip('tokenizers', reason='comes with transformers')
    transformers = pytest.importorskip('transformers', reason='ovseg[transformers]')
    special = ['<pad>', '</s>', '<unk>']
    pieces = tokenizers.Tokenizer(tokenizers.models.Unigram())
    pieces.normalizer = tokenizers.normalizers.NFKC()
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    pieces.decoder = tokenizers.decoders.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=200, special_tokens=special, unk_token='<unk>', show_progress=False
    )
    pieces.train_from_iterator(CORPUS, trainer)
    pieces.post_processor = tokenizers.processors.TemplateProcessing(
        single='$A </s>', special_tokens=[('</s>', END)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        padding_side=side,
        **{'pad_token': '<pad>', 'eos_token': '</s>', 'unk_token': '<unk>', **settings},
    ).save_pretrained(folder)
    return folder


def sentencepiece_folder(folder: Path, kind: str) -> Path:
    """A tokenizer as a SentencePiece model, which transformers converts: of a class of its."""
    sentencepiece = pytest.importorskip('sentencepiece', reason='ovseg[transformers]')
    pytest.importorskip('transformers', reason='ovseg[transformers]')
    folder.mkdir(exist_ok=True)
    corpus = folder / 'corpus.txt'
    corpus.write_text('\n'.join(CORPUS), encoding='utf-8')
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / 'spiece'), vocab_size=90,
        character_coverage=1.0, pad_id=PAD, eos_id=END, unk_id=UNKNOWN, bos_id=-1,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / 'tokenizer_config.json').write_text(
        json.dumps({'tokenizer_class': kind, 'pad_token': '<pad>', 'model_max_length': 64}),
        encoding='utf-8',
    )
    return folder
