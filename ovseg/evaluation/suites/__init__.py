"""Suites: what one score of one list of words does not say of a model."""

from ovseg.evaluation.suites.cost import CostSuite
from ovseg.evaluation.suites.episodes import EpisodesSuite
from ovseg.evaluation.suites.fewshot import FewShotSuite
from ovseg.evaluation.suites.none import NoneSuite
from ovseg.evaluation.suites.report import write_report
from ovseg.evaluation.suites.sample import EncodedSample, ExampleSuite, Suite, SuiteSettings
from ovseg.evaluation.suites.single import SingleSuite
from ovseg.evaluation.suites.support_pool import SupportPool
from ovseg.evaluation.suites.word_file import SuiteWords
from ovseg.evaluation.suites.words import WordsSuite

SUITES: dict[str, type[Suite]] = {
    suite.name: suite
    for suite in (WordsSuite, NoneSuite, CostSuite, FewShotSuite, EpisodesSuite, SingleSuite)
}

__all__ = [
    'SUITES',
    'CostSuite',
    'EncodedSample',
    'EpisodesSuite',
    'ExampleSuite',
    'FewShotSuite',
    'NoneSuite',
    'SingleSuite',
    'Suite',
    'SuiteSettings',
    'SuiteWords',
    'SupportPool',
    'WordsSuite',
    'write_report',
]
