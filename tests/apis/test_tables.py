"""Text tables."""

from __future__ import annotations

from ovseg.tables import text_table


def test_columns_are_aligned_by_terminal_cells():
    table = text_table(('class', 'area'), [('猫', '40.0 %'), ('sofa', '9.0 %')])
    assert table.splitlines() == [
        'class    area',
        '-----  ------',
        '猫     40.0 %',
        'sofa    9.0 %',
    ]


def test_nothing_in_a_cell_steers_the_terminal():
    table = text_table(('class',), [('sky\x1b[31m',), ('two\nlines',)])
    assert table.splitlines()[2:] == ['sky\\x1b[31m', 'two\\nlines ']
