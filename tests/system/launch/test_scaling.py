"""What of the rule for the number of workers needs no Ray; see tests/faults/test_elastic.py too."""

import socket

import pytest

from system.launch.scaling import answers
from system.launch.scaling import largest_up_to
from system.launch.scaling import room


@pytest.mark.parametrize(
    ("most", "size"), [(0, 0), (1, 0), (2, 2), (3, 2), (7, 4), (8, 8), (100, 8)]
)
def test_the_largest_size_that_there_is_room_for(most, size):
    assert largest_up_to(most, (2, 4, 8)) == size


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


def test_a_node_that_is_gone_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as there:
        place = there.getsockname()
        assert answers(place)
    assert not answers(place)
