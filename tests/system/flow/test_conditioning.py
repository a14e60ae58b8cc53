from collections.abc import Callable

import torch

from system.flow.flow import Flow


def test_each_kind_steers_its_own_blocks(make_flow: Callable[..., Flow]) -> None:
    label = torch.tensor([0, 3])
    parts = {
        "adaptive_norm": [{"norm"}, {"norm"}],
        "added": [{"bias"}, {"bias"}],
        "prefix": [set(), {"prefix"}],
        "none": [set(), set()],
    }
    for kind, expected in parts.items():
        condition = {"kind": kind} | ({"rotary_pairs": 2} if kind == "prefix" else {})
        flow = make_flow(condition=condition)
        steered = flow.steer(flow.condition(label))
        found = [
            {name for name in ("norm", "bias", "prefix") if getattr(one, name) is not None}
            for one in steered
        ]
        assert found == expected


def test_blocks_with_vectors_of_their_own_differ(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(condition={"kind": "added"})
    first, second = flow.steer(flow.condition(torch.tensor([1])))
    assert not torch.equal(first.bias, second.bias)
    assert torch.equal(first.bias[0], flow.conditioner.vectors[0].table[1])


def test_a_prefix_is_a_linear_map_of_the_one_hot_class(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(condition={"kind": "prefix", "rotary_pairs": 2})
    token = flow.conditioner.token
    (_, deep) = flow.steer(flow.condition(torch.tensor([2])))
    torch.testing.assert_close(deep.prefix[0, 0], token.weight[:, 2] + token.bias)


def test_classes_do_not_matter_to_an_unconditional_flow(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(condition={"kind": "none"})
    data = torch.randn(2, 4, 3, dtype=torch.float64)
    one, other = (flow.log_prob(data, flow.condition(torch.full((2,), c))) for c in (0, 1))
    assert torch.equal(one, other)


def test_the_null_class_is_an_even_mixture_or_one_of_its_own(
    make_flow: Callable[..., Flow],
) -> None:
    even = make_flow(classes=3, condition={"kind": "added"}).null_condition(2)
    own = make_flow(classes=3, condition={"kind": "prefix", "rotary_pairs": 2}).null_condition(2)
    assert torch.equal(even, torch.tensor([[1 / 3] * 3] * 2, dtype=torch.float64))
    assert torch.equal(own, torch.tensor([[0.0, 0, 0, 1]] * 2, dtype=torch.float64))
