"""A store that is down for a minute, then a posterior that collapses: a run of the real command.

Their rows in docs/results/chaos.md are written as `test_chaos_table` says.
"""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.telemetry.ledger import read_ledger
from tests.faults import shocks
from tests.faults.chaos_runs import JOB
from tests.faults.chaos_runs import PATIENCE_S
from tests.faults.chaos_runs import Lived
from tests.faults.chaos_runs import hooked
from tests.faults.chaos_runs import lived
from tests.faults.chaos_runs import record
from tests.faults.chaos_runs import small
from tests.faults.chaos_runs import variables
from tests.faults.storm import Storm
from tests.system.launch.conftest import start_program

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.chaos,
    pytest.mark.by_hand,
    pytest.mark.timeout(3600),
]

DOWN_S = 60


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled digits, packed."""
    out = str(tmp_path_factory.mktemp("digits"))
    pack(PackRecipe(source=Digits(), out=out, channels=1, held_out_fraction=0.2))
    return out


@pytest.fixture(scope="module")
def storm() -> Iterator[Storm]:
    """Bad weather in front of a real S3 server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with Storm(f"http://{host}:{port}", seed=0) as made:
        yield made
    server.stop()


class Outage:
    """When the store went and came back, and what the run saw."""

    def __init__(self, run: Lived, down: float, back: float) -> None:
        self.run, self.down, self.back = run, down, back


@pytest.fixture(scope="module")
def outage(storm: Storm, shards: str, tmp_path_factory: Any) -> Iterator[Outage]:
    """A run on a store that is down for a minute; once it saves again, its posterior collapses."""
    import s3fs

    known = {
        "AWS_ENDPOINT_URL": storm.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    folder = tmp_path_factory.mktemp("shocks")
    shocks.prepare(folder)
    with variables(**known):
        s3fs.S3FileSystem.clear_instance_cache()
        bucket = uuid.uuid4().hex
        s3fs.S3FileSystem().mkdir(bucket)
        url = f"s3://{bucket}/runs/down"
        settings = small(f"s3://{bucket}/runs", shards, "down", 5000)
        job = start_program(JOB, *settings, "guards.collapse.reports=2", **hooked(folder))
        try:
            wait_for_checkpoint(url, job, after=0.0)
            storm.weather = {"reset": 1.0}
            down = time.time()
            time.sleep(DOWN_S)
            storm.weather = {}
            back = time.time()
            wait_for_checkpoint(url, job, after=back)
            shocks.plan(folder, {"down": {"collapse": None}})
            yield Outage(lived(url, job, folder), down, back)
        finally:
            job.kill()
        s3fs.S3FileSystem.clear_instance_cache()


def wait_for_checkpoint(url: str, job: Any, after: float) -> None:
    """Return when the run has saved since then."""
    deadline = time.monotonic() + PATIENCE_S
    while not any(e["kind"] == "checkpoint" and e["time"] > after for e in read_ledger(url)):
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(1)


def test_a_store_that_is_down_for_a_minute_costs_a_wait(outage: Outage, storm: Storm) -> None:
    assert storm.faults["reset"] > 0
    run, since = outage.run, lambda e: e["time"] - outage.back
    assert [e["attempt"] for e in run.of("attempt_started")] == [1], "nobody was started again"
    failed = run.of("save_failed")
    assert failed
    before = [e["images_seen"] for e in run.of("checkpoint") if e["time"] < outage.down]
    after = [e for e in run.of("checkpoint") if e["time"] > outage.back]
    assert after[0]["images_seen"] > max(before)
    record(
        f"storage down for {DOWN_S} s: each of {storm.faults['reset']} requests to S3 is reset",
        "driver, lease and ledger wait; the save on its way is tried again until the store is "
        "back; nobody is started again",
        f"`save_failed` ({len(failed)}), then `checkpoint`",
        f"{since(after[0]):.0f} s after the store is back",
    )  # fmt: skip


def test_a_collapsing_posterior_stops_the_run_and_says_what_to_change(outage: Outage) -> None:
    run = outage.run
    assert run.code == 3, run.said
    assert "the posterior has collapsed in 2 reports in a row" in run.said
    assert "objective.reconstruction.weight" in run.said
    assert run.decided("numerics") == ["stop"]
    end = max(e["time"] for e in run.of("failure_decided")) - run.times["collapse"][0]
    record(
        "collapsing posterior: from one update on the encoder says the same of all images",
        "stopped after so many reports as are allowed (2) with exit code 3 and what to change",
        "`worker_failed` (numerics), `failure_decided` (stop)", f"stopped after {end:.0f} s",
    )  # fmt: skip
