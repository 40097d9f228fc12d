"""A region map's ids become masks; what no region claimed does not."""

import numpy as np

from ovseg.regions.region_proposals import MapProposals


class Given:
    """Gives one map and keeps what it was asked."""

    def __init__(self, regions):
        self.map = np.array(regions)

    def regions(self, image, name=None):
        self.asked = name
        return self.map


IMAGE = np.zeros((2, 3, 3), np.uint8)


def test_each_id_but_the_unclaimed_is_a_mask():
    source = Given([[0, 7, 7], [0, 2, 7]])
    masks = MapProposals(source).proposals(IMAGE, 'x.png')
    assert masks.dtype == bool and source.asked == 'x.png'
    assert masks.astype(int).tolist() == [[[0, 0, 0], [0, 1, 0]], [[0, 1, 1], [0, 0, 1]]]


def test_in_a_label_map_every_id_is_a_region():
    masks = MapProposals(Given([[0, 0, 3]]), unclaimed=None).proposals(IMAGE)
    assert masks.astype(int).tolist() == [[[1, 1, 0]], [[0, 0, 1]]]


def test_the_smallest_of_several_ids_is_what_no_region_claimed():
    finder = MapProposals(Given([[2, 2, 5], [7, 2, 5]]), unclaimed='smallest')
    assert finder.proposals(IMAGE).astype(int).tolist() == [
        [[0, 0, 1], [0, 0, 1]],
        [[0, 0, 0], [1, 0, 0]],
    ]
    alone = MapProposals(Given([[2, 2, 2], [2, 2, 2]]), unclaimed='smallest')
    assert alone.proposals(IMAGE).tolist() == [[[True] * 3] * 2]


def test_a_map_without_regions_gives_none():
    assert MapProposals(Given([[0, 0, 0], [0, 0, 0]])).proposals(IMAGE).shape == (0, 2, 3)
