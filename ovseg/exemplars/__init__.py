"""Examples beside words: masks of what is meant, kept in banks, and rules that make rows of them.

``pooling`` makes vectors of masks, ``stats`` sums them up, ``bank`` keeps them, ``support`` sets
them beside the words that are asked for; each rule is a file; ``taught`` is what a model knows.
"""

from ovseg.exemplars.bank import Bank, EncoderIdentity
from ovseg.exemplars.bank_file import read_bank, write_bank
from ovseg.exemplars.rules import DEFAULT_RULE, RULE_NAMES, RULES, Rule
from ovseg.exemplars.stats import Stats
from ovseg.exemplars.support import Support
from ovseg.exemplars.taught import Taught

__all__ = [
    'DEFAULT_RULE',
    'RULES',
    'RULE_NAMES',
    'Bank',
    'EncoderIdentity',
    'Rule',
    'Stats',
    'Support',
    'Taught',
    'read_bank',
    'write_bank',
]
