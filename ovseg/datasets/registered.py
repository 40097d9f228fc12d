"""Importing this module imports, and so registers, all that the package names."""

from __future__ import annotations

from ovseg import datasets

for _name in datasets.__all__:
    getattr(datasets, _name)
