from collections.abc import Callable

import pytest
import torch

from system.flow.flow import Flow


def tokens(flow: Flow, batch: int = 2, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, flow.side**2, flow.token_width)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("scale", ["exp", "softplus"])
@pytest.mark.parametrize("soft_clip", [0.0, 1.5])
@pytest.mark.parametrize("place", [0, 1])
def test_log_det_is_the_jacobians(
    make_flow: Callable[..., Flow], scale: str, soft_clip: float, place: int
) -> None:
    flow = make_flow(scale=scale, soft_clip=soft_clip)
    block, data = flow.blocks[place], tokens(flow)
    condition, rotary = flow.condition(torch.tensor([1, 2])), flow.rotary(data.device)
    for sample in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda one, s=sample: block(one[None], condition[s : s + 1], rotary)[0].flatten(),
            data[sample],
        ).reshape(12, 12)
        _, log_det = block(data, condition, rotary)
        # float64 rounding of a 12 by 12 determinant.
        torch.testing.assert_close(
            torch.linalg.slogdet(jacobian).logabsdet, log_det[sample], rtol=0, atol=1e-10
        )


@pytest.mark.parametrize("scale", ["exp", "softplus"])
def test_inverse_undoes_forward(make_flow: Callable[..., Flow], scale: str) -> None:
    flow = make_flow(scale=scale)
    data = tokens(flow)
    condition, rotary = flow.condition(torch.tensor([1, 2])), flow.rotary(data.device)
    for block in flow.blocks:
        noise, _ = block(data, condition, rotary)
        assert not torch.allclose(noise, data, atol=0.1)
        torch.testing.assert_close(
            block.inverse(noise, condition, rotary), data, rtol=0, atol=1e-12
        )


def test_a_tokens_map_depends_on_the_tokens_before_it_only(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(side=3)
    for block in flow.blocks:
        data = block.ordering(tokens(flow, batch=1))
        condition, rotary = flow.condition(torch.tensor([1])), flow.rotary(data.device)
        changed = data.clone()
        changed[:, 4] += 1
        noise, _ = block(block.ordering(data), condition, rotary)
        noise_changed, _ = block(block.ordering(changed), condition, rotary)
        moved = block.ordering(noise_changed - noise).abs().amax(dim=(0, 2))
        assert (moved[:4] == 0).all()
        assert (moved[4:] > 0).all()


def test_a_fresh_block_changes_nothing(make_flow: Callable[..., Flow]) -> None:
    for scale in ("exp", "softplus"):
        flow = make_flow(scale=scale)
        data = tokens(flow)
        condition, rotary = flow.condition(torch.tensor([1, 2])), flow.rotary(data.device)
        for block in flow.blocks:
            torch.nn.init.zeros_(block.affine_out.weight)
            torch.nn.init.zeros_(block.affine_out.bias)
            noise, log_det = block(data, condition, rotary)
            torch.testing.assert_close(noise, data, rtol=0, atol=1e-14)
            torch.testing.assert_close(log_det, torch.zeros(2).double(), rtol=0, atol=1e-12)


def test_the_soft_clip_bounds_scale_and_shift(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(soft_clip=0.5, token_width=1)
    block = flow.blocks[0]
    block.affine_out.weight.data.mul_(1e3)
    data, condition = tokens(flow), flow.condition(torch.tensor([1, 2]))
    noise, log_det = block(data, condition, flow.rotary(data.device))
    assert log_det.abs().max() <= 0.5 * 4
    assert (noise.abs() <= (data.abs() + 0.5) * torch.e**0.5).all()


def test_weights_in_bf16_still_give_float32_log_dets(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()
    data = tokens(flow).float()
    exact = flow.blocks[0](
        data.double(), flow.condition(torch.tensor([1, 2])), flow.rotary(data.device)
    )[1]
    flow = flow.bfloat16()
    condition, rotary = flow.condition(torch.tensor([1, 2])), flow.rotary(data.device)
    noise, log_det = flow.blocks[0](data, condition, rotary)
    assert noise.dtype == log_det.dtype == torch.float32
    # bf16 keeps eight bits: 12 terms of order one, each off by 2^-8 or so.
    torch.testing.assert_close(log_det.double(), exact, rtol=0, atol=12 * 2**-7)
