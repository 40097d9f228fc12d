"""The model zoo: names for models, what their weights are, and where their configs lie."""

from ovseg.zoo.entries import DEFAULT_MODEL
from ovseg.zoo.entry import ModelEntry
from ovseg.zoo.lookup import check_weights, find_model, list_models, resolve_model

__all__ = [
    'DEFAULT_MODEL',
    'ModelEntry',
    'check_weights',
    'find_model',
    'list_models',
    'resolve_model',
]
