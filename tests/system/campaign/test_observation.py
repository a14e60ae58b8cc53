"""What is seen of jobs, runs and the cluster."""

import json
import math

import pytest

from system.campaign.cluster import Seen
from system.campaign.ledger import Ended
from system.campaign.ledger import Stopped
from system.campaign.observation import capacity
from system.campaign.observation import gpus_per_job
from system.campaign.observation import job_arguments
from system.campaign.observation import job_needs
from system.campaign.observation import measured
from system.campaign.observation import observe
from system.campaign.tick import shared_recipe
from system.foundation import storage
from system.telemetry.ledger import Ledger
from tests.system.campaign.campaigns import SPREAD
from tests.system.campaign.campaigns import Told
from tests.system.campaign.campaigns import campaign
from tests.system.campaign.clusters import PlainCluster
from tests.system.campaign.clusters import leave_behind

NLL = "loss/nll_nats"


def recipe(*settings):
    return shared_recipe(campaign(settings=list(settings)))


def test_room_is_what_the_scarcest_leaves():
    made = recipe("cluster.workers=2", "cluster.device=auto", "cluster.evaluation_gpus=1")
    assert job_needs(made, uses_gpus=True) == {"CPU": 2.0, "GPU": 3.0}
    assert capacity(made, {"CPU": 100.0, "GPU": 7.0}) == 2
    assert capacity(made, {"CPU": 3.0, "GPU": 7.0}) == 1
    assert capacity(made, {"CPU": 5.0}) == 2  # a cluster without GPUs
    assert capacity(made, {}) == 0
    assert gpus_per_job(made, {"CPU": 5.0, "GPU": 8.0}) == 3.0
    assert gpus_per_job(made, {"CPU": 5.0}) == 2.0
    assert gpus_per_job(recipe("cluster.device=cpu"), {"CPU": 5.0, "GPU": 8.0}) == 1.0


def test_a_reported_number_is_that_of_the_end(tmp_path):
    url = str(tmp_path / "run")
    assert measured(url, NLL, 10) is None
    with Ledger(url, "worker-0", run="r") as ledger:
        ledger.write("report", images_seen=10, values={NLL: 1.0})
        ledger.write("report", images_seen=20, values={NLL: 0.5})
    assert measured(url, NLL, 20) == (0.5, None, None)
    assert measured(url, NLL, 21) is None
    assert measured(url, "loss/critic", 10) is None
    with Ledger(url, "worker-0", run="r") as ledger:
        ledger.write("report", images_seen=30, values={NLL: math.nan})
    assert measured(url, NLL, 20) is None


def test_an_evaluated_number_comes_with_its_error_and_protocol(tmp_path):
    one = {"value": 4.0, "standard_error": 0.5, "protocol_digest": "d"}
    content = {"images_seen": 64, "measurements": {"evaluation/gfid": one}}
    storage.write_bytes(f"{tmp_path}/eval/000000000064-digits.json", json.dumps(content).encode())
    assert measured(str(tmp_path), "evaluation/gfid", 64) == (4.0, 0.5, "d")
    assert measured(str(tmp_path), "evaluation/gfid", 65) is None
    assert measured(str(tmp_path), "evaluation/rfid", 64) is None


@pytest.fixture
def told(tmp_path):
    made = Told(campaign(root=str(tmp_path / "runs")))
    made.observe()
    return made


def seen(told, cluster):
    return observe(told.standing, cluster, shared_recipe(told.standing.campaign), 99.0)


def test_a_job_that_ended_is_told_with_what_its_run_says(told, tmp_path):
    cluster = PlainCluster(cpus=3.0)
    first, second = told.standing.open_jobs
    leave_behind(f"{tmp_path}/runs/{first.run}", 100, 0.5, tmp_path)
    cluster.seen[first.name] = Seen(True, 0, 12.0, "good")
    cluster.seen[second.name] = Seen(False, None, 0.0)
    found = seen(told, cluster)
    assert (found.time, found.capacity) == (99.0, 3)
    assert found.ended == (
        Ended(
            job=first.name, exit_code=0, seconds=12.0, images_seen=100, value=0.5, message="good"
        ),
    )


def test_a_job_that_nobody_knows_is_to_run_unless_it_was_to_pause(told):
    cluster = PlainCluster()
    assert seen(told, cluster).ended == ()
    told.add(Stopped(time=told.time))
    assert {(each.exit_code, each.seconds) for each in seen(told, cluster).ended} == {(75, 0.0)}


def test_a_trial_that_no_recipe_allows_ends_as_bad_input(tmp_path):
    told = Told(campaign(root=str(tmp_path), space={SPREAD: {"choices": [-1.0]}}))
    told.observe()
    (ended,) = seen(told, PlainCluster()).ended
    assert ended.exit_code == 2
    assert SPREAD in ended.message


def test_a_jobs_command_line_means_the_same_from_any_folder(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = job_arguments(told.standing, told.standing.open_jobs[0])
    places = dict(each.split("=", 1) for each in given if each.startswith(("data.s", "run.root")))
    assert places == {
        "data.shards": f"{tmp_path}/shards/digits",
        "run.root": f"{tmp_path}/runs",
    }
