"""The model's words against the data set's classes: a wrong order gives a plausible wrong mIoU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ovseg.engine.checkpoint import unwrap
from ovseg.errors import UserError
from ovseg.registry import HOOKS
from ovseg.vocabulary import Vocabulary


@runtime_checkable
class _HasWords(Protocol):
    vocabulary: Vocabulary | None


class _TakesWords(Protocol):
    def set_vocabulary(self, source: Mapping[str, Any]) -> None: ...


def check_classes(names: Sequence[str], classes: Sequence[str]) -> None:
    """Stops if a model's classes cannot be those of the labels.

    A protocol may call a class by other words than the data set does, so names may differ. The
    number may not, nor may the same names stand in another order.

    Args:
        names: of the model's classes, in the order of its predictions.
        classes: of the data set, in the order of its labels.

    Raises:
        UserError: they do not belong together.

    Example:
        >>> check_classes(['cat', 'couch'], ['cat', 'sofa'])
    """
    if len(names) != len(classes):
        advice = 'set model.vocabulary to the words of this data set, with its background rule'
        if len(names) == len(classes) + 1:
            advice += (
                '; a rule (--rejection) that puts pixels into a class of its own needs labels '
                'with a background, or `--suite none`'
            )
        raise UserError(
            f'the model knows {len(names)} classes ({_some(names)}) but the labels have '
            f'{len(classes)} ({_some(classes)}); {advice}'
        )
    ours, theirs = ([_plain(name) for name in part] for part in (names, classes))
    if ours != theirs and sorted(ours) == sorted(theirs):
        index = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
        raise UserError(
            f"the model's classes are those of the labels in another order: class {index} is "
            f"'{names[index]}' for the model and '{classes[index]}' in the data set; put "
            'model.vocabulary in the order of the data set'
        )


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')


def _plain(name: str) -> str:
    return ' '.join(name.lower().split())


@HOOKS.register_module()
class VocabularyCheckHook(Hook):
    """Runs :func:`check_classes` before validation and test.

    A model that takes words but was given none gets those of the data set. Models without a
    ``vocabulary`` are left alone.
    """

    def before_val(self, runner: Runner) -> None:
        """Checks the validation set's classes."""
        self._check(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Checks the test set's classes."""
        self._check(runner, runner.test_dataloader)

    def _check(self, runner: Runner, loader: DataLoader) -> None:
        model = unwrap(runner.model)
        meta: dict[str, Any] = getattr(loader.dataset, 'metainfo', None) or {}
        classes = meta.get('classes')
        if not isinstance(model, _HasWords) or not classes:
            return
        if model.vocabulary is None:
            words = {key: value for key, value in meta.items() if key in ('classes', 'palette')}
            cast('_TakesWords', model).set_vocabulary(words)
            MMLogger.get_current_instance().info(
                f'The model has no vocabulary of its own and takes the {len(classes)} class names '
                'of the data set.'
            )
        assert model.vocabulary is not None
        check_classes(model.vocabulary.names, classes)
