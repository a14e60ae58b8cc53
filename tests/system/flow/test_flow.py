import math
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from system.flow.flow import Flow
from system.flow.flow import standard_normal_log_prob
from system.flow.flow import to_latent
from system.flow.flow import to_tokens

LABEL = torch.tensor([0, 3])


def tokens(flow: Flow, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (batch, flow.side**2, flow.token_width)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("depths", [(1,), (1, 2), (1, 1, 2)])
def test_log_det_is_the_jacobians(
    make_flow: Callable[..., Flow], family: dict[str, object], depths: tuple[int, ...]
) -> None:
    flow = make_flow(depths=depths, **family)
    data, condition = tokens(flow), flow.condition(LABEL)
    _, log_det = flow(data, condition)
    for sample in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda one, s=sample: flow(one[None], condition[s : s + 1])[0].flatten(), data[sample]
        ).reshape(12, 12)
        torch.testing.assert_close(
            torch.linalg.slogdet(jacobian).logabsdet, log_det[sample], rtol=0, atol=1e-10
        )


def test_inverse_undoes_forward(make_flow: Callable[..., Flow], family: dict[str, object]) -> None:
    flow = make_flow(side=4, depths=(1, 1, 2), **family)
    data, condition = tokens(flow), flow.condition(LABEL)
    noise, _ = flow(data, condition)
    torch.testing.assert_close(flow.inverse(noise, condition), data, rtol=0, atol=1e-12)


def test_inverse_undoes_forward_in_float32(
    make_flow: Callable[..., Flow], family: dict[str, object]
) -> None:
    flow = make_flow(side=4, depths=(1, 1, 2), **family).float()
    data, condition = tokens(flow).float(), flow.condition(LABEL)
    noise, _ = flow(data, condition)
    # Rounding grows over the blocks; the bound is the field's usual one for float32.
    torch.testing.assert_close(flow.inverse(noise, condition), data, rtol=0, atol=1e-4)


def test_a_trace_is_the_pass_itself(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(depths=(1, 2, 1))
    data, condition = tokens(flow), flow.condition(LABEL)
    trace = flow.trace(data, condition, {(0, 1), (1, 2)})
    noise, log_det = flow(data, condition)
    assert torch.equal(trace.noise, noise)
    assert torch.equal(trace.log_det, log_det)
    assert torch.equal(trace.inputs[0], data)
    given = data
    for block, steering, seen in zip(flow.blocks, flow.steer(condition), trace.inputs, strict=True):
        assert torch.equal(seen, given)
        given = block(given, steering, flow.rotary(data))[0]
    assert trace.features.keys() == {(0, 1), (1, 2)}


def test_the_null_class_is_the_mean_of_all_or_one_of_its_own(
    make_flow: Callable[..., Flow],
) -> None:
    drop = torch.tensor([False, True])
    even = make_flow().condition(LABEL, drop)
    assert torch.equal(even[0], torch.tensor([1.0, 0, 0, 0]).double())
    assert torch.equal(even[1], torch.full((4,), 0.25).double())
    flow = make_flow(condition={"kind": "prefix", "rotary_pairs": 2})
    assert torch.equal(flow.condition(LABEL, drop)[1], torch.tensor([0.0, 0, 0, 0, 1]).double())
    mixed = flow.mixture(torch.zeros(1, 4).double())
    assert torch.equal(mixed[0], torch.tensor([0.25, 0.25, 0.25, 0.25, 0]).double())


def test_a_flow_of_shifts_tracks_the_variance_of_its_noise(
    make_flow: Callable[..., Flow],
) -> None:
    """The running mean with weight 0.1; and the likelihood is then that of a wider Gaussian."""
    flow = make_flow(affine="shift")
    flow.prior_variance.fill_(1.0)
    noise = 3 * tokens(flow, batch=400)
    for _ in range(200):
        flow.track_prior(noise)
    variance = noise.square().mean(dim=0)
    torch.testing.assert_close(flow.prior_variance, variance, rtol=1e-6, atol=0)
    normal = torch.distributions.Normal(0.0, variance.sqrt())
    expected = normal.log_prob(noise).sum(dim=(1, 2))
    torch.testing.assert_close(flow.prior_log_prob(noise), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(flow.to_prior(noise), noise * variance.sqrt())


def test_a_pass_that_is_not_finite_leaves_the_prior_alone(make_flow: Callable[..., Flow]) -> None:
    """The update is skipped; a variance that is no number would stay so for ever."""
    flow = make_flow(affine="shift")
    before, noise = flow.prior_variance.clone(), tokens(flow)
    noise[0, 1, 2] = torch.inf
    flow.track_prior(noise)
    assert torch.equal(flow.prior_variance, before)


def test_a_cut_update_moves_the_prior_as_far_as_a_whole_one(make_flow: Callable[..., Flow]) -> None:
    whole, cut = make_flow(affine="shift"), make_flow(affine="shift")
    noise = 3 * tokens(whole)
    whole.track_prior(noise)
    for _ in range(4):
        cut.track_prior(noise, share=0.25)
    torch.testing.assert_close(cut.prior_variance, whole.prior_variance, rtol=1e-12, atol=0)
    expected = 0.9 + 0.1 * noise.square().mean(dim=0)
    torch.testing.assert_close(whole.prior_variance, expected, rtol=1e-12, atol=0)


def test_a_flow_of_scales_has_the_standard_prior(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()
    noise = tokens(flow)
    flow.track_prior(noise)
    assert flow.prior_variance is None
    assert torch.equal(flow.prior_log_prob(noise), standard_normal_log_prob(noise))
    assert flow.to_prior(noise) is noise


def test_density_integrates_to_one(make_flow: Callable[..., Flow]) -> None:
    """One token of two numbers, summed over a grid that holds all but 1e-6 of the mass."""
    flow = make_flow(side=1, token_width=2)
    axis = torch.linspace(-12, 12, 241, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None]
    label = torch.zeros(len(grid), dtype=torch.long)
    density = flow.log_prob(grid, flow.condition(label)).exp()
    assert density.sum().item() * 0.1**2 == pytest.approx(1, abs=1e-4)


def test_the_constants_of_a_gaussians_likelihood_are_kept() -> None:
    noise = torch.zeros(1, 4, 3, dtype=torch.float64)
    assert standard_normal_log_prob(noise).item() == pytest.approx(-6 * math.log(2 * math.pi))
    assert standard_normal_log_prob(noise + 2).item() == pytest.approx(
        -6 * math.log(2 * math.pi) - 0.5 * 12 * 4
    )


@pytest.mark.parametrize("scale", ["exp", "softplus"])
def test_a_flow_that_is_a_gaussian_has_the_gaussians_likelihood(
    make_flow: Callable[..., Flow], scale: str
) -> None:
    """Blocks that shift and scale by constants: N(shift, scale^2) in closed form, in nats."""
    flow = make_flow(side=2, token_width=3, scale=scale, soft_clip=0.0)
    mean, log_std = torch.zeros(3).double(), torch.zeros(3).double()
    for block in reversed(flow.blocks):
        torch.nn.init.zeros_(block.affine_out.weight)
        raw, shift = block.affine_out.bias.data.chunk(2)
        std = raw.exp() if scale == "exp" else functional.softplus(raw + math.log(math.e - 1))
        mean, log_std = mean * std + shift, log_std + std.log()
    data = 2 * tokens(flow)
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(data).sum(dim=(1, 2))
    found = flow.log_prob(data, flow.condition(LABEL))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("patch", [1, 2])
def test_tokens_and_latent_are_the_same_numbers(patch: int) -> None:
    latent = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    as_tokens = to_tokens(latent, patch)
    assert as_tokens.shape == (2, 16 // patch**2, 3 * patch**2)
    assert torch.equal(to_latent(as_tokens, patch, 4), latent)
    assert torch.equal(as_tokens[0, 1, 0], latent[0, 0, 0, patch])


def test_the_class_changes_the_density(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()
    data = tokens(flow)
    one, other = (flow.log_prob(data, flow.condition(torch.full((2,), c))) for c in (0, 1))
    assert not torch.isclose(one, other).any()
