import pytest
from pydantic import ValidationError

from system.foundation.settings.flow import Flow
from system.foundation.settings.flow import Prefix


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"width": 40, "head_width": 16}, "width 40 must be a multiple of head_width 16"),
        ({"width": 36, "head_width": 6}, "head_width a multiple of 4"),
        ({"depths": ()}, "depths"),
        ({"condition": {"kind": "adaptive_norm", "ways": 5}}, "ways"),
        (
            {"condition": {"kind": "prefix"}},
            "condition.rotary_pairs 8 leaves 0 of 8 pairs of a head for the grid's two axes",
        ),
        ({"condition": {"kind": "prefix", "rotary_pairs": 3}}, "leaves 5 of 8"),
        (
            {"checkpoint_activations": [0, 2]},
            "checkpoint_activations names block 2, but depths has 2: expected places from 0 to 1",
        ),
        ({"checkpoint_activations": [-1]}, "greater than or equal to 0"),
    ],
)
def test_shapes_that_cannot_be_built_are_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Flow(**({"width": 32, "depths": (1, 2), "head_width": 16} | keys))
    assert message in str(caught.value)


def test_a_prefix_may_leave_all_pairs_to_the_grid_or_need_none() -> None:
    Flow(width=32, depths=(1,), head_width=16, condition=Prefix(rotary_pairs=0))
    Flow(width=32, depths=(1,), head_width=16, condition=Prefix(), positions="learned")


@pytest.mark.parametrize(
    ("given", "blocks"),
    [(False, set()), (True, {0, 1, 2}), ([2], {2}), ([0, 2], {0, 2}), ([], set())],
)
def test_activations_are_recomputed_in_all_blocks_or_in_those_named(given, blocks) -> None:
    flow = Flow(width=32, depths=(1, 1, 4), head_width=16, checkpoint_activations=given)
    assert flow.checkpointed_blocks == blocks
    assert Flow.model_validate_json(flow.model_dump_json()) == flow
