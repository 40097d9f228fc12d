"""Tables of region-noun pairs are read as written, and as OVSeg published them."""

import pytest

from ovseg.datasets.pair_files import Pair, read_pairs, write_pairs
from ovseg.errors import UserError


def test_a_table_is_read_as_it_was_written(tmp_path):
    pairs = [
        Pair('images/a b.png', 'door, gate', 'masks/a b.png'),
        Pair('images/c.png', 'a 5" plate', 'masks/c.png'),
    ]
    write_pairs(tmp_path / 'pairs.csv', pairs)
    assert read_pairs(tmp_path / 'pairs.csv') == pairs


def test_a_published_table_has_no_masks_and_any_order_of_columns(tmp_path):
    (tmp_path / 'pairs.csv').write_text('title\tfilepath\ndining table\tx/1.png\n')
    assert read_pairs(tmp_path / 'pairs.csv') == [Pair('x/1.png', 'dining table')]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('filepath,title\na.png,dog\n', 'no column filepath and no column title'),
        ('filepath\tmask\na.png\tb.png\n', 'no column title'),
        ('filepath\ttitle\na.png\tdog\nb.png\n', 'line 3: an image or a title is missing'),
        ('filepath\ttitle\na.png\t \n', 'line 2'),
        ('filepath\ttitle\n', 'no rows'),
    ],
)
def test_a_table_that_does_not_fit_is_explained(tmp_path, text, message):
    (tmp_path / 'pairs.csv').write_text(text)
    with pytest.raises(UserError, match=message):
        read_pairs(tmp_path / 'pairs.csv')


def test_a_missing_table_suggests_the_nearest(tmp_path):
    (tmp_path / 'pairs.csv').write_text('')
    with pytest.raises(FileNotFoundError, match="Did you mean .*pairs.csv'"):
        read_pairs(tmp_path / 'pair.csv')
