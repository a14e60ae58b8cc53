from collections.abc import Callable

import pytest
import torch

from system.flow.affine import Affine
from system.flow.flow import Flow
from system.layers.cache import Span

LABEL = torch.tensor([1, 2])


@pytest.mark.parametrize("chunk", [1, 3])
@torch.no_grad()
def test_it_says_of_each_token_what_the_block_says_of_all(
    make_flow: Callable[..., Flow], family: dict[str, object], chunk: int
) -> None:
    flow = make_flow(side=3, **family)
    data = torch.randn(2, 9, flow.token_width, dtype=torch.float64)
    rotary = flow.rotary(data)
    for block, steering in zip(flow.blocks, flow.steer(flow.condition(LABEL)), strict=True):
        expected, ordered = block.affine(data, steering, rotary), block.ordering(data)
        predict = block._predictor(ordered, steering, rotary, None)
        kept = block.start is None
        told = ordered if kept else torch.cat([block._start_like(ordered), ordered], dim=1)
        for step in range(0, predict.steps, chunk):
            count = min(chunk, predict.steps - step)
            span = Span.at(predict.prefix + step, count, data.device)
            said = predict(told[:, step : step + count], span, 1.0)
            here = slice(step + kept, step + kept + count)
            torch.testing.assert_close(said.shift, block.ordering(expected.shift)[:, here])
            torch.testing.assert_close(said.log_scale, block.ordering(expected.log_scale)[:, here])


@torch.no_grad()
def test_a_guide_hears_both_halves_and_how_far_it_is(make_flow: Callable[..., Flow]) -> None:
    flow, heard = make_flow(), []

    def lead(both: Affine, progress: float | torch.Tensor) -> Affine:
        heard.append((both.shift.shape[0], progress))
        return Affine(both.shift[:2], both.log_scale[:2])

    both = flow.steer(flow.condition(LABEL))[0].beside(flow.steer(flow.null_condition(2))[0])
    noise = torch.randn(2, 4, flow.token_width, dtype=torch.float64)
    drawn = flow.blocks[0].inverse(noise, both, flow.rotary(noise), lead)
    assert heard == [(4, 0.25), (4, 0.5), (4, 0.75), (4, 1.0)]
    alone = flow.blocks[0].inverse(noise, flow.steer(flow.condition(LABEL))[0], flow.rotary(noise))
    torch.testing.assert_close(drawn, alone)
