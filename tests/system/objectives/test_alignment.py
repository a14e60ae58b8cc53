import pytest
import torch

from system.objectives.alignment import alignment_loss


def test_it_is_minus_the_cosine_of_the_angle() -> None:
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    aligned, opposite = 3 * tokens, -tokens
    across = torch.tensor([[[0.0, 1.0], [5.0, 0.0]]])
    between = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]])
    for projected, expected in ((aligned, -1), (opposite, 1), (across, 0), (between, -(0.5**0.5))):
        assert alignment_loss((projected,), tokens).item() == pytest.approx(expected, abs=1e-6)


def test_places_samples_and_tokens_count_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other, tokens = torch.randn(3, 2, 4, 5, generator=generator, dtype=torch.float64)
    total = 0.0
    for projected in (one, other):
        for sample in range(2):
            for place in range(4):
                left, right = projected[sample, place], tokens[sample, place]
                total += (left @ right / left.norm() / right.norm()).item()
    assert alignment_loss((one, other), tokens).item() == pytest.approx(-total / 16, abs=1e-12)


def test_bf16_features_are_compared_in_float32() -> None:
    tokens = torch.ones(1, 2, 3)
    loss = alignment_loss((tokens.bfloat16().requires_grad_(),), tokens)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(-1, abs=1e-6)


def test_a_token_of_zeros_has_no_direction_and_no_infinite_gradient() -> None:
    projected = torch.zeros(1, 1, 3, requires_grad=True)
    loss = alignment_loss((projected,), torch.ones(1, 1, 3))
    loss.backward()
    assert loss.item() == 0
    assert projected.grad is not None
    assert projected.grad.isfinite().all()
