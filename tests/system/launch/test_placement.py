"""Where workers run, and how a node is left out."""

import pytest
import ray
from ray.cluster_utils import Cluster

from system.launch.placement import NODE_LABEL
from system.launch.placement import Placement
from system.launch.placement import spare_nodes
from system.launch.retry_policy import Decision


def node(name, cpus=2.0, gpus=0.0, *, alive=True):
    resources = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
    return {"NodeID": name, "Alive": alive, "Resources": resources}


NODES = {
    "one": ([node("a")], 1, (), ""),
    "either": ([node("a"), node("b")], 2, (), "ab"),
    "both are needed": ([node("a"), node("b")], 3, (), ""),
    "the small one": ([node("a", 4.0), node("b", 1.0)], 4, (), "b"),
    "the other is dead": ([node("a"), node("b", alive=False)], 2, (), ""),
    "the other is left out": ([node("a"), node("b")], 2, ("b",), ""),
    "one after the other": ([node("a"), node("b"), node("c")], 2, ("b",), "ac"),
}


@pytest.mark.parametrize("case", NODES)
def test_a_node_is_spare_where_the_others_suffice(case):
    nodes, workers, left_out, spare = NODES[case]
    assert spare_nodes(nodes, {"CPU": 1.0}, workers, left_out) == frozenset(spare)


def test_every_kind_of_resource_counts():
    nodes = [node("a", 8.0, 2.0), node("b", 8.0, 2.0), node("c", 64.0)]
    assert spare_nodes(nodes, {"CPU": 1.0, "GPU": 1.0}, 2, ()) == frozenset("abc")
    assert spare_nodes(nodes, {"CPU": 1.0, "GPU": 1.0}, 3, ()) == frozenset("c")


def test_a_wait_is_waited_once(monkeypatch):
    slept = []
    monkeypatch.setattr("system.launch.placement.time.sleep", slept.append)
    placement = Placement(1, {"CPU": 1.0})
    placement.obey(Decision("restart", "x", wait_s=5.0))
    for _ in range(2):
        assert start(placement) is None
    assert slept == [5.0, 0.0]


def start(placement):
    return placement.on_controller_start_worker_group(scaling_config=None, num_workers=1)


@pytest.mark.ray
@pytest.mark.slow
def test_ray_places_nothing_on_a_node_that_is_left_out():
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        cluster.add_node(num_cpus=2)
        ray.init(address=cluster.address)
        nodes = [each["NodeID"] for each in ray.nodes()]
        placement = Placement(2, {"CPU": 1.0})
        assert placement.spare() == frozenset(nodes)
        placement.obey(Decision("restart", "x", without_node=nodes[0]))
        bundles = ray.util.placement_group(
            [{"CPU": 1.0}] * 2, bundle_label_selector=[start(placement)] * 2
        )
        ray.get(bundles.ready(), timeout=60)
        table = ray.util.placement_group_table(bundles)
        assert set(table["bundles_to_node_id"].values()) == {nodes[1]}
        assert placement.spare() == frozenset()
        assert NODE_LABEL in start(placement)
    finally:
        ray.shutdown()
        cluster.shutdown()
