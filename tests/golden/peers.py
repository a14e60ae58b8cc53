"""Flows that other code bases can be asked about: their weights and inputs, rebuilt from streams.

A case is a flow of ours with random weights. What a peer makes of it comes from the peer's own
code, where a folder with it is given, or from `peer_outputs.npz`, which make_peer_outputs.py wrote.
"""

import importlib
import sys
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from system.flow.flow import Flow
from system.flow.flow import to_latent
from system.flow.flow import to_tokens
from system.flow.sampler import sample
from system.foundation import streams
from system.foundation.settings import flow as settings
from system.foundation.settings.evaluation import Sampler
from system.interop.flow_weights import FlowWeights

GOLDEN = Path(__file__).parent / "peer_outputs.npz"
BATCH = 2
PLAIN = Sampler(guidance=0.0)
Outputs = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A flow, and the ways in which it is sampled."""

    name: str
    shape: settings.Flow
    side: int
    channels: int
    classes: int
    samplers: dict[str, Sampler] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return self.side * self.shape.patch

    def drawn(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers in float64: a function of case and name."""
        generator = streams.generator(0, f"golden/{self.name}/{name}")
        return torch.from_numpy(generator.standard_normal(shape))

    @property
    def image(self) -> Tensor:
        return self.drawn("image", (BATCH, self.channels, self.size, self.size))

    @property
    def noise(self) -> Tensor:
        return self.drawn("noise", (BATCH, self.channels, self.size, self.size))

    @property
    def label(self) -> Tensor:
        return torch.arange(1, 1 + BATCH) % self.classes

    def flow(self) -> FlowWeights:
        """The flow with the weights that torch draws: for names and shapes."""
        flow = Flow(
            self.shape,
            side=self.side,
            token_width=self.channels * self.shape.patch**2,
            classes=self.classes,
        )
        return FlowWeights(self.shape, self.side, self.channels, self.classes, flow.state_dict())

    def fill(self, state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
        """A peer's state dict with every learned tensor drawn from the stream of its name."""
        return {name: self._weight(name, value).to(dtype) for name, value in state.items()}

    def _weight(self, name: str, like: Tensor) -> Tensor:
        drawn = self.drawn(name, tuple(like.shape))
        if name.endswith("attn_mask") or name.startswith("feat_rope"):
            return like
        if name == "var":
            return (0.3 * drawn).exp() if self.shape.affine == "shift" else like
        if name.endswith(("attention.norm.weight", "mlp.norm.weight")):
            return 1 + 0.1 * drawn
        if like.ndim == 1 or name.endswith("embed"):
            return 0.3 * drawn
        # Blocks that scale too much make the way back diverge, in the peers as in ours; a class
        # that says little is guided nowhere.
        gain = {"proj_out": 0.15, "proj_txt": 4.0}.get(name.split(".")[-2], 0.6)
        return gain / like.shape[-1] ** 0.5 * drawn


def ours(case: Case, flow: FlowWeights, dtype: torch.dtype) -> Outputs:
    """What our flow makes of the case's inputs."""
    built, patch = flow.build(), case.shape.patch
    condition = built.condition(case.label)
    noise, log_det = built(to_tokens(case.image.to(dtype), patch), condition)
    null, null_log_det = built(to_tokens(case.image.to(dtype), patch), built.null_condition(BATCH))
    outputs = {"z": noise, "z_null": null}
    for name, sampler in ({"reverse": PLAIN} | case.samplers).items():
        outputs[name] = sample(built, to_tokens(case.noise.to(dtype), patch), case.label, sampler)
    images = {name: to_latent(tokens, patch, case.size) for name, tokens in outputs.items()}
    return detached(images | {"log_det": log_det, "log_det_null": null_log_det})


def detached(outputs: Outputs) -> Outputs:
    return {name: value.detach() for name, value in outputs.items()}


def golden(case: Case) -> Outputs:
    """What the peer made of the case, in float64, as it was recorded."""
    with np.load(GOLDEN) as recorded:
        names = [name for name in recorded.files if name.startswith(f"{case.name}/")]
        return {name.partition("/")[2]: torch.from_numpy(recorded[name]) for name in names}


def farthest(found: Outputs, expected: Outputs) -> float:
    """The largest difference in any output that is expected, over the largest number in it."""
    assert expected
    largest = {name: value.abs().max() for name, value in expected.items()}
    apart = [(found[name] - expected[name]).abs().max() for name in expected]
    # Flows of shifts have no log-determinant: of zero, the difference itself.
    whole = [value if value > 0 else torch.ones(()) for value in largest.values()]
    ratio = torch.stack(apart) / torch.stack(whole)
    return float(ratio.max())  # not a number where one of them is none


@contextmanager
def peer_module(folder: str) -> Iterator[ModuleType]:
    """A peer's `transformer_flow`, with whatever it imports from its own folder."""
    before = dict(sys.modules)
    with mock.patch.object(sys, "path", [folder, *sys.path]):
        try:
            yield importlib.import_module("transformer_flow")
        finally:
            for name in sys.modules.keys() - before.keys():
                where = getattr(sys.modules[name], "__file__", None) or ""
                if where.startswith(str(folder)):
                    del sys.modules[name]


@contextmanager
def computing_in(dtype: torch.dtype) -> Iterator[None]:
    """Within, a peer's own casts to float32 lead to `dtype`, as do the numbers it makes up (rotary
    frequencies): in float64 nothing of it is rounded."""
    before = torch.get_default_dtype()
    cast: Callable[[Tensor], Tensor] = lambda tensor: tensor.to(dtype)  # noqa: E731
    torch.set_default_dtype(dtype)
    try:
        with mock.patch.object(torch.Tensor, "float", cast):
            yield
    finally:
        torch.set_default_dtype(before)


def tarflow_outputs(
    folder: str, case: Case, arguments: dict[str, Any], dtype: torch.dtype
) -> tuple[Outputs, dict[str, Tensor]]:
    """What ml-tarflow makes of a case, and the state dict that it did so with."""
    with peer_module(folder) as peer, computing_in(dtype), torch.no_grad():
        model = peer.Model(**arguments).to(dtype)
        state = case.fill(model.state_dict(), dtype)
        model.load_state_dict(state)
        label = case.label if arguments["num_classes"] else None
        null = torch.full((BATCH,), -1) if arguments["num_classes"] else None
        image, noise = case.image.to(dtype), model.patchify(case.noise.to(dtype))
        outputs: Outputs = {}
        for suffix, y in {"": label, "_null": null}.items():
            z, _, log_det = model(image, y)
            outputs[f"z{suffix}"] = model.unpatchify(z)
            outputs[f"log_det{suffix}"] = log_det * z[0].numel()  # theirs is a mean
        for name, sampler in ({"reverse": PLAIN} | case.samplers).items():
            outputs[name] = model.reverse(
                noise.clone(),
                label,
                guidance=sampler.guidance,
                guide_what=sampler.guidance_parts,
                attn_temp=sampler.attention_temperature,
                annealed_guidance=sampler.guidance_ramp == "linear",
            )
    return detached(outputs), state


def starflow_outputs(
    folder: str, case: Case, arguments: dict[str, Any], dtype: torch.dtype
) -> tuple[Outputs, dict[str, Tensor]]:
    """What ml-starflow makes of a case, and the state dict that it did so with."""
    with (
        peer_module(folder) as peer,
        taking_learned_positions(peer),
        computing_in(dtype),
        torch.no_grad(),
    ):
        model = peer.Model(**arguments).to(dtype)
        state = case.fill(model.state_dict(), dtype)
        model.load_state_dict(state)
        wanted = null = both = None
        if columns := arguments["txt_dim"]:
            every = torch.eye(columns, dtype=dtype)  # its label embedder: one-hot, null last
            wanted, null = every[case.label][:, None], every[[-1] * BATCH][:, None]
            both = torch.cat([wanted, null])
        image, noise = case.image.to(dtype), case.noise.to(dtype)
        outputs: Outputs = {}
        for suffix, y in {"": wanted, "_null": null}.items():
            outputs[f"z{suffix}"], _, _, log_dets = model(image, y)
            outputs[f"log_det{suffix}"] = sum(each.sum(dim=(1, 2)) for each in map(flat, log_dets))
        if arguments["rope"]:  # it has no way back without: the cache's length is that of rotary
            outputs["reverse"] = model(noise, wanted, reverse=True)
            for name, sampler in case.samplers.items():
                outputs[name] = model(noise, both, reverse=True, guidance=sampler.guidance)
    return detached(outputs), state


@contextmanager
def taking_learned_positions(peer: ModuleType) -> Iterator[None]:
    """Within, ml-starflow's permutations take positions, T E, beside tokens, B h w D.

    As released they take tokens alone, and a model without rotary positions stops at its first
    block; what it would do is what ml-tarflow does.
    """
    of_tokens = peer.Permutation.forward

    def forward(self: Any, x: Tensor, dim: int = 1, inverse: bool = False) -> Tensor:
        return self.permute(x, dim=0) if dim == 0 else of_tokens(self, x, dim, inverse)

    with mock.patch.object(peer.Permutation, "forward", forward):
        yield


def flat(log_det: Tensor) -> Tensor:
    """Log-determinants of every number, whatever the grid: B T D."""
    return log_det.reshape(len(log_det), -1, log_det.shape[-1])
