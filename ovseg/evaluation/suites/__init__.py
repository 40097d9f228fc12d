"""Suites: what one score of one list of words does not say of a model."""

from ovseg.evaluation.suites.cost import CostSuite
from ovseg.evaluation.suites.none import NoneSuite
from ovseg.evaluation.suites.report import write_report
from ovseg.evaluation.suites.sample import EncodedSample, Suite, SuiteSettings
from ovseg.evaluation.suites.word_file import SuiteWords
from ovseg.evaluation.suites.words import WordsSuite

SUITES: dict[str, type[Suite]] = {'words': WordsSuite, 'none': NoneSuite, 'cost': CostSuite}

__all__ = [
    'SUITES',
    'CostSuite',
    'EncodedSample',
    'NoneSuite',
    'Suite',
    'SuiteSettings',
    'SuiteWords',
    'WordsSuite',
    'write_report',
]
