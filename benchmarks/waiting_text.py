"""What a text tower costs a program whose words have rows already: memory and time to start.

    python benchmarks/waiting_text.py ViT-B-16-quickgelu tipsv2-l14 [--threads 1] [--rounds 3]

A file of the full size with random weights is written for each model, in the format in which it is
published, and read once, so that its words have rows. Then processes start in turn, with both
towers and with the vision tower alone. Each prints how long it took from the imports to a
classifier, and how much memory it has then (what the imports take is taken off): with words that
have rows, and after a new one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORDS, NEW = 'wall; building; sky; floor; tree', 'a samovar'
MEGABYTE = 1e6
# Rows of the table: the way of building, and whether a new word is asked.
WAYS = {
    'both towers': ('both', False),
    'the vision tower': ('vision', False),
    'the vision tower, then a new word': ('vision', True),
}


def write_files(name: str, folder: Path) -> dict[str, Any]:
    """Writes random weights of a model and returns its ``model.clip``."""
    from safetensors.torch import save_file

    from ovseg.encoders import build_vision_language

    path = folder / f'{name}.safetensors'
    if not name.startswith('tipsv2'):
        built = build_vision_language({'model': name, 'pretrained': 'random'}).model
        save_file(built.state_dict(), path)
        return {'model': name, 'pretrained': str(path)}
    import torch

    config = {'type': 'TIPSv2', 'model': name}
    state = build_vision_language({**config, 'pretrained': 'random'}).model.state_dict()
    del state['logit_scale']
    published = {
        key.replace('visual.', 'vision_encoder.', 1).replace('reg_token', 'register_tokens')
        if key.startswith('visual.')
        else key.replace('text.', 'text_encoder.', 1): value
        for key, value in state.items()
    }
    table = published['vision_encoder.pos_embed']
    published['vision_encoder.pos_embed'] = torch.cat([torch.zeros_like(table[:, :1]), table], 1)
    save_file(published, path)
    return {**config, 'pretrained': str(path), 'tokenizer': _write_pieces(folder)}


def _write_pieces(folder: Path) -> str:
    """A small tokenizer of SentencePiece, since the published one is not at hand everywhere."""
    from sentencepiece import SentencePieceTrainer

    (folder / 'text.txt').write_text(f'a photo of a {WORDS}\n{NEW}\n' * 20, encoding='utf-8')
    SentencePieceTrainer.train(
        input=str(folder / 'text.txt'), model_prefix=str(folder / 'tokenizer'), vocab_size=60,
        hard_vocab_limit=False, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, minloglevel=2,
    )  # fmt: skip
    return str(folder / 'tokenizer.model')


def resident() -> tuple[float, float]:
    """Megabytes that this process has now, and the most that it had."""
    facts = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())
    now, most = (float(facts[key].split()[0]) * 1024 / MEGABYTE for key in ('VmRSS', 'VmHWM'))
    return now, most


def build(clip: dict[str, Any], cache: str) -> Any:
    """A model that was asked for the words."""
    from ovseg.segmentors import TrainingFreeSegmentor

    text = {'cache_dir': cache, 'templates': 'single'}
    return TrainingFreeSegmentor(clip=clip, vocabulary=WORDS, text=text)


def start(clip: dict[str, Any], cache: str, way: str, threads: int) -> dict[str, float]:
    """Builds a model in this process and asks for its words."""
    import torch

    import ovseg.segmentors  # noqa: F401  imports do not count

    torch.set_num_threads(threads)
    towers, asks_new = WAYS[way]
    if towers == 'both':
        clip = {**clip, 'text_cache': None}
    before, _ = resident()
    clock, processor = time.perf_counter(), time.process_time()
    model = build(clip, cache)
    if asks_new:
        model.set_vocabulary(f'{NEW} of {os.getpid()}')  # which no round before this one asked
    took = time.perf_counter() - clock, time.process_time() - processor
    now, most = resident()
    is_alone = hasattr(model.clip, 'waiting_text')
    assert is_alone == (towers == 'vision')
    assert not is_alone or model.clip.waiting_text.is_loaded == asks_new
    return dict(
        zip(
            ('clock', 'processor', 'now', 'most'),
            (*took, now - before, most - before),
            strict=True,
        )
    )


def measure(name: str, threads: int, rounds: int) -> None:
    """Prints the rows of a model, medians over rounds in which the ways take turns."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, name, '--threads', str(threads), '--child']

        def child(*what: str) -> Any:
            done = subprocess.run([*command, folder, *what], check=True, stdout=subprocess.PIPE)
            return json.loads(done.stdout.splitlines()[-1])

        clip = json.dumps(child('write'))
        child('first', clip)
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                found[way].append(child(way, clip))
    for way, runs in found.items():
        seen = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f'{name:20} {way:35} {seen["now"]:6.0f} MB (at most {seen["most"]:.0f}), '
            f'{seen["clock"]:5.1f} s, processor {seen["processor"]:5.1f} s'
        )


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('models', nargs='+', help="open_clip's names, or tipsv2-*")
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--child', nargs='+', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.child:
        for name in args.models:
            measure(name, args.threads, args.rounds)
        return
    folder, what, *clip = args.child
    if what == 'write':
        print(json.dumps(write_files(args.models[0], Path(folder))))
        return
    if what == 'first':
        build(json.loads(clip[0]), folder)
        print('{}')
        return
    print(json.dumps(start(json.loads(clip[0]), folder, what, args.threads)))


if __name__ == '__main__':
    main()
