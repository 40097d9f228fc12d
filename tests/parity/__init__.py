"""Parity with the reference implementations, on golden cases that they computed."""

from parity.check import check_path, golden_folders
from parity.report import Report

__all__ = ['Report', 'check_path', 'golden_folders']
