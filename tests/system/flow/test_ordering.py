from itertools import pairwise

import torch

from system.flow.ordering import Ordering
from system.flow.ordering import alternating


def test_an_ordering_is_its_own_inverse() -> None:
    tokens = torch.randn(2, 5, 3)
    for ordering in (Ordering(backwards=False), Ordering(backwards=True)):
        assert torch.equal(ordering(ordering(tokens)), tokens)
    assert torch.equal(Ordering(backwards=True)(tokens)[:, 0], tokens[:, -1])


def test_orderings_alternate_and_the_asked_end_goes_in_raster_order() -> None:
    for blocks in (1, 2, 3, 6):
        for raster, end in (("noise_side", -1), ("data_side", 0)):
            directions = [ordering.backwards for ordering in alternating(blocks, raster)]
            assert directions[end] is False
            assert all(a != b for a, b in pairwise(directions))
