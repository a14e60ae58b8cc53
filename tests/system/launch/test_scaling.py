"""What of the rule for the number of workers needs no Ray; see tests/faults/test_elastic.py too."""

import socket

import pytest
import ray
from ray.cluster_utils import Cluster

from system.launch.scaling import answers
from system.launch.scaling import largest_up_to
from system.launch.scaling import present_nodes
from system.launch.scaling import resources_of
from tests.faults.nodes import started


@pytest.mark.parametrize(
    ("most", "size"), [(0, 0), (1, 0), (2, 2), (3, 2), (7, 4), (8, 8), (100, 8)]
)
def test_the_largest_size_that_there_is_room_for(most, size):
    assert largest_up_to(most, (2, 4, 8)) == size


def test_a_node_that_is_gone_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as there:
        place = there.getsockname()
        assert answers(place)
    assert not answers(place)


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_that_is_left_out_is_no_room_for_workers():
    cluster = Cluster()
    try:
        started(cluster, num_cpus=1)
        joined = started(cluster, num_cpus=2).node_id
        ray.init(address=cluster.address)
        assert {node["CPU"] for node in present_nodes({}).values()} == {1.0, 2.0}
        (left,) = present_nodes({}, {joined}).values()
        assert left["CPU"] == 1.0
        assert [node["CPU"] for node in resources_of({joined, "gone"})] == [2.0]
    finally:
        ray.shutdown()
        cluster.shutdown()
