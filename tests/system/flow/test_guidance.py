import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch

from system.flow.affine import Affine
from system.flow.guidance import RULES
from system.flow.guidance import guide
from system.flow.guidance import linear
from system.flow.guidance import product
from system.flow.guidance import starflow
from system.foundation.settings.evaluation import Sampler

Rule = Callable[[float, Affine], Affine]
EACH_RULE = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def both(shift: float, log_scale: float, null_shift: float, null_log_scale: float) -> Affine:
    return Affine(
        shift=torch.tensor([shift, null_shift], dtype=torch.float64).reshape(2, 1, 1),
        log_scale=torch.tensor([log_scale, null_log_scale], dtype=torch.float64).reshape(2, 1, 1),
    )


def random_pairs(dtype: torch.dtype = torch.float64) -> Affine:
    generator = torch.Generator().manual_seed(0)
    shift, log_scale = torch.randn(2, 200, 5, 3, dtype=dtype, generator=generator)
    return Affine(shift, log_scale)


def first(pair: Affine) -> Affine:
    return Affine(pair.shift.chunk(2)[0], pair.log_scale.chunk(2)[0])


def density(at: torch.Tensor, mean: float, log_scale: float) -> torch.Tensor:
    return -0.5 * ((at - mean) / math.exp(log_scale)) ** 2 - log_scale


def test_every_rule_that_may_be_asked_for_is_there() -> None:
    assert set(get_args(Sampler.model_fields["guidance_rule"].annotation)) == set(RULES)


@EACH_RULE
def test_weight_zero_is_the_first_gaussian_exactly(rule: Rule) -> None:
    pairs = random_pairs(torch.float32)
    guided = rule(0.0, pairs)
    assert torch.equal(guided.shift, first(pairs).shift)
    assert torch.equal(guided.log_scale, first(pairs).log_scale)


@EACH_RULE
@pytest.mark.parametrize("weight", [0.5, 3.0, 1e6])
def test_equal_gaussians_stay_what_they_are_exactly(rule: Rule, weight: float) -> None:
    half = first(random_pairs(torch.float32))
    guided = rule(weight, Affine(torch.cat([half.shift] * 2), torch.cat([half.log_scale] * 2)))
    assert torch.equal(guided.shift, half.shift)
    assert torch.equal(guided.log_scale, half.log_scale)


@pytest.mark.parametrize("rule", [starflow, product])
def test_it_is_the_product_of_gaussians_where_the_first_is_narrower(rule: Rule) -> None:
    weight, shift, null_shift = 1.7, 1.0, -0.3
    logs = [math.log(0.6), math.log(1.1)]
    guided = rule(weight, both(shift, logs[0], null_shift, logs[1]))
    at = torch.linspace(-1, 3, 9).double()
    expected = (1 + weight) * density(at, shift, logs[0]) - weight * density(
        at, null_shift, logs[1]
    )
    found = density(at, guided.shift.item(), guided.log_scale.item())
    apart = found - expected  # of the same Gaussian, up to its constant
    torch.testing.assert_close(apart, apart[:1].expand(9), rtol=0, atol=1e-12)


def test_starflow_is_the_product_where_that_is_narrower_than_the_other() -> None:
    """And elsewhere the product is the wider one, or is left out."""
    pairs, weight = random_pairs(), 0.3
    narrower = pairs.log_scale[:100] <= pairs.log_scale[100:]
    one, other = starflow(weight, pairs), product(weight, pairs)
    torch.testing.assert_close(one.shift[narrower], other.shift[narrower], rtol=0, atol=0)
    torch.testing.assert_close(one.log_scale[narrower], other.log_scale[narrower], rtol=0, atol=0)
    wider = other.log_scale[~narrower] > one.log_scale[~narrower]
    left_out = other.shift[~narrower] == first(pairs).shift[~narrower]
    assert (wider ^ left_out).all()
    assert wider.any()
    assert left_out.any()


def test_a_wider_first_gaussian_is_clipped_to_the_linear_mean_by_starflow() -> None:
    pair = both(1.0, 0.5, 0.4, -0.5)
    guided = starflow(2.0, pair)
    torch.testing.assert_close(guided.shift, linear(2.0, pair).shift, rtol=0, atol=1e-15)
    assert guided.log_scale.item() == 0.5


def test_starflow_and_linear_have_one_mean_where_spreads_are_equal() -> None:
    pairs = random_pairs()
    alike = Affine(pairs.shift, pairs.log_scale[:100].repeat(2, 1, 1))
    one, other = starflow(1.3, alike), linear(1.3, alike)
    torch.testing.assert_close(one.shift, other.shift, rtol=0, atol=1e-14)
    assert torch.equal(one.log_scale, other.log_scale)


@pytest.mark.parametrize("weight", [0.1, 1.0, 50.0, 1e6])
def test_starflow_never_widens_and_is_finite_at_every_weight(weight: float) -> None:
    for dtype in (torch.float32, torch.float64):
        pairs = random_pairs(dtype)
        guided = starflow(weight, pairs)
        assert (guided.log_scale <= first(pairs).log_scale).all()
        assert guided.shift.isfinite().all()
        apart = (first(pairs).shift - pairs.shift[100:]).abs()
        assert ((guided.shift - first(pairs).shift).abs() <= 1.0001 * weight * apart).all()


def test_starflow_at_an_endless_weight_leaves_a_point() -> None:
    """Where the first is the narrower one, the mean comes to rest and the spread vanishes."""
    guided = starflow(1e9, both(1.0, math.log(0.5), 0.0, 0.0))
    assert guided.shift.item() == pytest.approx(1 + 0.25 / 0.75, rel=1e-8)
    assert guided.log_scale.exp().item() < 1e-4


def test_the_product_is_left_out_where_it_is_none() -> None:
    """At weight 2 the precision is zero at a ratio of 1.5: below it guided, from it on not."""
    for ratio, is_guided in ((1.49, True), (1.51, False), (1e30, False), (math.exp(200), False)):
        pair = both(1.0, 0.5 * math.log(ratio), 0.4, 0.0)
        single = Affine(pair.shift.float(), pair.log_scale.float())
        guided = product(2.0, single)
        assert torch.equal(guided.shift, single.shift[:1]) is not is_guided
        assert torch.equal(guided.log_scale, single.log_scale[:1]) is not is_guided
        assert guided.shift.isfinite().all()


def test_the_product_widens_without_bound_near_its_edge() -> None:
    near, far = (product(2.0, both(0, 0.5 * math.log(r), 0, 0)) for r in (1.4999, 1.4))
    assert near.log_scale.item() > far.log_scale.item() + 3 > 3


def test_linear_leaves_float32_at_large_weights() -> None:
    """Which is why drawing checks what it has drawn."""
    guided = linear(1e3, both(0.0, 0.2, 0.0, 0.1))
    assert guided.log_scale.item() == pytest.approx(0.2 + 1e3 * 0.1)
    assert guided.log_scale.float().exp().isinf().all()


def test_parts_say_what_moves() -> None:
    pairs = random_pairs()
    for rule in RULES:
        whole = guide(Sampler(guidance=2.0, guidance_rule=rule))(pairs, 1.0)
        shift = guide(Sampler(guidance=2.0, guidance_rule=rule, guidance_parts="b"))(pairs, 1.0)
        scale = guide(Sampler(guidance=2.0, guidance_rule=rule, guidance_parts="a"))(pairs, 1.0)
        assert torch.equal(shift.shift, whole.shift)
        assert torch.equal(shift.log_scale, first(pairs).log_scale)
        assert torch.equal(scale.log_scale, whole.log_scale)
        assert torch.equal(scale.shift, first(pairs).shift)


def test_the_ramp_is_a_weight_that_grows_with_progress() -> None:
    pairs = random_pairs()
    for rule, formula in RULES.items():
        ramped = guide(Sampler(guidance=2.0, guidance_rule=rule, guidance_ramp="linear"))
        level = guide(Sampler(guidance=2.0, guidance_rule=rule))
        for progress in (0.25, 1.0):
            expected = formula(2.0 * progress, pairs)
            assert torch.equal(ramped(pairs, progress).shift, expected.shift)
            assert torch.equal(level(pairs, progress).shift, formula(2.0, pairs).shift)
