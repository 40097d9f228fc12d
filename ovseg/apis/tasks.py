"""What may be asked of an image, and which of the words asked for are stuff."""

from __future__ import annotations

from typing import Any

from ovseg.errors import UserError, nearest
from ovseg.vocabulary import Vocabulary, build_vocabulary

# A class a pixel; or segments: things and stuff; or things alone.
SEGMENT_TASKS = ('panoptic', 'instance')
TASKS = ('semantic', *SEGMENT_TASKS)


def check_segment_task(task: str) -> None:
    """Raise if a task does not ask for segments.

    Raises:
        UserError: any other task.
    """
    if task not in SEGMENT_TASKS:
        raise UserError(
            f"task must be 'panoptic' or 'instance', got {task!r}." + nearest(task, SEGMENT_TASKS)
        )


def no_words() -> UserError:
    """The error where a model is asked for nothing."""
    return UserError(
        "No words were given: say what to look for, such as 'cat, kitten; sofa; wall'."
    )


def stuff_labels(stuff: Any, vocabulary: Vocabulary) -> frozenset[int]:
    """Labels of the classes that are stuff, such as the sky: no things that one can count.

    Args:
        stuff: names of classes, in any form that a vocabulary takes; None or nothing for no stuff.
        vocabulary: the classes.

    Raises:
        UserError: a name that no class has.
    """
    if stuff is None or (isinstance(stuff, (str, list, tuple)) and not stuff):
        return frozenset()
    names = vocabulary.names
    labels = set()
    for name in build_vocabulary(stuff).names:
        if name not in names:
            raise UserError(
                f"stuff '{name}' is none of the classes asked for ({'; '.join(names[:8])}"
                f'{"; ..." if len(names) > 8 else ""}): name classes by their first word.'
                + nearest(name, names)
            )
        labels.add(names.index(name))
    return frozenset(labels)
