"""Flows beside the peers' own code, where it is at hand, and flows that say something at all."""

import os
from pathlib import Path

import pytest
import torch

from system.flow.flow import to_tokens
from system.foundation.errors import BadInput
from system.foundation.settings.flow import Flow as Settings
from tests.benchmarks.parts.ceiling import elapsed
from tests.benchmarks.parts.ceiling import measured_ceiling
from tests.benchmarks.parts.peers import drawn_flow
from tests.benchmarks.parts.peers import opened
from tests.benchmarks.parts.peers import weights_of
from tests.golden.cases import STARFLOW
from tests.golden.cases import TARFLOW
from tests.golden.cases import shape

FLOWS = {
    "ml_tarflow": shape(TARFLOW, 64, (1, 1), patch=2),
    "ml_starflow": shape(STARFLOW, 64, (1, 2), patch=2),
}
SIDE, CHANNELS, CLASSES = 4, 3, 5
CPU = torch.device("cpu")
every_form = pytest.mark.parametrize("form", FLOWS)


def made(form: Settings, seed: int = 0):
    return drawn_flow(form, side=SIDE, channels=CHANNELS, classes=CLASSES, seed=seed)


def image() -> torch.Tensor:
    return torch.randn(2, CHANNELS, 2 * SIDE, 2 * SIDE, generator=torch.Generator().manual_seed(0))


@every_form
def test_the_peer_says_the_same(form):
    folder = os.environ.get(form.upper())
    if folder is None:
        pytest.skip(f"{form.upper()} names no checkout of its code, which is not ours to keep here")
    flow = made(FLOWS[form])
    with opened(Path(folder)) as peer:
        assert peer.kind == form
        model = peer.model(weights_of(flow, CHANNELS))
        label = torch.tensor([1, 4])
        assert peer.farthest(model, flow, image(), label) < 1e-5
        assert peer.farthest(model, made(FLOWS[form], seed=1), image(), label) > 0.1


@every_form
@torch.no_grad()
def test_a_drawn_flow_moves_tokens_and_comes_back(form):
    flow = made(FLOWS[form])
    tokens, condition = to_tokens(image(), 2), flow.condition(torch.tensor([1, 4]))
    noise, log_det = flow(tokens, condition)
    assert (noise - tokens).abs().max() > 0.1
    assert log_det.abs().min() > 0.1
    assert torch.allclose(flow.inverse(noise, condition), tokens, atol=1e-4)


def test_a_ceiling_is_a_rate():
    taken = elapsed(lambda: torch.randn(64, 64) @ torch.randn(64, 64), CPU)
    assert taken > 0
    assert measured_ceiling(torch.float32, CPU, rounds=1) > 1e6


def test_another_program_of_that_name_is_refused(tmp_path):
    (tmp_path / "transformer_flow.py").write_text("")
    refused = pytest.raises(BadInput, match="has no class Model; expected a checkout of ml-tarflow")
    with refused, opened(tmp_path):
        pass
