import os
from typing import Any

import pytest
import torch

from system.foundation.errors import CheckpointError
from system.foundation.settings import flow as settings
from system.interop.flow_weights import FlowWeights
from system.interop.ml_starflow import Unsaid
from system.interop.ml_starflow import load_ml_starflow
from system.interop.ml_starflow import model_arguments
from system.interop.ml_starflow import to_ml_starflow
from tests.golden.cases import STARFLOWS
from tests.golden.cases import TARFLOWS
from tests.golden.peers import Case
from tests.golden.peers import farthest
from tests.golden.peers import golden
from tests.golden.peers import ours
from tests.golden.peers import starflow_outputs

FOLDER = os.environ.get("ML_STARFLOW")
BOUNDS = {torch.float32: 1e-5, torch.float64: 1e-10}
RELEASED = STARFLOWS[0]
every_case = pytest.mark.parametrize("case", STARFLOWS, ids=lambda case: case.name)
every_dtype = pytest.mark.parametrize("dtype", BOUNDS, ids=str)


def state_of(case: Case, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return case.fill(to_ml_starflow(case.flow()), dtype)


def unsaid(case: Case) -> Unsaid:
    told = model_arguments(case.flow())
    return Unsaid(told["use_softplus"], told["soft_clip"], told["seq_order"])


def load(case: Case, state: dict[str, torch.Tensor]) -> FlowWeights:
    return load_ml_starflow(
        state, unsaid(case), channels=case.channels, head_width=case.shape.head_width
    )


@every_dtype
@every_case
def test_outputs_are_those_recorded_of_ml_starflow(case: Case, dtype: torch.dtype) -> None:
    """Data to noise and back, per-sample log-determinants, guidance in the deep block. The peer
    has no way back without rotary positions."""
    found = ours(case, load(case, state_of(case, dtype)), dtype)
    recorded = golden(case)
    if case.shape.positions == "rotary":
        assert recorded.keys() == found.keys()
    assert {"z", "log_det", "z_null", "log_det_null"} <= recorded.keys()
    assert farthest(found, recorded) <= BOUNDS[dtype]


@pytest.mark.skipif(FOLDER is None, reason="ML_STARFLOW names no checkout of apple/ml-starflow")
@every_dtype
@every_case
def test_outputs_are_those_of_ml_starflow_itself(case: Case, dtype: torch.dtype) -> None:
    """In float64 the peer's rotary frequencies and casts are float64 too: see `computing_in`."""
    assert FOLDER is not None
    expected, state = starflow_outputs(FOLDER, case, model_arguments(case.flow()), dtype)
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


@every_case
def test_round_trips_keep_every_bit(case: Case) -> None:
    state = state_of(case)
    flow = load(case, state)
    back = to_ml_starflow(flow)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    again = load(case, back)
    assert again.weights.keys() == flow.weights.keys()
    assert all(torch.equal(again.weights[name], flow.weights[name]) for name in flow.weights)


def test_heads_are_told_by_rotary_positions() -> None:
    flow = load_ml_starflow(state_of(RELEASED), unsaid(RELEASED), size=4, head_width=8)
    assert flow.shape.head_width == 32


FOREIGN = {
    "blocks.3.attn_blocks.0.attention.post_norm.weight": "use_post_norm",
    "blocks.3.attn_blocks.0.attention.query_norm.weight": "use_qk_norm",
    "blocks.0.proj_txt.weight": "cond_top_only is false",
    "learnable_self_denoiser.proj_in.weight": "a denoiser beside the flow",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_parts_that_have_no_form_here_are_named(name: str) -> None:
    state = state_of(RELEASED) | {name: torch.zeros(64)}
    with pytest.raises(CheckpointError) as caught:
        load(RELEASED, state)
    assert "one problem" in str(caught.value)
    assert name in str(caught.value)
    assert FOREIGN[name] in str(caught.value)


def test_a_deep_block_that_tells_no_size_hides_nothing() -> None:
    state = state_of(RELEASED)
    del state["blocks.3.proj_in.weight"]
    state["blocks.9.extra"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load(RELEASED, state)
    for part in (
        "2 problems",
        "missing: blocks.3.proj_in.weight 64x4",
        "unknown: blocks.9.extra 1",
    ):
        assert part in str(caught.value)


def test_layers_of_another_form_are_named() -> None:
    state = {
        name: value
        for name, value in state_of(RELEASED).items()
        if not name.endswith(("norm.bias", "qkv.bias"))
    }
    for block in range(4):
        state[f"blocks.{block}.attn_blocks.0.attention.qkv.weight"] = torch.zeros(128, 64)
    with pytest.raises(CheckpointError) as caught:
        load(RELEASED, state)
    for part in ("num_kv_heads", "use_bias is false", "norm_type rms_norm"):
        assert part in str(caught.value)


def test_a_text_is_no_class() -> None:
    state = state_of(RELEASED)
    for block in range(4):
        state[f"blocks.{block}.attn_mask"] = torch.tril(torch.ones(20, 20))
    for part in ("cos", "sin"):
        state[f"feat_rope.freqs_{part}"] = torch.zeros(20, 32)
    with pytest.raises(CheckpointError, match="4 places before the tokens"):
        load(RELEASED, state)


def test_blocks_that_have_no_order_here_are_named() -> None:
    case = next(case for case in STARFLOWS if len(case.shape.depths) == 3)
    with pytest.raises(CheckpointError, match="seq_order L2R with 3 blocks"):
        load_ml_starflow(state_of(case), Unsaid(True, 4.0, "L2R"), channels=case.channels)
    state = state_of(RELEASED)
    kept = {name: value for name, value in state.items() if not name.startswith("blocks.1.")}
    with pytest.raises(CheckpointError, match=r"blocks\.1: has no layers"):
        load(RELEASED, kept)


def test_heads_too_narrow_for_the_grid_are_named() -> None:
    state = state_of(RELEASED)
    for part in ("cos", "sin"):
        state[f"feat_rope.freqs_{part}"] = torch.zeros(17, 16)
    with pytest.raises(CheckpointError, match="heads of 16 leave 0 pairs"):
        load(RELEASED, state)


def test_other_weights_are_told_by_what_they_look_like() -> None:
    state = {f"module.{name}": value for name, value in state_of(RELEASED).items()}
    with pytest.raises(CheckpointError, match=r"names all begin with 'module\.'"):
        load(RELEASED, state)


UNWRITABLE: dict[str, Any] = {
    "flow.condition.kind=adaptive_norm": {"condition": {"kind": "adaptive_norm"}},
    "flow.condition.rotary_pairs=4": {"condition": {"kind": "prefix", "rotary_pairs": 4}},
    "flow.rope_base=100.0": {"rope_base": 100.0},
    "flow.perceptron=swiglu": {"perceptron": "swiglu"},
    "flow.perceptron_ratio=2.0": {"perceptron_ratio": 2.0},
    "flow.affine=shift": {"affine": "shift"},
}


@pytest.mark.parametrize("said", UNWRITABLE)
def test_a_flow_of_another_form_names_the_setting_that_is_in_the_way(said: str) -> None:
    flow = RELEASED.flow()
    shape = settings.Flow(**(flow.shape.model_dump() | UNWRITABLE[said]))
    with pytest.raises(CheckpointError, match="one problem") as caught:
        to_ml_starflow(FlowWeights(shape, flow.side, flow.channels, flow.classes, flow.weights))
    assert said in str(caught.value)


def test_flows_of_pixels_in_tarflows_form_have_none_of_starflows() -> None:
    with pytest.raises(CheckpointError, match=r"flow\.condition\.kind=added"):
        to_ml_starflow(TARFLOWS[0].flow())
