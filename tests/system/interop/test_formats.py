import pytest
import torch

from system.foundation.errors import CheckpointError
from system.interop.formats import block_with
from system.interop.formats import looks_like
from system.interop.formats import shape_of
from system.interop.ml_starflow import to_ml_starflow
from system.interop.ml_tarflow import to_ml_tarflow
from tests.golden.cases import STARFLOWS
from tests.golden.cases import TARFLOWS


def test_code_bases_are_told_from_their_names() -> None:
    assert looks_like(to_ml_tarflow(TARFLOWS[0].flow())) == "they look like ml_tarflow"
    assert looks_like(to_ml_starflow(STARFLOWS[0].flow())) == "they look like ml_starflow"
    own = {f"flow.{name}" for name in TARFLOWS[0].flow().weights}
    assert looks_like(own) == "they look like latent_flows"
    assert looks_like({"conv1.weight"}).startswith("they look like none of")


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrapped_modules_are_told_by_their_prefix(wrapper: str) -> None:
    names = {wrapper + name for name in to_ml_tarflow(TARFLOWS[0].flow())}
    assert f"begin with '{wrapper}'" in looks_like(names)


def test_a_block_that_tells_stands_for_one_that_does_not() -> None:
    state = {"blocks.0.x": torch.zeros(()), "blocks.1.x": torch.zeros(3), "blocks.2.y": None}
    assert block_with("x", state, range(3)) == "blocks.1"
    assert block_with("y", state, range(2, -1, -1)) == "blocks.2"
    assert block_with("x", {}, ()) == "blocks.0"


def test_a_shape_that_is_not_there_says_what_is() -> None:
    state = {"here": torch.zeros(3, 2), "scalar": torch.zeros(())}
    assert shape_of(state, "here", "peer") == (3, 2)
    for name in ("absent", "scalar"):
        with pytest.raises(CheckpointError, match=f"have a tensor {name}; found 2 tensors"):
            shape_of(state, name, "peer")
