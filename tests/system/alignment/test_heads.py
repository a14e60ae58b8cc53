import pytest
import torch

from system.alignment.heads import ProjectionHeads
from system.foundation.settings.objective import FeatureAlignment
from system.foundation.settings.objective import Teacher

PLACES = ((0, 1), (-1, 1), (-1, 2))


def alignment(**keys: object) -> FeatureAlignment:
    given = {"teacher": Teacher(width=12), "places": PLACES, "head_width": 32}
    return FeatureAlignment(**(given | keys))


def features(seed: int = 1) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, 4, 8, generator=generator) for _ in PLACES)


@pytest.mark.parametrize(("kind", "count"), [("shared", 1), ("own", 3)])
def test_a_head_is_linear_and_silu_in_turn(kind: str, count: int) -> None:
    torch.manual_seed(0)
    heads = ProjectionHeads(alignment(heads=kind), 8)
    widths = 8 * 32 + 32 + 32 * 32 + 32 + 32 * 12 + 12
    assert sum(weight.numel() for weight in heads.parameters()) == count * widths
    given = features()
    for place, (head, projected) in enumerate(
        zip(list(heads.heads) * (3 // count), heads(given), strict=True)
    ):
        first, _, second, _, third = head
        hidden = torch.nn.functional.silu(first(given[place]))
        expected = third(torch.nn.functional.silu(second(hidden)))
        torch.testing.assert_close(projected, expected)
        assert projected.shape == (2, 4, 12)


def test_one_layer_is_a_linear_map() -> None:
    (head,) = ProjectionHeads(alignment(heads="shared", head_layers=1), 8).heads
    assert [type(layer).__name__ for layer in head] == ["Linear"]


def test_heads_of_their_own_differ() -> None:
    torch.manual_seed(0)
    heads = ProjectionHeads(alignment(), 8)
    same = features()[:1] * 3
    one, other, _ = heads(same)
    assert not torch.allclose(one, other)


def test_features_come_in_any_type() -> None:
    heads = ProjectionHeads(alignment(), 8).bfloat16()
    assert {each.dtype for each in heads(features())} == {torch.bfloat16}
