"""Ranks sentence templates on images without labels, for template experts (FLOSS)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ovseg.apis.encoded_image import identity_of
from ovseg.apis.segmenter import OpenVocabSegmenter
from ovseg.budget import MemoryBudget
from ovseg.errors import UserError
from ovseg.files import written_whole
from ovseg.input_files import cause_of, read_json, with_content
from ovseg.segmentors.base import Segmentor
from ovseg.segmentors.training_free import TrainingFreeSegmentor
from ovseg.text import Classifier, build_classifier
from ovseg.text.experts import TemplateEntropy, TemplateRanking
from ovseg.vocabulary import Vocabulary, get_templates


@dataclass
class RankingState:
    """What was found so far, in a file that a killed run goes on from.

    Attributes:
        path: of the file.
        question: what is ranked by what; a file of another question is refused.
        found: over the images that are done.
        done: these images.
    """

    path: Path
    question: dict[str, Any]
    found: TemplateEntropy
    done: list[str]

    @classmethod
    def opened(cls, path: Path, question: dict[str, Any]) -> RankingState:
        """The state of a file; of no image where there is none.

        Args:
            path: of the file.
            question: see above.

        Raises:
            UserError: the file belongs to another question, or is none of these.
        """
        sizes = len(question['templates']), len(question['classes'])
        if not os.path.isfile(path):
            return cls(path, question, TemplateEntropy.empty(*sizes), [])
        content = read_json(path, 'state of a ranking')
        if not isinstance(content, dict) or content.get('question') != question:
            raise UserError(
                f'{path} is the state of a run with another model, other words or templates: '
                'remove it to begin anew, or name another --out'
            )
        try:
            sums, pixels = (
                torch.tensor(content[key], dtype=torch.float64).reshape(sizes)
                for key in ('sums', 'pixels')
            )
            total, done = float(content['total']), [str(image) for image in content['done']]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f'{path} is damaged ({cause_of(error)}): remove it') from error
        return cls(path, question, TemplateEntropy(sums, pixels, total), done)

    def save(self) -> None:
        """Write the file, at once or not at all."""
        content = {
            'question': self.question,
            'done': self.done,
            'total': self.found.total,
            'sums': self.found.sums.tolist(),
            'pixels': self.found.pixels.tolist(),
        }
        with written_whole(self.path) as temporary:
            temporary.write_text(json.dumps(content), encoding='utf-8')


def single_template_classifiers(
    segment: OpenVocabSegmenter, vocabulary: Vocabulary
) -> list[Classifier]:
    """The classifier of each template alone; sentences of the cache are not encoded again.

    Args:
        segment: whose templates.
        vocabulary: the classes.

    Raises:
        UserError: the model scores no pixels by words in templates.
    """
    model = segment.model
    if not isinstance(model, TrainingFreeSegmentor):
        raise UserError(
            f'{segment.name} does not score pixels by sentences: take a model that does, such as '
            'maskclip-vit-b16'
        )
    settings = {**model.text.settings, 'experts': None}
    templates = get_templates(settings.pop('templates', 'openai-80'))
    return [
        build_classifier(vocabulary, model.text.encoder, [template], **settings).to(segment.device)
        for template in templates
    ]


def rank_templates(
    segment: OpenVocabSegmenter,
    images: Iterable[str],
    words: Any,
    state_path: Path,
    dataset: str = '',
    failed: Callable[[str, Exception], None] | None = None,
) -> TemplateRanking:
    """The templates of each class by how unsure their classifiers are where the class wins.

    Args:
        segment: the model, with the templates that are ranked.
        images: files without labels, of the kind that is to be segmented later.
        words: the classes, as :meth:`OpenVocabSegmenter.segment` takes them.
        state_path: where the sums are kept after each image; a run with the same question goes on.
        dataset: what the images are called in the ranking.
        failed: told of images that cannot be read; None to stop at the first.

    Raises:
        UserError: a model without templates, no image, or a state of another question.
    """
    vocabulary, _ = segment.question(words)
    classifiers = single_template_classifiers(segment, vocabulary)
    text = segment.model.text
    question = {
        'model': segment.name,
        'weights': identity_of(segment.model),
        'text': text.space,
        'settings': {key: str(with_content(text.settings[key])) for key in sorted(text.settings)},
        'classes': list(vocabulary.names),
        'words': [[*item.prompts, *item.descriptions] for item in vocabulary],
        'templates': list(get_templates(text.settings.get('templates', 'openai-80'))),
    }
    state = RankingState.opened(state_path, question)
    known = set(state.done)
    for image in images:
        if image in known:
            continue
        try:
            encoded = segment.encode(image)
        except (UserError, OSError) as error:
            if failed is None:
                raise
            failed(image, error)
            continue
        size = (encoded.image.shape[0], encoded.image.shape[1])
        state.found = segment.memory.in_strips(
            partial(_counted, segment.model, encoded.encoding, classifiers, size, state.found),
            size,
            len(vocabulary),
        )
        state.done.append(image)
        state.save()
    if not state.done:
        raise UserError('there is no image to rank templates on')
    return TemplateRanking.of_entropy(
        state.found,
        vocabulary.names,
        segment.name,
        dataset,
        f'{len(state.done)} images',
        question['templates'],
    )


def _counted(
    model: Segmentor,
    encoding: Any,
    classifiers: Sequence[Classifier],
    size: tuple[int, int],
    before: TemplateEntropy,
    budget: MemoryBudget,
) -> TemplateEntropy:
    """The sums with an image more; those before stay as they are, as memory may run out."""
    found = TemplateEntropy(before.sums.clone(), before.pixels.clone(), before.total)
    for template, classifier in enumerate(classifiers):
        scores, rule = model.scores(encoding, classifier, size, budget), model.rule(classifier)
        for start, stop in scores.strips(budget):
            found.add(template, rule.probabilities(scores.rows(start, stop)[None])[0])
    return found
