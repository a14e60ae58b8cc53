import torch
from torch.nn.attention.bias import causal_lower_right

from system.layers.cache import Cache
from system.layers.cache import Place
from system.layers.cache import Span

CPU = torch.device("cpu")


def test_a_spans_mask_is_torchs_causal_mask_of_the_lower_right() -> None:
    for first, count in ((0, 4), (3, 2), (5, 3)):
        mask = Span.at(first, count, CPU).mask
        assert mask is not None
        assert torch.equal(mask, causal_lower_right(count, first + count)._materialize(CPU))


def test_one_token_may_see_every_one_so_far_and_needs_no_mask() -> None:
    assert Span.at(7, 1, CPU).mask is None


def test_both_ways_of_standing_keep_the_same_and_hide_what_is_not_there_yet() -> None:
    fresh = torch.randn(2, 3, 1, 4)
    memories = [Cache.empty(2, 3, 6, torch.zeros(1, 12)).key for _ in range(2)]
    assert torch.equal(memories[0], torch.zeros(2, 3, 6, 4))
    span, place = Span.at(2, 1, CPU), Place.at(torch.tensor([2]), 6)
    seen = [span.keep(memories[0], fresh), place.keep(memories[1], fresh)]
    assert torch.equal(*memories)
    assert seen[0].shape[2] == 3
    assert seen[0].data_ptr() == memories[0].data_ptr()  # no copy
    assert seen[1].shape[2] == 6
    assert place.mask.tolist() == [[True, True, True, False, False, False]]
    table = torch.arange(6)[:, None]
    assert span.of(table).tolist() == place.of(table).tolist() == [[2]]
