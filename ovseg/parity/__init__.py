"""Parity with the reference implementations, on golden cases that they computed."""

from ovseg.parity.check import check_path
from ovseg.parity.report import Report

__all__ = ['Report', 'check_path']
