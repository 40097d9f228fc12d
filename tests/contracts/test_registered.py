from __future__ import annotations

import pytest
from registered import KINDS, check_table, classes, kind_of, registered_parts

# Kinds that keep no contract with others: each of these is a whole of its own with its own tests.
WITHOUT_CONTRACT = {
    'SAMPrompts': 'one of its kind: tests/refiners/test_sam_prompts.py',
    'OVSegTTA': 'wraps a segmentor: tests/engine/test_tta.py',
}


def test_every_registered_class_has_a_kind():
    strangers = {name for name, part in registered_parts().items() if kind_of(part) is None}
    assert strangers == set(WITHOUT_CONTRACT), (
        'these are registered and keep no known contract, or no longer exist: add their kind to '
        'tests/contracts/registered.py, with a contract test'
    )


def test_every_kind_is_registered_or_tested_without_the_registry():
    assert [kind for kind in KINDS if not classes(kind)] == ['mask classifier']


def test_a_class_without_a_row_and_a_row_without_a_class_are_named():
    with pytest.raises(AssertionError, match='PAMR is registered and is a pixel refiner, .*a row'):
        check_table('pixel refiner', [], 'TABLE')
    with pytest.raises(AssertionError, match='TABLE has DenseCRF, which is no registered pixel'):
        check_table('pixel refiner', ['PAMR', 'DenseCRF'], 'TABLE')
