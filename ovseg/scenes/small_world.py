"""What a model of a small world says when it is asked for what it cannot know."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ovseg.errors import nearest
from ovseg.vocabulary import Vocabulary
from ovseg.zoo.worlds import FOR_PHOTOGRAPHS, SCENES, world_of

_INSTEAD = (
    f'{FOR_PHOTOGRAPHS} (--model {FOR_PHOTOGRAPHS}, or '
    f"OpenVocabSegmenter('{FOR_PHOTOGRAPHS}') in Python)"
)
_NAMED = 8


class SmallWorld:
    """The world of Scenes, as models that were trained in it know it.

    Args:
        model: what the model is called.
        instead: what to take for everything else.
    """

    def __init__(self, model: str, instead: str = _INSTEAD) -> None:
        self.model = model
        self.instead = instead

    def doubt_of_words(self, vocabulary: Vocabulary) -> str | None:
        """A sentence on words that no caption of the training ever had; None where all are known.

        Args:
            vocabulary: what is asked for.
        """
        from ovseg.scenes.known_words import known_names, unknown_words

        unknown = unknown_words(prompts_of(vocabulary))
        if not unknown:
            return None
        listed = ', '.join(repr(word) for word in unknown[:_NAMED])
        listed += f' and {len(unknown) - _NAMED} more' * (len(unknown) > _NAMED)
        were, them = ('was', 'it') if len(unknown) == 1 else ('were', 'them')
        return (
            f'{self.model} learnt its words from captions of small drawn scenes, where {listed} '
            f'{were} never seen: what it answers for {them} means nothing.'
            f'{nearest(unknown[0], known_names())} For any words take {self.instead}.'
        )

    def doubt_of_picture(self, image: np.ndarray) -> str | None:
        """A sentence on a picture that looks like none of the training, else None.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        from ovseg.scenes.appearance import looks_drawn

        if looks_drawn(image):
            return None
        return self.unlike_scenes('This image does', 'a photograph', 'it')

    def unlike_scenes(self, they_do: str, photographs: str, them: str) -> str:
        """The sentence on pictures that look like none of the training.

        Args:
            they_do: the pictures, with their verb.
            photographs: what they may be.
            them: the pictures again.
        """
        return (
            f'{they_do} not look like the small drawn scenes that {self.model} was trained on, and '
            f'nothing else is known to it ({photographs}?): its masks of {them} mean nothing. '
            f'For photographs take {self.instead}.'
        )

    def other_words(self, prompts: Collection[str]) -> list[str]:
        """What else there is in this world.

        Args:
            prompts: what is asked for.
        """
        from ovseg.scenes.known_words import other_things

        return other_things(prompts)


def small_world(config: Mapping[str, Any], checkpoint: object, model: str) -> SmallWorld | None:
    """The small world that a model is confined to, or None.

    Args:
        config: of the model.
        checkpoint: weights instead of the config's.
        model: what it is called.
    """
    return SmallWorld(model) if world_of(config, checkpoint) == SCENES else None


def prompts_of(vocabulary: Vocabulary) -> list[str]:
    """All words and sentences by which a model is asked.

    Args:
        vocabulary: the classes.
    """
    return [text for item in vocabulary for text in (*item.prompts, *item.descriptions)]
