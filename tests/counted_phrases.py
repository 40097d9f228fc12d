"""How often SAM 3 is asked, and about how many phrases at a time."""

from __future__ import annotations

import pytest


def count_phrases(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of phrases in each pass through a network, which grow as passes come.

    Args:
        monkeypatch: of the test.
    """
    from ovseg.encoders.sam3_concepts import ConceptModel

    passes: list[int] = []
    ask = ConceptModel.ask

    def counted(self, features, phrases, *args, **kwargs):
        passes.append(len(phrases))
        return ask(self, features, phrases, *args, **kwargs)

    monkeypatch.setattr(ConceptModel, 'ask', counted)
    return passes
