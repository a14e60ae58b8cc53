import torch

from system.flow.block import Affine
from system.flow.guidance import starflow


def both(shift: float, log_scale: float, null_shift: float, null_log_scale: float) -> Affine:
    return Affine(
        shift=torch.tensor([shift, null_shift]).double().reshape(2, 1, 1),
        log_scale=torch.tensor([log_scale, null_log_scale]).double().reshape(2, 1, 1),
    )


def test_weight_zero_is_the_conditional_gaussian() -> None:
    guided = starflow(0.0, both(1.0, -0.5, 3.0, 0.2), 1.0)
    assert guided.shift.item() == 1.0
    assert guided.log_scale.item() == -0.5


def test_equal_gaussians_stay_what_they_are() -> None:
    for weight in (0.5, 3.0, 100.0):
        guided = starflow(weight, both(1.0, -0.5, 1.0, -0.5), 1.0)
        torch.testing.assert_close(guided.shift.item(), 1.0)
        torch.testing.assert_close(guided.log_scale.item(), -0.5)


def test_it_is_the_product_of_gaussians_where_the_conditional_is_narrower() -> None:
    weight, shift, null_shift = 1.7, 1.0, -0.3
    variance, null_variance = 0.6**2, 1.1**2
    precision = (1 + weight) / variance - weight / null_variance
    mean = ((1 + weight) * shift / variance - weight * null_shift / null_variance) / precision
    logs = torch.tensor([variance, null_variance]).double().log() / 2
    guided = starflow(weight, both(shift, logs[0].item(), null_shift, logs[1].item()), 1.0)
    torch.testing.assert_close(guided.shift.item(), mean, rtol=1e-7, atol=0)
    torch.testing.assert_close(guided.log_scale.exp().item(), precision**-0.5, rtol=1e-7, atol=0)


def test_a_wider_conditional_is_clipped_to_the_linear_rule() -> None:
    guided = starflow(2.0, both(1.0, 0.5, 0.4, -0.5), 1.0)
    torch.testing.assert_close(guided.shift.item(), 1.0 + 2.0 * 0.6)
    assert guided.log_scale.item() == 0.5


def test_guidance_never_widens() -> None:
    generator = torch.Generator().manual_seed(0)
    shift, log_scale = torch.randn(2, 200, 5, 3, dtype=torch.float64, generator=generator)
    for weight in (0.1, 1.0, 50.0):
        guided = starflow(weight, Affine(shift, log_scale), 1.0)
        assert (guided.log_scale <= log_scale[:100]).all()
        assert guided.shift.isfinite().all()
