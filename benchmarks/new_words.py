"""What the first question with new words costs, and the second, on an image that is encoded.

    python benchmarks/new_words.py [--model ViT-B-16-quickgelu] [--threads 2] [--rounds 3]

Random weights and 80 templates. In each round words that nobody asked before are encoded in two
ways in turn: with every sentence as long as the context, as open_clip runs it, and as ovseg does,
without what stands behind a sentence's end and with common beginnings once. Processor time is
printed beside the time on the clock: on a machine that does other work only the first one tells.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from ovseg.segmentors import TrainingFreeSegmentor

_THINGS = ('sofa', 'floor', 'kettle', 'bicycle', 'curtain', 'ladder', 'bucket', 'pillow')


def new_words(number: int, phrases: int) -> str:
    """Phrases that no other number has."""
    return '; '.join(f'{_THINGS[i % len(_THINGS)]} of kind {number}' for i in range(phrases))


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock and of the processor, all threads together."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processor


class Question:
    """A model with random weights and an encoded image, asked about words.

    Args:
        architecture: open_clip's name.
        side: of the image, in pixels.
        cache_dir: of text encodings.
    """

    def __init__(self, architecture: str, side: int, cache_dir: str) -> None:
        from ovseg.images import Images
        from ovseg.segmentors import TrainingFreeSegmentor

        self.model: TrainingFreeSegmentor = TrainingFreeSegmentor(
            clip={'model': architecture, 'pretrained': 'random'}, text={'cache_dir': cache_dir}
        )
        self.size = (side, side)
        with torch.inference_mode():
            [self.encoding] = self.model.encode(Images(torch.randn(1, 3, side, side)))
        self.ask('anything')  # what a process does once: hashes of weights and tokenizer

    @torch.inference_mode()
    def ask(self, words: str) -> torch.Tensor:
        """Labels of words, encoded if they are new."""
        from ovseg.vocabulary import build_vocabulary

        classifier = self.model.build_classifier(build_vocabulary(words))
        return self.model.segment(self.encoding, self.size, classifier).labels

    def ask_whole_sentences(self, words: str) -> torch.Tensor:
        """The same, its new sentences as long as the context."""
        from ovseg.text import encoder

        find = encoder._causal_tower
        encoder._causal_tower = lambda clip: None
        try:
            return self.ask(words)
        finally:
            encoder._causal_tower = find


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='ViT-B-16-quickgelu', help="open_clip's name")
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--phrases', type=int, nargs='+', default=(1, 2, 20))
    parser.add_argument('--side', type=int, default=448, help='of the image, in pixels')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        question = Question(args.model, args.side, folder)
        number = 0
        for phrases in args.phrases:
            rows: dict[str, list[tuple[float, float]]] = {'whole': [], 'ours': [], 'again': []}
            for _ in range(args.rounds):
                number += 2
                first, second = (new_words(number + i, phrases) for i in range(2))
                rows['whole'].append(timed(lambda words=first: question.ask_whole_sentences(words)))
                rows['ours'].append(timed(lambda words=second: question.ask(words)))
                rows['again'].append(timed(lambda words=second: question.ask(words)))
            for way, times in rows.items():
                clock, processor = (np.array(column) for column in zip(*times, strict=True))
                print(
                    f'{phrases:3} new phrases, {way:5}: {statistics.median(clock):7.2f} s '
                    f'({clock.min():.2f} to {clock.max():.2f}), processor '
                    f'{statistics.median(processor):6.2f} s'
                )
            ratios = [
                whole[1] / ours[1] for whole, ours in zip(rows['whole'], rows['ours'], strict=True)
            ]
            print(
                f'{phrases:3} new phrases: whole sentences take {statistics.median(ratios):.1f} '
                f'times the processor time ({min(ratios):.1f} to {max(ratios):.1f})'
            )


if __name__ == '__main__':
    main()
