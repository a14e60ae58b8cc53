from collections.abc import Callable

import pytest
import torch

from system.flow.flow import Flow

LABEL = torch.tensor([1, 2])


def tokens(flow: Flow, batch: int = 2, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, flow.side**2, flow.token_width)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def jacobian_log_det(one_sample: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor) -> float:
    jacobian = torch.autograd.functional.jacobian(lambda x: one_sample(x).flatten(), at)
    return torch.linalg.slogdet(jacobian.reshape(at.numel(), at.numel())).logabsdet


@pytest.mark.parametrize("place", [0, 1])
def test_log_det_is_the_jacobians(
    make_flow: Callable[..., Flow], family: dict[str, object], place: int
) -> None:
    flow = make_flow(**family)
    check_log_det(flow, place)


@pytest.mark.parametrize("scale", ["exp", "softplus"])
@pytest.mark.parametrize("soft_clip", [0.0, 1.5])
def test_log_det_is_the_jacobians_for_every_scale(
    make_flow: Callable[..., Flow], scale: str, soft_clip: float
) -> None:
    check_log_det(make_flow(scale=scale, soft_clip=soft_clip), place=1)


def check_log_det(flow: Flow, place: int) -> None:
    block, data, rotary = flow.blocks[place], tokens(flow), flow.rotary(tokens(flow))
    _, log_det = block(data, flow.steer(flow.condition(LABEL))[place], rotary)
    for sample in range(2):
        steering = flow.steer(flow.condition(LABEL[sample : sample + 1]))[place]
        expected = jacobian_log_det(
            lambda one, steering=steering: block(one[None], steering, rotary)[0], data[sample]
        )
        # float64 rounding of a 12 by 12 determinant.
        torch.testing.assert_close(expected, log_det[sample], rtol=0, atol=1e-10)


def test_inverse_undoes_forward(make_flow: Callable[..., Flow], family: dict[str, object]) -> None:
    flow = make_flow(**family)
    data = tokens(flow)
    for block, steering in zip(flow.blocks, flow.steer(flow.condition(LABEL)), strict=True):
        noise, _ = block(data, steering, flow.rotary(data))
        assert not torch.allclose(noise, data, atol=0.1)
        restored = block.inverse(noise, steering, flow.rotary(data))
        torch.testing.assert_close(restored, data, rtol=0, atol=1e-12)


def test_affine_is_what_forward_uses(
    make_flow: Callable[..., Flow], family: dict[str, object]
) -> None:
    flow = make_flow(**family)
    data = tokens(flow)
    for block, steering in zip(flow.blocks, flow.steer(flow.condition(LABEL)), strict=True):
        noise, log_det = block(data, steering, flow.rotary(data))
        affine = block.affine(data, steering, flow.rotary(data))
        torch.testing.assert_close(noise * affine.log_scale.exp() + affine.shift, data)
        torch.testing.assert_close(-affine.log_scale.sum(dim=(1, 2)), log_det)


def test_a_tokens_map_depends_on_the_tokens_before_it_only(
    make_flow: Callable[..., Flow], family: dict[str, object]
) -> None:
    flow = make_flow(side=3, **family)
    data = tokens(flow)
    for block, steering in zip(flow.blocks, flow.steer(flow.condition(LABEL)), strict=True):
        first, changed = block.ordering(data), block.ordering(data)
        changed = changed.clone()
        changed[:, 4] += 1
        rotary = flow.rotary(data)
        noise = block(block.ordering(first), steering, rotary)[0]
        noise_changed = block(block.ordering(changed), steering, rotary)[0]
        moved = block.ordering(noise_changed - noise).abs().amax(dim=(0, 2))
        assert (moved[:4] == 0).all()
        assert (moved[4:] > 0).all()


def test_a_first_token_is_kept_without_a_start_token(make_flow: Callable[..., Flow]) -> None:
    for first, is_kept in (("kept", True), ("start", False)):
        flow = make_flow(first=first)
        data, block = tokens(flow), flow.blocks[-1]
        steering = flow.steer(flow.condition(LABEL))[-1]
        noise, _ = block(data, steering, flow.rotary(data))
        assert torch.equal(noise[:, 0], data[:, 0]) == is_kept


def test_shifts_alone_keep_the_volume(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(affine="shift")
    data = tokens(flow)
    steering = flow.steer(flow.condition(LABEL))[0]
    noise, log_det = flow.blocks[0](data, steering, flow.rotary(data))
    assert not torch.allclose(noise, data, atol=0.1)
    assert (log_det == 0).all()


def test_features_are_those_of_each_layer_in_raster_order(make_flow: Callable[..., Flow]) -> None:
    """Features of the last layer give the map, whichever way the block goes."""
    flow = make_flow(depths=(2, 2), side=2)
    data = tokens(flow)
    for block, steering in zip(flow.blocks, flow.steer(flow.condition(LABEL)), strict=True):
        traced = block.trace(data, steering, flow.rotary(data), {1, 2})
        last = block.ordering(traced.features[2])
        affine = block._affine(last, data.dtype)
        noise = (block.ordering(data) - affine.shift) * (-affine.log_scale).exp()
        torch.testing.assert_close(block.ordering(noise), traced.noise)
        assert not torch.allclose(traced.features[1], traced.features[2])


def test_features_alone_are_those_of_a_trace_and_go_no_deeper(
    make_flow: Callable[..., Flow], family: dict[str, object]
) -> None:
    flow = make_flow(**(family | {"depths": (1, 3)}))
    data, block = tokens(flow), flow.blocks[1]
    steering = flow.steer(flow.condition(LABEL))[1]
    traced = block.trace(data, steering, flow.rotary(data), {1, 2})
    run: list[int] = []
    for number, layer in enumerate(block.transformer.layers, 1):
        layer.register_forward_hook(lambda *_, number=number: run.append(number))
    found = block.features(data, steering, flow.rotary(data), {1, 2})
    assert run == [1, 2]
    assert found.keys() == traced.features.keys()
    assert all(torch.equal(found[tap], traced.features[tap]) for tap in found)


def test_a_fresh_block_changes_nothing(
    make_flow: Callable[..., Flow], family: dict[str, object]
) -> None:
    flow = make_flow(**family)
    data = tokens(flow)
    for block, steering in zip(flow.blocks, flow.steer(flow.condition(LABEL)), strict=True):
        torch.nn.init.zeros_(block.affine_out.weight)
        torch.nn.init.zeros_(block.affine_out.bias)
        noise, log_det = block(data, steering, flow.rotary(data))
        torch.testing.assert_close(noise, data, rtol=0, atol=1e-14)
        torch.testing.assert_close(log_det, torch.zeros(2).double(), rtol=0, atol=1e-12)


def test_the_soft_clip_bounds_scale_and_shift(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(soft_clip=0.5, token_width=1)
    block = flow.blocks[0]
    block.affine_out.weight.data.mul_(1e3)
    data, steering = tokens(flow), flow.steer(flow.condition(LABEL))[0]
    noise, log_det = block(data, steering, flow.rotary(data))
    assert log_det.abs().max() <= 0.5 * 4
    assert (noise.abs() <= (data.abs() + 0.5) * torch.e**0.5).all()


def test_weights_in_bf16_still_give_float32_log_dets(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()
    data = tokens(flow)
    exact = flow.blocks[0](data, flow.steer(flow.condition(LABEL))[0], flow.rotary(data))[1]
    flow, data = flow.bfloat16(), data.float()
    steering = flow.steer(flow.condition(LABEL))[0]
    noise, log_det = flow.blocks[0](data, steering, flow.rotary(data))
    assert noise.dtype == log_det.dtype == torch.float32
    # bf16 keeps eight bits: 12 terms of order one, each off by 2^-8 or so.
    torch.testing.assert_close(log_det.double(), exact, rtol=0, atol=12 * 2**-7)
