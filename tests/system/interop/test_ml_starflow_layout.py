import torch

from system.interop.layout import Moved
from system.interop.ml_starflow import to_ml_starflow
from system.interop.ml_starflow_layout import layout_of
from system.interop.ml_starflow_layout import misfits
from system.interop.ml_starflow_layout import parts_of
from system.interop.ml_starflow_layout import reason_against
from tests.golden.cases import STARFLOWS


def test_sizes_are_read_from_the_deep_block() -> None:
    parts = parts_of(to_ml_starflow(STARFLOWS[0].flow()), "L2R", 64)
    assert parts.depths == (1, 2, 1, 3)
    assert parts.backwards == (True, False, True, False)
    assert (parts.tokens, parts.token_width, parts.places) == (16, 4, 17)
    assert (parts.head_width, parts.columns) == (32, 7)
    assert parts.has_start
    assert parts.is_rotary
    assert parts.has_final_norm


def test_every_weight_of_the_flow_has_one_place() -> None:
    for case in STARFLOWS:
        flow = case.flow()
        state = to_ml_starflow(flow)
        layout = layout_of(parts_of(state, "R2L", case.shape.head_width))
        assert {entry.name for entry in layout} == state.keys()
        to = [entry.to for entry in layout if isinstance(entry, Moved)]
        assert sorted(to) == sorted(flow.weights)


def test_a_form_of_ours_has_no_misfit() -> None:
    for case in STARFLOWS:
        state = to_ml_starflow(case.flow())
        parts = parts_of(state, "R2L", case.shape.head_width)
        assert misfits(parts, state, "R2L") == []


def test_reasons_go_by_the_parts_of_a_name() -> None:
    deep = "blocks.1."
    assert reason_against("blocks.1.proj_txt.weight", deep) is None
    assert "cond_top_only" in (reason_against("blocks.0.proj_txt.weight", deep) or "")
    assert "use_qk_norm" in (reason_against("blocks.1.attention.key_norm.weight", deep) or "")
    assert reason_against("blocks.1.my_key_norms.weight", deep) is None


def test_the_class_token_turns_as_the_first_place_does() -> None:
    state = to_ml_starflow(STARFLOWS[1].flow())
    assert state["feat_rope.freqs_cos"].shape == (17, 32)
    assert torch.equal(state["blocks.0.attn_mask"], torch.tril(torch.ones(17, 17)))
