"""Where workers run, and how a node is left out."""

import pytest
import ray
from ray.cluster_utils import Cluster

from system.launch.placement import NODE_LABEL
from system.launch.placement import Placement
from system.launch.placement import carries
from system.launch.placement import spare_nodes
from system.launch.retry_policy import Decision
from system.launch.scaling import present_nodes


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


def test_labels_of_a_node_are_all_asked_for():
    labelled = node("a") | {"Labels": {"pool": "training", "zone": "b"}}
    assert carries(labelled, {})
    assert carries(labelled, {"pool": "training", "zone": "b"})
    assert not carries(labelled, {"pool": "training", "zone": "c"})
    assert not carries(node("a"), {"pool": "training"})


def test_a_node_that_is_left_out_does_not_lift_the_other_wishes():
    placement = Placement(1, {"CPU": 1.0}, {"pool": "training"})
    assert start(placement) is None  # Ray has the labels from its settings
    placement.obey(Decision("restart", "x", without_node="abc"))
    assert start(placement) == {"pool": "training", NODE_LABEL: "!in(abc)"}


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
def test_workers_stay_on_nodes_of_their_pool():
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4})
    try:
        cluster.add_node(num_cpus=2, labels={"pool": "training"})
        ray.init(address=cluster.address)
        ours = {each["NodeID"] for each in ray.nodes() if carries(each, {"pool": "training"})}
        assert len(ours) == 1
        assert present_nodes({"pool": "training"}).keys() == ours
        assert len(present_nodes({})) == 2
        placement = Placement(2, {"CPU": 1.0}, {"pool": "training"})
        assert placement.spare() == frozenset()
        placement.obey(Decision("restart", "x", without_node="f" * 56))
        bundles = ray.util.placement_group(
            [{"CPU": 1.0}] * 2, bundle_label_selector=[start(placement)] * 2
        )
        ray.get(bundles.ready(), timeout=60)
        table = ray.util.placement_group_table(bundles)
        assert set(table["bundles_to_node_id"].values()) == ours
    finally:
        ray.shutdown()
        cluster.shutdown()


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
