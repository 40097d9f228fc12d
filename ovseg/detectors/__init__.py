"""Detectors for mmdet. Importing this package imports mmdet's models, data sets and metrics."""

from ovseg.compat import mmdet_datasets as _quietly_imported  # noqa: F401
