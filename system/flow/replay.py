"""Token by token as one CUDA graph: a step of hundreds of small kernels, started as one.

All that differs from step to step is a number on the device: where the token stands. Keys and
values lie in memory of one shape, and a mask hides what is not there yet. The first step runs as
it is, which also warms up what a graph may not do (workspaces of libraries); the second is captured
and replayed, on a lane of its own, so that other batches can be drawn beside it. A graph is
replayed for one batch in one block: capturing costs about as much as a step, and nothing can be
replayed with weights or classes that are no longer those it was made of.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from system.flow.lanes import own_lane
from system.flow.predictor import Predictor
from system.layers.cache import Place


class Step:
    """The next token with each call; the same operations on the same memory every time."""

    def __init__(
        self, predict: Predictor, first: Float[Tensor, "B 1 D"], noise: Float[Tensor, "B S D"]
    ) -> None:
        self.predict = predict
        self.noise = noise
        self.before = first.clone()
        self.data = torch.empty_like(noise)
        self.step = torch.zeros(1, dtype=torch.long, device=noise.device)

    def __call__(self) -> None:
        """Draw it, and go on to the next one."""
        predict, step = self.predict, self.step
        place = Place.at(step + predict.prefix, predict.steps + predict.prefix)
        progress = (step + 1).to(self.noise.dtype)[:, None] / predict.steps
        affine = predict(self.before, place, progress)
        noise = self.noise.index_select(1, step)
        self.before.copy_(noise * torch.exp(affine.log_scale) + affine.shift)
        self.data.index_copy_(1, step, self.before)
        step += 1


def replayed(
    predict: Predictor, first: Float[Tensor, "B 1 D"], noise: Float[Tensor, "B S D"]
) -> Float[Tensor, "B S D"]:
    """What `decoding.token_by_token` gives, up to rounding, on a CUDA device."""
    step = Step(predict, first, noise)
    before = torch.cuda.current_stream(noise.device)
    with own_lane(noise.device) as lane:
        lane.stream.wait_stream(before)
        step()
        if predict.steps > 1:
            graph = lane.captured(step)
            for _ in range(predict.steps - 1):
                graph.replay()
        before.wait_stream(lane.stream)
    return step.data
