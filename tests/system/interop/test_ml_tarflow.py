import os

import pytest
import torch

from system.foundation.errors import CheckpointError
from system.foundation.settings import flow as settings
from system.interop.flow_weights import FlowWeights
from system.interop.ml_tarflow import load_ml_tarflow
from system.interop.ml_tarflow import model_arguments
from system.interop.ml_tarflow import to_ml_tarflow
from tests.golden.cases import STARFLOWS
from tests.golden.cases import TARFLOWS
from tests.golden.peers import Case
from tests.golden.peers import farthest
from tests.golden.peers import golden
from tests.golden.peers import ours
from tests.golden.peers import tarflow_outputs

FOLDER = os.environ.get("ML_TARFLOW")
BOUNDS = {torch.float32: 1e-5, torch.float64: 1e-10}
every_case = pytest.mark.parametrize("case", TARFLOWS, ids=lambda case: case.name)
every_dtype = pytest.mark.parametrize("dtype", BOUNDS, ids=str)


def state_of(case: Case, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return case.fill(to_ml_tarflow(case.flow()), dtype)


def load(case: Case, state: dict[str, torch.Tensor]) -> FlowWeights:
    return load_ml_tarflow(state, channels=case.channels)


@every_dtype
@every_case
def test_outputs_are_those_recorded_of_ml_tarflow(case: Case, dtype: torch.dtype) -> None:
    """Data to noise and back, per-sample log-determinants, guidance in every form."""
    found = ours(case, load(case, state_of(case, dtype)), dtype)
    assert golden(case).keys() == found.keys()
    assert farthest(found, golden(case)) <= BOUNDS[dtype]


@pytest.mark.skipif(FOLDER is None, reason="ML_TARFLOW names no checkout of apple/ml-tarflow")
@every_dtype
@every_case
def test_outputs_are_those_of_ml_tarflow_itself(case: Case, dtype: torch.dtype) -> None:
    assert FOLDER is not None
    expected, state = tarflow_outputs(FOLDER, case, model_arguments(case.flow()), dtype)
    own = state_of(case, dtype)
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in own.items()
    }
    assert farthest(ours(case, load(case, state), dtype), expected) <= BOUNDS[dtype]


@every_case
def test_the_flow_is_the_one_that_was_written(case: Case) -> None:
    flow = load(case, state_of(case))
    assert flow.shape == case.shape
    assert (flow.side, flow.channels, flow.size) == (case.side, case.channels, case.size)
    assert flow.classes == case.classes
    assert load_ml_tarflow(state_of(case), size=case.size).shape == case.shape


@every_case
def test_round_trips_keep_every_bit(case: Case) -> None:
    state = state_of(case)
    flow = load(case, state)
    back = to_ml_tarflow(flow)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    again = load(case, back)
    assert again.weights.keys() == flow.weights.keys()
    assert all(torch.equal(again.weights[name], flow.weights[name]) for name in flow.weights)


def test_all_that_is_wrong_is_said_at_once() -> None:
    case = TARFLOWS[0]
    state = state_of(case)
    del state["blocks.1.attn_blocks.0.mlp.norm.bias"]
    state["blocks.2.proj_in.weight"] = torch.zeros(64, 13)
    state["blocks.0.extra"] = torch.zeros(1)
    state["var"] = 2 * state["var"]
    state["blocks.1.attn_mask"] = torch.ones(16, 16)
    with pytest.raises(CheckpointError) as caught:
        load_ml_tarflow(state)
    message = str(caught.value)
    for part in (
        "6 problems",
        "give channels",
        "missing: blocks.1.attn_blocks.0.mlp.norm.bias 64",
        "misshapen: blocks.2.proj_in.weight is 64x13, expected 64x12",
        "unknown: blocks.0.extra",
        "changed: var holds other numbers, expected all ones",
        "changed: blocks.1.attn_mask holds other numbers, expected a causal mask",
    ):
        assert part in message


def test_a_block_without_layers_and_heads_that_do_not_divide_are_named() -> None:
    state = state_of(TARFLOWS[0])
    kept = {name: value for name, value in state.items() if not name.startswith("blocks.1.")}
    with pytest.raises(CheckpointError, match=r"blocks\.1: has no layers"):
        load_ml_tarflow(kept, channels=3)
    with pytest.raises(CheckpointError, match="head_width 48 does not divide the width 64"):
        load_ml_tarflow(state, channels=3, head_width=48)


@pytest.mark.parametrize("head_width", [0, -64])
def test_heads_without_width_are_named(head_width: int) -> None:
    with pytest.raises(CheckpointError, match=f"head_width {head_width} does not divide"):
        load_ml_tarflow(state_of(TARFLOWS[0]), channels=3, head_width=head_width)


def test_a_first_block_that_tells_no_size_hides_nothing() -> None:
    state = state_of(TARFLOWS[0])
    del state["blocks.0.proj_in.weight"]
    state["blocks.0.pos_embed"] = torch.zeros(())
    state["var"] = None
    state["blocks.9.extra"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_ml_tarflow(state, channels=3)
    for part in (
        "4 problems",
        "missing: blocks.0.proj_in.weight 64x12",
        "misshapen: blocks.0.pos_embed is a scalar, expected 16x64",
        "no tensor: var is NoneType",
        "unknown: blocks.9.extra 1",
    ):
        assert part in str(caught.value)


def test_other_weights_are_told_by_what_they_look_like() -> None:
    with pytest.raises(CheckpointError, match="they look like autoencoder_kl"):
        load_ml_tarflow({"encoder.conv_in.weight": torch.zeros(1)}, channels=3)


def test_a_flow_of_another_form_lists_every_setting_that_is_in_the_way() -> None:
    with pytest.raises(CheckpointError) as caught:
        to_ml_tarflow(STARFLOWS[0].flow())
    message = str(caught.value)
    for key in (
        "flow.positions=rotary",
        "flow.first=start",
        "flow.raster=noise_side",
        "flow.scale=softplus",
        "flow.soft_clip=4.0",
        "flow.norm_out=rms",
        "flow.head_width=32",
        "flow.condition.kind=prefix",
        "flow.depths=[1, 2, 1, 3]",
    ):
        assert key in message


def test_volume_preserving_flows_have_no_scale_to_be_in_the_way() -> None:
    case = next(case for case in TARFLOWS if case.shape.affine == "shift")
    shape = settings.Flow(**(case.shape.model_dump() | {"scale": "softplus"}))
    flow = case.flow()
    other = FlowWeights(shape, flow.side, flow.channels, flow.classes, flow.weights)
    assert to_ml_tarflow(other).keys() == to_ml_tarflow(flow).keys()
