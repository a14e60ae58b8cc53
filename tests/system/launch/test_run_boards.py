"""A real run under a real Prometheus: every panel answers, while it goes on and after its end; and
whoever watches may die without the run noticing."""

import json
import os
import re
import shutil
import signal
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from system.observe import leaderboard
from system.observe.boards.writing import BOARDS
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.telemetry.metrics import METRICS
from tests.system.launch.conftest import start_program
from tests.system.launch.watching import LOOKBACK_S
from tests.system.launch.watching import USUAL_LOOKBACK_S
from tests.system.launch.watching import exporter
from tests.system.launch.watching import prometheus
from tests.system.observe.exporter.test_samples import board

pytestmark = [
    pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1200),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]  # fmt: skip

PATIENCE_S = 600
TOTAL, REPORTS, SAVES = 8192, 256, 2048
# Nothing of this kind in the run: losses that the recipe has not, and what only GPUs or other
# protocols of evaluation tell.
ABSENT = {
    "loss/perceptual", "loss/penalty", "loss/adversarial", "loss/alignment", "loss/critic",
    "alignment/cosine", "throughput/peak_memory_bytes",
    "throughput/mfu_share",
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tiny) -> Path:
    return Path(tiny[0].partition("=")[2])


@pytest.fixture(scope="module")
def discovery(ray_here, tmp_path_factory) -> Path:
    """The list of its nodes that Ray writes for Prometheus, where it has a dashboard."""
    asked = (
        "import ray; ray.init(logging_level='ERROR'); print(ray.nodes()[0]['MetricsExportPort'])"
    )
    job = start_program("-c", asked, **ray_here.environment, RAY_ADDRESS=ray_here.address)
    port = job.communicate(timeout=PATIENCE_S)[0].split()[-1]
    place = tmp_path_factory.mktemp("discovery") / "prom_metrics_service_discovery.json"
    listed = [{"labels": {"job": "ray"}, "targets": [f"127.0.0.1:{port}"]}]
    place.write_text(json.dumps(listed))
    return place


@pytest.fixture(scope="module")
def train(ray_here, tiny):
    """Start a run of this name on the session's Ray."""
    joined = ray_here.environment | {"RAY_ADDRESS": ray_here.address, "WANDB_API_KEY": ""}
    return lambda name: start_program(
        "jobs/simflow_digits.py", *tiny, f"run.name={name}", f"run.total_images={TOTAL}",
        f"run.report_every_images={REPORTS}", f"run.checkpoint_every_images={SAVES}",
        f"evaluation.every_images={TOTAL // 2}", **joined,
    )  # fmt: skip


@pytest.fixture(scope="module")
def watched(discovery, train, root, tmp_path_factory):
    """Prometheus after the run, and the moments just before its end and well after it."""
    folder = tmp_path_factory.mktemp("prometheus")
    limits = {"cost_limit": 9.0, "updated": time.time()}
    leaderboard.write(str(root), board(**limits))
    with exporter(str(root)) as source, prometheus(folder, discovery, source.url) as watcher:
        job = train("watched")
        for by in ("ray_", ""):
            watcher.until(by + 'latent_flows_evaluation_gfid{run="watched"}', PATIENCE_S)
        during = time.time()
        said, _ = job.communicate(timeout=PATIENCE_S)
        assert job.returncode == 0, said
        watcher.until('latent_flows_run_state{run="watched", state="ended"} == 1')
        time.sleep(LOOKBACK_S + 15)
        yield watcher, during, time.time()


def series(watcher, at: float) -> set[str]:
    """The names of all our series."""
    found = watcher.ask('count by (__name__) ({__name__=~"latent_flows_.*"})', at)
    return {one["metric"]["__name__"] for one in found}


@pytest.mark.parametrize("moment", ["during", "after"])
def test_every_panel_answers(watched, moment):
    watcher, during, after = watched
    at = during if moment == "during" else after
    there = series(watcher, at)
    absent = {name for name, metric in METRICS.items() if metric.prometheus not in there}
    # Which numbers an evaluation has is up to its protocol.
    assert {name for name in absent if METRICS[name].area != "evaluation"} == ABSENT
    assert "evaluation/gfid" not in absent
    for one in BOARDS.values():
        for query in one.queries:
            asked = set(re.findall(r"\blatent_flows_\w+", query.expression))
            answer = watcher.ask(query.expression, at)
            assert answer or not asked <= there, query.expression


@pytest.mark.parametrize(
    "name", ["evaluation/gfid", "goodput/share", "campaign/value", "campaign/gpu_hours_spent"]
)
def test_what_matters_outlives_the_job_while_rays_own_gauges_are_gone(watched, name):
    watcher, during, after = watched
    assert watcher.ask('ray_latent_flows_evaluation_gfid{run="watched"}', during)
    assert not watcher.ask('{__name__=~"ray_latent_flows_.*"}', after)
    assert watcher.ask(METRICS[name].prometheus, after)


# What a driver tells Ray of a checkpoint's evaluation, until it ends.
TELLS = """
import time
import ray
from system.launch.prometheus_sink import PrometheusSink
ray.init(logging_level="ERROR")
told = {"kind": "evaluation", "images_seen": 64, "values": {"evaluation/gfid": 9.0}}
PrometheusSink("brief").show(told)
time.sleep(3600)
"""


@pytest.mark.by_hand  # ten minutes are waited for
@pytest.mark.timeout(3600)
def test_ten_minutes_later_and_with_the_usual_look_back(discovery, ray_here, tmp_path):
    root, joined = tmp_path / "runs", ray_here.environment | {"RAY_ADDRESS": ray_here.address}
    with Ledger(str(root / "brief"), "worker-0", run="brief", attempt=1) as ledger:
        ledger.write("attempt_started", workers=1)
        ledger.write("first_update", images_seen=32, seconds=0.1, data_wait_s=0.0)
        ledger.write("report", images_seen=64, values={"loss/total": 1.0})
        ledger.write("evaluation", images_seen=64, values={"evaluation/gfid": 9.0})
    leaderboard.write(str(root), board(cost_limit=9.0, updated=time.time()))
    with (
        exporter(str(root)) as source,
        prometheus(tmp_path, discovery, source.url, lookback_s=USUAL_LOOKBACK_S) as watcher,
    ):
        job = start_program("-c", TELLS, **joined)
        watcher.until('ray_latent_flows_evaluation_gfid{run="brief"}', PATIENCE_S)
        job.kill()
        job.communicate()
        time.sleep(600)
        assert not watcher.ask('{__name__=~"ray_latent_flows_.*"}')
        for name in ("evaluation/gfid", "goodput/share", "campaign/value"):
            assert watcher.ask(METRICS[name].prometheus), name
        (gfid,) = watcher.ask(METRICS["evaluation/gfid"].prometheus)
        assert float(gfid["value"][1]) == 9.0


def test_no_alert_fires_over_a_run_that_went_well(watched):
    watcher, during, after = watched
    for at in (during, after):
        firing = watcher.ask('ALERTS{alertstate="firing", run=~"watched|"}', at)
        assert {one["metric"]["alertname"] for one in firing} <= {"DiskNearlyFull"}


@pytest.mark.chaos
def test_watchers_that_die_cost_the_run_nothing(watched, discovery, train, root, tmp_path):
    with exporter(str(root)) as source, prometheus(tmp_path, discovery, source.url) as watcher:
        job = train("alone")
        watcher.until('latent_flows_run_images_seen{run="alone"} > 1000', PATIENCE_S)
        page = urllib.request.urlopen(source.url)  # somebody who looks, and goes in the middle
        page.read(100)
        page.close()
        mirrors = wandb_processes(job.pid)
        for pid in (watcher.process.pid, source.process.pid, *mirrors):
            os.kill(pid, signal.SIGKILL)
        said, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, said
    assert mirrors
    before, without = (read_ledger(str(root / name)) for name in ("watched", "alone"))
    assert course(without) == course(before)
    assert [seen for seen, _ in course(without)] == list(range(REPORTS, TOTAL + 1, REPORTS))
    for kind in ("checkpoint", "evaluation", "attempt_finished", "run_finished"):
        assert count(without, kind) == count(before, kind) > 0, kind
    assert count(without, "attempt_started") == 1


def wandb_processes(driver: int) -> list[int]:
    """The process of wandb beside a driver."""
    found = []
    for one in psutil.Process(driver).children(recursive=True):
        with suppress(psutil.Error):  # it may end meanwhile
            found += [one.pid] * ("wandb" in one.name())
    return found


def course(events) -> list[tuple[int, float]]:
    """Every loss that was written, with its place."""
    reports = [each for each in events if each["kind"] == "report"]
    return [(each["images_seen"], each["values"]["loss/total"]) for each in reports]


def count(events, kind: str) -> int:
    return sum(each["kind"] == kind for each in events)
