"""Template experts (FLOSS): each class asks by the one sentence that is surest of it.

A ranking says which template that is, learned from images without labels: where a class wins, how
unsure the whole classifier of that template is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovseg.errors import UserError, notify
from ovseg.files import written_whole
from ovseg.input_files import read_json
from ovseg.text.classifier import Classifier
from ovseg.vocabulary.parsing import name_key
from ovseg.vocabulary.vocabulary import Vocabulary

# Keeps the logarithm of a probability of 0 finite. Source: FLOSS, entropy_metric.py.
_TINY = 1e-10
_SHOWN = 4


@dataclass
class TemplateEntropy:
    """How unsure the classifier of each template is where a class wins, summed over images.

    Attributes:
        sums: (T, K) float64, entropies of the pixels that a class wins.
        pixels: (T, K) float64, how many these are.
        total: pixels seen of each template.
    """

    sums: Tensor
    pixels: Tensor
    total: float = 0.0

    @classmethod
    def empty(cls, templates: int, classes: int) -> TemplateEntropy:
        """Of no image.

        Args:
            templates: T.
            classes: K.
        """
        zeros = torch.zeros(templates, classes, dtype=torch.float64)
        return cls(zeros, zeros.clone())

    def add(self, template: int, probabilities: Tensor) -> None:
        """Count some pixels.

        Args:
            template: whose classifier gave the probabilities.
            probabilities: (K, ...), of the classes.
        """
        shares = probabilities.flatten(1).double()
        entropy = -(shares * (shares + _TINY).log()).sum(0)
        winner = shares.argmax(0)
        self.sums[template].index_add_(0, winner.cpu(), entropy.cpu())
        self.pixels[template] += winner.cpu().bincount(minlength=len(shares)).double()
        if template == 0:
            self.total += shares.shape[1]

    @property
    def mean(self) -> Tensor:
        """(T, K) float64, mean entropy of a class's pixels; 0 where it has none."""
        return self.sums / self.pixels.clamp_min(1)


@dataclass(frozen=True)
class Ranked:
    """A template in the ranking of a class.

    Attributes:
        template: its number in the template set.
        entropy: mean over the pixels that the class wins under it.
        percentage: of all pixels, in [0, 100].
    """

    template: int
    entropy: float
    percentage: float


@dataclass(frozen=True)
class TemplateRanking:
    """The templates of each class, the surest first.

    Attributes:
        classes: by class name.
        model: that ranked.
        dataset: on whose images.
        split: which of them.
        source: what messages call it.
    """

    classes: Mapping[str, tuple[Ranked, ...]]
    model: str = ''
    dataset: str = ''
    split: str = ''
    source: str = 'the ranking'
    _by_name: dict[str, tuple[Ranked, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {_key(name): ranked for name, ranked in self.classes.items()}
        object.__setattr__(self, '_by_name', by_name)

    @classmethod
    def of_entropy(
        cls,
        found: TemplateEntropy,
        names: Sequence[str],
        model: str = '',
        dataset: str = '',
        split: str = '',
    ) -> TemplateRanking:
        """Templates by entropy; those under which a class never wins are not ranked.

        Args:
            found: over some images.
            names: of the classes.
            model: that ranked.
            dataset: on whose images.
            split: which of them.
        """
        classes: dict[str, tuple[Ranked, ...]] = {}
        for label, name in enumerate(names):
            entropy, pixels = found.mean[:, label], found.pixels[:, label]
            order = entropy.argsort(stable=True).tolist()
            classes[name] = tuple(
                Ranked(
                    template, float(entropy[template]), 100 * float(pixels[template]) / found.total
                )
                for template in order
                if pixels[template] > 0
            )
        return cls(classes, model, dataset, split)

    def experts(self, vocabulary: Vocabulary, templates: int) -> list[int | None]:
        """The template of each class; None for one without, which is told.

        Args:
            vocabulary: whose classes; blanks, case and ``_`` of their names do not count.
            templates: how many there are.

        Raises:
            UserError: no class of the ranking is asked for, or it knows more templates.
        """
        found: list[int | None] = []
        for item in vocabulary:
            ranked = self._by_name.get(_key(item.name)) or ()
            found.append(ranked[0].template if ranked else None)
        known = [number for number in found if number is not None]
        if not known:
            raise UserError(
                f'{self.source} ranks templates for none of the classes asked for: '
                f'{", ".join(map(repr, vocabulary.names[:_SHOWN]))}'
            )
        if max(known) >= templates:
            raise UserError(
                f'{self.source} names template {max(known)}, and the model has {templates}: a '
                'ranking goes with the template set that it was made with'
            )
        without = [
            vocabulary.names[k]
            for k, number in enumerate(found)
            if number is None and k != vocabulary.background_index
        ]
        if without:
            notify(
                f'{len(without)} classes have no template in {self.source} and are left to the '
                f'mean of all: {", ".join(map(repr, without[:_SHOWN]))}'
                f'{", ..." * (len(without) > _SHOWN)}.'
            )
        return found

    def to_json(self) -> str:
        """Text in the published format, which :func:`read_ranking` reads back."""
        classes = {
            name: {
                'entropy_ranking': [
                    {
                        'template_id': each.template,
                        'entropy': each.entropy,
                        'pixel_percentage': each.percentage,
                        'rank': rank,
                    }
                    for rank, each in enumerate(ranked, 1)
                ]
            }
            for name, ranked in self.classes.items()
        }
        document = {'model': self.model, 'dataset': self.dataset, 'split': self.split}
        return json.dumps({**document, 'classes': classes}, ensure_ascii=False, indent=1) + '\n'

    def save(self, path: str | Path) -> None:
        """Write ``to_json`` to ``path``, at once or not at all."""
        with written_whole(path) as temporary:
            temporary.write_text(self.to_json(), encoding='utf-8')


def read_ranking(path: str | Path) -> TemplateRanking:
    """A ranking in the format of the published ones.

    Args:
        path: of the JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: another format.

    Source: FLOSS, rankings/*.json.
    """
    content = read_json(path, 'template ranking')
    classes = content.get('classes') if isinstance(content, Mapping) else None
    if not isinstance(classes, Mapping) or not classes:
        raise UserError(f'{path} is no template ranking: it has no map of classes')
    told = {key: str(content.get(key, '')) for key in ('model', 'dataset', 'split')}
    return TemplateRanking(
        {str(name): _ranked(entry, f'{path}: {name!r}') for name, entry in classes.items()},
        **told,
        source=str(path),
    )


def _ranked(entry: Any, where: str) -> tuple[Ranked, ...]:
    given = entry.get('entropy_ranking') if isinstance(entry, Mapping) else None
    if not isinstance(given, list):
        raise UserError(f'{where} has no list "entropy_ranking"')
    found = []
    for number, each in enumerate(given, 1):
        template = each.get('template_id') if isinstance(each, Mapping) else None
        if not isinstance(template, int) or isinstance(template, bool) or template < 0:
            raise UserError(f'{where}: entry {number} of entropy_ranking has no template_id')
        rank = each.get('rank', number)
        values = (each.get('entropy', 0.0), each.get('pixel_percentage', 100.0), rank)
        if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            raise UserError(f'{where}: entry {number} of entropy_ranking holds no numbers')
        found.append((rank, Ranked(template, float(values[0]), float(values[1]))))
    found.sort(key=lambda pair: pair[0])
    return tuple(each for _, each in found if each.percentage > 0)


@dataclass(frozen=True, eq=False)
class ExpertClassifier(Classifier):
    """A classifier beside which some of its classes have whole classifiers of their own.

    The rows are those of all templates together, which decide where no expert claims a pixel.

    Attributes:
        experts: classes and the classifier of the template that they share; each class once.
    """

    experts: tuple[tuple[tuple[int, ...], Classifier], ...] = field(kw_only=True)

    def to(self, device: torch.device | str) -> ExpertClassifier:
        """The same classifier with its tensors on ``device``."""
        if self.weight.device == torch.device(device):
            return self
        experts = tuple((labels, each.to(device)) for labels, each in self.experts)
        return replace(super().to(device), experts=experts)

    def folded(self) -> ExpertClassifier:
        """See the parent; the experts' rows, too."""
        own = super().folded()
        assert isinstance(own, ExpertClassifier)  # `replace` keeps the class
        return replace(own, experts=tuple((labels, each.folded()) for labels, each in self.experts))


def refuse_experts(classifier: Classifier, who: str) -> None:
    """Stops where experts would not be asked.

    Args:
        classifier: of any kind.
        who: cannot ask them, for the message.

    Raises:
        UserError: it has experts.
    """
    if isinstance(classifier, ExpertClassifier):
        raise UserError(
            f'template experts decide pixels, and {who} does not ask them: leave text.experts out'
        )


def fuse_experts(default: Tensor, experts: Iterable[tuple[Sequence[int], Tensor]]) -> Tensor:
    """Probabilities of each pixel by the expert that claims it, or the default ones.

    An expert claims the pixels where its own class wins; of several claims the surest counts, of
    equal ones that of the first class. Experts come one after the other, so that two maps are held
    and not one an expert.

    Args:
        default: (K, ...), where nobody claims.
        experts: classes and the (K, ...) that their common template gives; each class once.

    Source: FLOSS, naclip.py ``expert_fusion``.
    """
    fused = default.clone()
    surest = default.new_full(default.shape[1:], -1.0)
    owner = torch.full(default.shape[1:], len(default), device=default.device)
    for labels, shares in experts:
        winner = shares.argmax(0)
        for label in labels:
            own = shares[label]
            is_surer = (own > surest) | ((own == surest) & (owner > label))
            claims = (winner == label) & is_surer
            surest = torch.where(claims, own, surest)
            owner = owner.masked_fill(claims, label)
            fused = torch.where(claims, shares, fused)
    return fused


def _key(name: str) -> str:
    """A class name as the published rankings have it, without blanks."""
    return ''.join(name_key(name.replace('-', ' ')).split())
