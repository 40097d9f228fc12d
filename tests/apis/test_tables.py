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
