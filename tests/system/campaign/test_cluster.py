"""Ray's job API: a name is taken once, ends are told as they were, silence is an error."""

import json
import time

import pytest

from system.campaign.cluster import DRIVER
from system.campaign.cluster import RayCluster
from system.foundation.errors import ClusterError
from system.launch.local_ray import local_ray

PATIENCE_S = 240.0


def ended(cluster, job):
    deadline = time.monotonic() + PATIENCE_S
    while not (seen := cluster.look(job)).ended:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return seen


def asked_for(cluster, job):
    """What the actor that runs a job's program takes of its node."""
    answer = cluster._client._do_request("GET", "/api/v0/actors?detail=True").json()
    actors = answer["data"]["result"]["result"]
    (found,) = [one for one in actors if one["name"] == f"_ray_internal_job_actor_{job}"]
    return found["required_resources"]


def test_nobody_there_is_told_of():
    with pytest.raises(ClusterError, match="expected at"):
        RayCluster("http://127.0.0.1:9")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jobs_are_submitted_once_to_drivers_nodes_and_their_ends_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", json.dumps({DRIVER: 2}))  # of the node, to Ray
    with local_ray(cpus=2.0, port=0) as ray_here:
        cluster = RayCluster(ray_here.dashboard, ray_here.token)
        assert cluster.resources()["CPU"] == 2.0
        assert cluster.look("nobody") is None
        cluster.stop("nobody")
        marks = ["jobs/run_campaign.py", "plan", f"{tmp_path}/none.yaml"]
        for _ in range(2):
            cluster.submit("bad", marks[0], marks[1:], {"A": "1"})
        assert ended(cluster, "bad").exit_code == 2
        long = ["-c", "import time; time.sleep(600)"]
        cluster.submit("long", long[0], long[1:], {})
        assert not cluster.look("long").ended
        assert asked_for(cluster, "long") == {DRIVER: 1}
        cluster.stop("long")
        assert ended(cluster, "long").exit_code is None
        cluster.stop("long")
        assert len(cluster._client.list_jobs()) == 2
    with pytest.raises(ClusterError):
        cluster.look("long")
