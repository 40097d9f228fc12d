"""Words: classes with their synonyms, colours and rejection rule, and sentence templates."""

from __future__ import annotations

from ovseg.vocabulary.palette import make_palette
from ovseg.vocabulary.parsing import VocabularyClass
from ovseg.vocabulary.protocols import list_protocols
from ovseg.vocabulary.rejection import Rejection
from ovseg.vocabulary.templates import TEMPLATE_SETS, fill_template, get_templates
from ovseg.vocabulary.vocabulary import Vocabulary, VocabularySource, build_vocabulary

__all__ = [
    'TEMPLATE_SETS',
    'Rejection',
    'Vocabulary',
    'VocabularyClass',
    'VocabularySource',
    'build_vocabulary',
    'fill_template',
    'get_templates',
    'list_protocols',
    'make_palette',
]
