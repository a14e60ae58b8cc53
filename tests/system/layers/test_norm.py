import torch
from torch.nn import functional

from system.layers.norm import AdaptiveNorms
from system.layers.norm import PlainNorms
from system.layers.norm import RmsNorm


def test_fresh_adaptive_norms_are_plain_and_six_ways_close_their_gates() -> None:
    hidden, vector = torch.randn(2, 3, 8), torch.randn(2, 8)
    for ways, gate in ((6, 0.0), (4, 1.0)):
        for norm in AdaptiveNorms(8, ways)(vector):
            expected = functional.layer_norm(hidden, (8,), eps=1e-6)
            torch.testing.assert_close(norm(hidden), expected)
            assert (torch.as_tensor(norm.gate) == gate).all()


def test_the_class_shifts_scales_and_gates_by_parts_of_one_linear_map() -> None:
    hidden, vector = torch.randn(2, 3, 8), torch.randn(2, 8)
    norms = AdaptiveNorms(8, 6)
    norms.modulation.weight.data.normal_()
    parts = (functional.silu(vector) @ norms.modulation.weight.T)[:, None].chunk(6, dim=-1)
    normed = functional.layer_norm(hidden, (8,), eps=1e-6)
    for norm, (shift, scale, gate) in zip(norms(vector), (parts[:3], parts[3:]), strict=True):
        torch.testing.assert_close(norm(hidden), normed * (1 + scale) + shift)
        torch.testing.assert_close(norm.gate, gate)


def test_plain_norms_are_layer_norms() -> None:
    norms = PlainNorms(8)
    for module in (norms.attention, norms.perceptron):
        module.weight.data.normal_()
        module.bias.data.normal_()
    hidden = torch.randn(2, 3, 8)
    attention, perceptron = norms(None)
    torch.testing.assert_close(attention(hidden), norms.attention(hidden))
    torch.testing.assert_close(perceptron(hidden), norms.perceptron(hidden))


def test_the_root_mean_square_norms_weight_starts_at_one() -> None:
    norm = RmsNorm(8)
    hidden = torch.randn(2, 3, 8, dtype=torch.float64)
    expected = hidden / (hidden.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(norm(hidden), expected)
    norm.offset.data.fill_(0.5)
    torch.testing.assert_close(norm(hidden), 1.5 * expected)
