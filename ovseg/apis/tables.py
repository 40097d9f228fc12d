"""Text tables, under the name that they had first."""

from __future__ import annotations

from ovseg.tables import text_table

__all__ = ['text_table']
