"""Words on Scenes: mIoU of each combining rule, and what contrast words reject.

    python benchmarks/words_on_scenes.py                # the tables of docs/words.md
    python benchmarks/words_on_scenes.py --scenes 5

Rules: an object has its name and a phrase a colour (``red star``) for words, a material its name.
Contrast: three materials and five objects are left out of the vocabulary. Rejected are pixels that
end in the background; the IoU of a class counts the pixels of all that was left out.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from ovseg.apis import OpenVocabSegmenter
from ovseg.errors import Notice
from ovseg.scenes.datasets import CLASSES, class_labels
from ovseg.scenes.draw import draw
from ovseg.scenes.known_words import other_things
from ovseg.scenes.world import COLORS, MATERIALS, OBJECTS, sample_scene
from ovseg.text import build_classifier
from ovseg.text.combine import Combine
from ovseg.text.contrast import with_contrast
from ovseg.vocabulary import Vocabulary

# Not asked for when contrast words are measured: materials that are to be rejected, and objects
# that are passed over, so that there are other words in this world.
_LEFT_OUT = ('sand', 'snow', 'brick wall')
_PASSED_OVER = OBJECTS[5:]


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints two tables in Markdown.

    Args:
        argv: the words; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='maskclip-tiny')
    parser.add_argument('--scenes', type=int, default=20, help='of the validation split')
    args = parser.parse_args(argv)
    warnings.simplefilter('ignore', Notice)
    segment = OpenVocabSegmenter(args.model, device='cpu', precision='float32')
    model, text = segment.model, segment.model.text
    templates = text.settings.get('templates', 'openai-80')
    scenes = []
    for number in range(args.scenes):
        scene = sample_scene('val', number)
        picture = draw(scene)
        truth = torch.from_numpy(class_labels(scene, picture)).long()
        scenes.append((segment.encode(np.ascontiguousarray(picture.image)).encoding, truth))

    def ask(vocabulary: Vocabulary, combine: str = 'mean') -> list[tuple[Tensor, Tensor]]:
        """Labels and truth of each scene as indices into ``CLASSES``; -1 for the background."""
        classifier = build_classifier(vocabulary, text.encoder, templates, combine=combine)
        place = torch.tensor([CLASSES.index(n) if n in CLASSES else -1 for n in vocabulary.names])
        return [
            (place[model.segment(encoding, tuple(truth.shape), classifier).labels], truth)
            for encoding, truth in scenes
        ]

    print_rules(ask)
    asked = [name for name in CLASSES if name not in (*_LEFT_OUT, *_PASSED_OVER)]
    rest, others = Vocabulary.parse(asked), other_things(asked)
    print('\n| contrast | left-out pixels rejected | known pixels rejected | mIoU of the known |')
    print('|---|---|---|---|')
    without = [word for word in others if word not in _LEFT_OUT]
    for title, source, words in (
        ('`none`', 'none', None),
        ('`background`', 'background', None),
        ('`auto`, had it no word for what was left out', 'auto', without),
        ('`auto`', 'auto', others),
    ):
        beside = with_contrast(rest, text.encoder, source, templates, words=words)
        print(f'| {title} | {_row(ask(beside), asked)} |')


def print_rules(ask: Callable[..., list[tuple[Tensor, Tensor]]]) -> None:
    """Prints the table of combining rules.

    Args:
        ask: gives labels and truth of every scene.
    """
    colored = {name: [name, *(f'{color} {name}' for color in COLORS)] for name in OBJECTS}
    alone = Vocabulary.parse([[name] for name in CLASSES])
    several = Vocabulary.parse({**{name: [name] for name in MATERIALS}, **colored})
    print('| rule | mIoU, names alone | mIoU, name and colours |\n|---|---|---|')
    for rule in get_args(Combine):
        found = [
            100 * _mean_iou(ask(words, rule), range(len(CLASSES))) for words in (alone, several)
        ]
        print(f'| `{rule}` | {found[0]:.1f} | {found[1]:.1f} |')


def _row(pairs: list[tuple[Tensor, Tensor]], asked: Sequence[str]) -> str:
    shares = []
    for names in (_LEFT_OUT, asked):
        labels = torch.tensor([CLASSES.index(name) for name in names])
        chosen = [found[torch.isin(truth, labels)] for found, truth in pairs]
        shares.append(float((torch.cat(chosen) == -1).float().mean()))
    known = [CLASSES.index(name) for name in asked]
    return ' | '.join(f'{100 * value:.1f}' for value in (*shares, _mean_iou(pairs, known)))


def _mean_iou(pairs: list[tuple[Tensor, Tensor]], labels: Sequence[int]) -> float:
    ious = []
    for label in labels:
        both = sum(int(((found == label) & (truth == label)).sum()) for found, truth in pairs)
        any_of = sum(int(((found == label) | (truth == label)).sum()) for found, truth in pairs)
        if any_of:
            ious.append(both / any_of)
    return float(np.mean(ious))


if __name__ == '__main__':
    main()
