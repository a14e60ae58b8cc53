"""Ray's job API: a name is taken once, ends are told as they were, silence is an error."""

import time

import pytest

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


def test_nobody_there_is_told_of():
    with pytest.raises(ClusterError, match="expected at"):
        RayCluster("http://127.0.0.1:9")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jobs_are_submitted_once_and_their_ends_are_told(tmp_path):
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
        cluster.stop("long")
        assert ended(cluster, "long").exit_code is None
        cluster.stop("long")
        assert len(cluster._client.list_jobs()) == 2
    with pytest.raises(ClusterError):
        cluster.look("long")
