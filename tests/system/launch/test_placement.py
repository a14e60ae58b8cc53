"""Where workers run, and how a node is left out."""

import pytest
import ray
from ray.cluster_utils import Cluster

from system.launch.placement import NODE_LABEL
from system.launch.placement import Placement
from system.launch.placement import carries
from system.launch.placement import left_out_here
from system.launch.placement import room
from system.launch.placement import spare_nodes
from system.launch.retry_policy import Decision
from system.launch.scaling import present_nodes
from tests.faults.nodes import PATIENCE_S
from tests.faults.nodes import started


def node(cpus=2.0, gpus=0.0):
    return {"CPU": cpus} | ({"GPU": gpus} if gpus else {})


NODES = {
    "one": ({"a": node()}, 1, ""),
    "either": ({"a": node(), "b": node()}, 2, "ab"),
    "both are needed": ({"a": node(), "b": node()}, 3, ""),
    "the small one": ({"a": node(4.0), "b": node(1.0)}, 4, "b"),
    "any of three": ({"a": node(), "b": node(), "c": node()}, 4, "abc"),
}


@pytest.mark.parametrize("case", NODES)
def test_a_node_is_spare_where_the_others_suffice(case):
    nodes, workers, spare = NODES[case]
    assert spare_nodes(nodes, workers, {"CPU": 1.0}, {}) == frozenset(spare)


def test_every_kind_of_resource_counts():
    nodes = {"a": node(8.0, 2.0), "b": node(8.0, 2.0), "c": node(64.0)}
    wanted = {"CPU": 1.0, "GPU": 1.0}
    assert spare_nodes(nodes, 2, wanted, {}) == frozenset("abc")
    assert spare_nodes(nodes, 3, wanted, {}) == frozenset("c")


def test_what_evaluations_keep_is_not_spare():
    nodes = {"a": node(), "b": node()}
    assert spare_nodes(nodes, 1, {"CPU": 1.0}, {"CPU": 1.0}) == frozenset("ab")
    assert spare_nodes(nodes, 2, {"CPU": 1.0}, {"CPU": 1.0}) == frozenset()
    # No worker's CPUs lie on two nodes.
    assert spare_nodes({"a": node(3.0), "b": node(3.0), "c": node()}, 3, {"CPU": 2.0}, {}) == set()


@pytest.mark.parametrize(
    ("nodes", "kept", "workers"),
    [
        ([], {}, 0),
        ([{"CPU": 8.0}], {}, 0),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 2.0, "GPU": 2.0}], {}, 4),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 2.0, "GPU": 2.0}], {"GPU": 1.0}, 3),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 2.0, "GPU": 2.0}], {"CPU": 5.0}, 2),
        ([{"CPU": 2.0, "GPU": 1.0}], {"GPU": 4.0}, 0),
    ],
)
def test_evaluations_keep_their_room(nodes, kept, workers):
    assert room(nodes, {"CPU": 2.0, "GPU": 1.0}, kept) == workers


def test_labels_of_a_node_are_all_asked_for():
    labelled = {"NodeID": "a", "Labels": {"pool": "training", "zone": "b"}}
    assert carries(labelled, {})
    assert carries(labelled, {"pool": "training", "zone": "b"})
    assert not carries(labelled, {"pool": "training", "zone": "c"})
    assert not carries({"NodeID": "b"}, {"pool": "training"})


def test_a_node_that_is_left_out_does_not_lift_the_other_wishes():
    placement = Placement(1, {"CPU": 1.0}, labels={"pool": "training"})
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
    cluster = Cluster()
    try:
        started(cluster, num_cpus=4)
        started(cluster, num_cpus=2, labels={"pool": "training"})
        ray.init(address=cluster.address)
        ours = {each["NodeID"] for each in ray.nodes() if carries(each, {"pool": "training"})}
        assert len(ours) == 1
        assert present_nodes({"pool": "training"}).keys() == ours
        assert len(present_nodes({})) == 2
        placement = Placement(2, {"CPU": 1.0}, labels={"pool": "training"})
        assert placement.spare() == frozenset()
        placement.obey(Decision("restart", "x", without_node="f" * 56))
        bundles = ray.util.placement_group(
            [{"CPU": 1.0}] * 2, bundle_label_selector=[start(placement)] * 2
        )
        ray.get(bundles.ready(), timeout=PATIENCE_S)
        table = ray.util.placement_group_table(bundles)
        assert set(table["bundles_to_node_id"].values()) == ours
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.ray
@pytest.mark.slow
def test_ray_places_nothing_on_a_node_that_is_left_out():
    cluster = Cluster()
    try:
        started(cluster, num_cpus=2)
        started(cluster, num_cpus=2)
        ray.init(address=cluster.address)
        nodes = [each["NodeID"] for each in ray.nodes()]
        placement = Placement(2, {"CPU": 1.0})
        assert placement.spare() == frozenset(nodes)
        placement.obey(Decision("restart", "x", without_node=nodes[0]))
        assert nodes[0] in left_out_here()
        bundles = ray.util.placement_group(
            [{"CPU": 1.0}] * 2, bundle_label_selector=[start(placement)] * 2
        )
        ray.get(bundles.ready(), timeout=PATIENCE_S)
        table = ray.util.placement_group_table(bundles)
        assert set(table["bundles_to_node_id"].values()) == {nodes[1]}
        assert placement.spare() == frozenset()
        assert NODE_LABEL in start(placement)
    finally:
        ray.shutdown()
        cluster.shutdown()
