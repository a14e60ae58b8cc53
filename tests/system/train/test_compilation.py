"""That flow and autoencoder compile as a whole, and say the same compiled."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.system.conftest import FAMILIES
from tests.system.train import compiled

ROUNDING = 1e-5  # the same kernels, but what stands between them is taken apart otherwise


@pytest.fixture(scope="module")
def fresh():
    """An interpreter in which no shape is checked."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", FAMILIES)
def test_every_flow_is_one_graph_forward_and_backward(fresh, name: str) -> None:
    assert fresh.submit(compiled.flow, name).result() < ROUNDING


def test_recomputed_activations_are_part_of_the_graph(fresh) -> None:
    assert fresh.submit(compiled.flow, "simflow", checkpointed=True).result() < ROUNDING


def test_the_autoencoder_is_one_graph_forward_and_backward(fresh) -> None:
    assert fresh.submit(compiled.autoencoder).result() < ROUNDING


def test_the_joint_model_compiles_layer_by_layer(fresh, make_recipe) -> None:
    apart, graphs = fresh.submit(compiled.joint, make_recipe()).result()
    assert apart < ROUNDING
    assert graphs == 3  # all layers of the flow have one, encoder and decoder one each
