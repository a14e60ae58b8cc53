"""What strikes a run, and what becomes of it: whole runs of the real command on a real Ray.

One run lives through most of it, one blow after the other; a store that is down and a disk that is
full have runs of their own. docs/results/chaos.md is written by these tests, with what others show:

    CHAOS_TABLE=docs/results/chaos.md python -m pytest tests/faults/test_chaos_table.py
"""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from data_pipeline.audit.request import Audit
from data_pipeline.audit.request import audit
from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.launch.local_ray import local_ray
from system.telemetry.ledger import read_ledger
from tests.faults import shocks
from tests.faults.storm import Storm
from tests.system.launch.conftest import start_program

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
JOB = "jobs/simflow_digits.py"
PATIENCE_S = 1500
BATCH = 64
DOWN_S = 60
AT = {
    "not_a_number": 6,
    "clock_forward": 9, "clock_back": 11, "clock_right": 13,
    "spike": 21,
    "poison": 29,
    "out_of_memory": 37,
    "hung_loader": 45,
    "hung_collective": 53,
}  # fmt: skip
UPDATES = 60
# A watch that needs few updates and minds no ordinary noise, and hangs that are found soon.
GUARDS = [
    "guards.spikes.least_updates=6", "guards.spikes.odd_updates=1",
    "guards.spikes.updates_before=0", "guards.spikes.loss_deviations=100",
    "guards.spikes.gradient_deviations=50", "engine.schedule.warmup_images=0",
    "guards.hangs.least_s=20",
]  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled digits, packed."""
    out = str(tmp_path_factory.mktemp("digits"))
    pack(PackRecipe(source=Digits(), out=out, channels=1, held_out_fraction=0.2))
    return out


@contextmanager
def variables(**given: str) -> Iterator[None]:
    """The environment of what is started within."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the shocks share with the tests."""
    made = tmp_path_factory.mktemp("shocks")
    shocks.prepare(made)
    return made


@pytest.fixture(scope="module")
def store() -> Iterator[tuple[Storm, dict[str, str]]]:
    """Bad weather in front of a real S3 server, and what a client of it must know."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with Storm(f"http://{host}:{port}", seed=0) as storm:
        yield (
            storm,
            {
                "AWS_ENDPOINT_URL": storm.url,
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_DEFAULT_REGION": "us-east-1",
            },
        )
    server.stop()


@pytest.fixture(scope="module")
def start(folder: Path, store: Any, shards: str) -> Iterator[Any]:
    """Starts small runs on one Ray, which shocks reach."""
    hooked = {
        "CHAOS_FOLDER": str(folder),
        "PYTHONPATH": f"{ROOT / 'tests/faults/hook'}{os.pathsep}{ROOT}",
        "WANDB_MODE": "disabled",
    } | store[1]
    with variables(**hooked), local_ray(cpus=2.0) as here:
        pass_on = here.environment | {"RAY_ADDRESS": here.address} | hooked
        yield lambda root, name, updates, *settings: start_program(
            JOB, *small(root, shards, name, updates), *settings, **pass_on
        )


def small(root: Any, shards: str, name: str, updates: int) -> list[str]:
    """Settings of a small run."""
    return [
        f"run.root={root}", f"data.shards={shards}", f"run.name={name}",
        f"run.total_images={updates * BATCH}", f"run.global_batch={BATCH}",
        f"run.report_every_images={2 * BATCH}", f"run.checkpoint_every_images={4 * BATCH}",
        "autoencoder.width=8", "flow.width=16", "flow.depths=[1, 1]", "flow.head_width=8",
        "data.workers=1", "evaluation.kind=none", "cluster.workers=2",
    ]  # fmt: skip


@dataclass(frozen=True)
class Lived:
    """A run that has ended: what its ledger says, what it printed, and when it was struck."""

    events: list[dict[str, Any]]
    said: str
    code: int
    times: dict[str, list[float]]
    url: str

    def of(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        """The events of a kind that say so."""
        return [
            event
            for event in self.events
            if event["kind"] == kind
            and all(event.get(name) == value for name, value in wanted.items())
        ]

    def restarts(self, cause: str) -> list[tuple[str, dict[str, Any]]]:
        """What was decided on failures of a cause."""
        return [(e["action"], e) for e in self.of("failure_decided", cause=cause)]

    def back_after(self, shock: str) -> float:
        """Seconds from a shock's last blow to the first report of the life after it."""
        last = self.times[shock][-1]
        struck = max(e["attempt"] for e in self.of("attempt_started") if e["time"] < last)
        return min(e["time"] for e in self.of("report") if e["attempt"] > struck) - last


@pytest.fixture(scope="module")
def struck(start: Any, folder: Path, tmp_path_factory: Any) -> Lived:
    """One run that lives through one shock after the other."""
    root = tmp_path_factory.mktemp("runs")
    plan = {"struck": {shock: update * BATCH for shock, update in AT.items()}}
    (folder / "plan.json").write_text(json.dumps(plan))
    job = start(root, "struck", UPDATES, *GUARDS)
    said, _ = job.communicate(timeout=PATIENCE_S)
    url = str(root / "struck")
    return Lived(read_ledger(url), said, job.returncode, shocks.struck(folder, "struck"), url)


def record(row: str, injected: str, happened: str, line: str, back: str) -> None:
    """Add a row to the table, where one is written."""
    if place := os.environ.get("CHAOS_TABLE"):
        with Path(place).open("a") as file:
            file.write(f"| {row} | {injected} | {happened} | {line} | {back} |\n")


def test_it_ends_well_and_every_sample_counts_once(struck: Lived) -> None:
    assert struck.code == 0, struck.said
    assert {*struck.times} == {*AT}
    assert struck.of("run_finished")[-1]["images_seen"] == UPDATES * BATCH
    proof, text = audit(Audit(run=struck.url))
    assert proof.holds, text


def test_numbers_of_one_worker_that_are_none_stop_the_update_on_both(struck: Lived) -> None:
    (event,) = struck.of("skipped_update")
    assert event["images_seen"] == (AT["not_a_number"] + 1) * BATCH
    assert {each["rank"] for each in event["blame"]} == {1}
    record(
        "NaN in one rank", "images of worker 1 become NaN in one update",
        f"the update is skipped on both workers; reason in the ledger: {event['reason']}",
        "`skipped_update`", "at once",
    )  # fmt: skip


def test_clocks_that_jump_change_nothing(struck: Lived) -> None:
    ahead = [e for e in struck.events if e["time"] > time.time() + shocks.HOUR_S / 2]
    behind = [e for e in struck.events if e["time"] < struck.times["clock_forward"][0] - 1800]
    assert {e["kind"] for e in ahead} >= {"report"}
    assert {e["kind"] for e in behind} >= {"report"}
    (first, *_) = struck.of("failure_decided")
    assert first["cause"] == "planned", "the spike's, which comes later"
    record(
        "clock jump", "`time.time` of driver and workers goes 1 h ahead, then 1 h behind, and back",
        "nothing: decisions and waits read monotonic clocks", "none", "at once",
    )  # fmt: skip


def test_a_spike_takes_it_back_and_leaves_its_batch_out(struck: Lived) -> None:
    (event,) = struck.of("rolled_back")
    at = AT["spike"] * BATCH
    assert (event["start"], event["stop"]) == (at, at + BATCH)
    assert [action for action, _ in struck.restarts("planned")] == ["restart"]
    assert at in {e["start"] for e in struck.of("positions_left_out")}
    record(
        "loss spike", "the images of one batch are shifted by 10,000",
        "taken back to the checkpoint before it, restarted, its positions left out by name",
        "`rolled_back`, `positions_left_out`", f"{struck.back_after('spike'):.0f} s",
    )  # fmt: skip


def test_a_batch_that_kills_twice_is_left_out_by_name(struck: Lived) -> None:
    at = AT["poison"] * BATCH
    decided = struck.restarts("unknown")
    assert [action for action, _ in decided] == ["restart", "skip"]
    assert decided[1][1]["position"] == at
    left_out = struck.of("positions_left_out", start=at)[0]
    assert len(left_out["keys"]) == BATCH
    record(
        "poison batch", "worker 1 raises at one batch, whenever it comes",
        "restarted once; at the second failure skipped by position and key",
        "`failure_decided` (restart, skip), `positions_left_out`",
        f"{struck.back_after('poison'):.0f} s",
    )  # fmt: skip


def test_out_of_memory_is_met_with_smaller_passes_once(struck: Lived) -> None:
    (decided,) = struck.restarts("out_of_memory")
    assert decided[0] == "restart"
    assert decided[1]["micro_batch"] == shocks.MOST_IMAGES
    record(
        "out of memory", "an allocation of 2^50 bytes fails in passes of more than 16 images",
        "restarted once with passes of 16 images", "`failure_decided` (micro_batch)",
        f"{struck.back_after('out_of_memory'):.0f} s",
    )  # fmt: skip


@pytest.mark.parametrize(
    # Who waits in a collective for one whose loader hangs may be the first to find it.
    ("shock", "stages"),
    [("hung_loader", {"data", "collective"}), ("hung_collective", {"collective"})],
)
def test_hangs_are_found_and_their_stacks_kept(struck: Lived, shock: str, stages: set[str]) -> None:
    hang = next(e for e in struck.of("hang") if e["time"] > struck.times[shock][0])
    assert hang["stage"] in stages
    assert (Path(struck.url) / hang["stacks"]).exists()
    injected = {
        "hung_loader": "the decoding processes of worker 0 are stopped (SIGSTOP)",
        "hung_collective": "worker 1 is stopped (SIGSTOP) while worker 0 waits for it",
    }
    record(
        shock.replace("_", " "), injected[shock],
        f"found by the deadman after {hang['time'] - struck.times[shock][0]:.0f} s (20 s or 50 "
        "typical updates), stacks in `logs/`, exit code 70, group restarted",
        f"`hang` (stage {hang['stage']}), `failure_decided`", f"{struck.back_after(shock):.0f} s",
    )  # fmt: skip


def test_a_store_that_is_down_for_a_minute_costs_no_run(start: Any, store: Any) -> None:
    import s3fs

    storm, known = store
    with variables(**known):
        s3fs.S3FileSystem.clear_instance_cache()
        bucket = uuid.uuid4().hex
        s3fs.S3FileSystem().mkdir(bucket)
        url = f"s3://{bucket}/runs/down"
        job = start(f"s3://{bucket}/runs", "down", 2000)
        deadline = time.monotonic() + PATIENCE_S
        while not any(e["kind"] == "checkpoint" for e in read_ledger(url)):
            assert job.poll() is None, job.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(1)
        before = max(e["images_seen"] for e in read_ledger(url) if e["kind"] == "checkpoint")
        storm.weather = {"reset": 1.0}
        down = time.time()
        time.sleep(DOWN_S)
        storm.weather = {}
        back = time.time()
        while True:
            assert job.poll() is None, job.communicate()[0]
            assert time.monotonic() < deadline
            events = read_ledger(url)
            newer = [e for e in events if e["kind"] == "checkpoint" and e["time"] > back]
            if newer and newer[-1]["images_seen"] > before:
                break
            time.sleep(1)
        job.terminate()
        said, _ = job.communicate(timeout=PATIENCE_S)
        s3fs.S3FileSystem.clear_instance_cache()
    assert job.returncode == 75, said
    assert storm.faults["reset"] > 0
    decided = [(e["cause"], e["action"]) for e in events if e["kind"] == "failure_decided"]
    assert all(each == ("storage", "restart") for each in decided)
    record(
        "storage down for 60 s", f"{storm.faults['reset']} requests are reset",
        f"driver and lease wait; workers whose upload fails are restarted ({len(decided)} times)",
        "`failure_decided` (storage, restart)" if decided else "none",
        f"{newer[0]['time'] - back:.0f} s after the store is back, {newer[0]['time'] - down:.0f} s "
        "after it went",
    )  # fmt: skip


FULL = """
mount -t tmpfs -o size=512m none {at}
( until grep -qs '"checkpoint"' {at}/runs/full/ledger/*.jsonl; do sleep 0.2; done
  dd if=/dev/zero of={at}/ballast bs=4k ) >/dev/null 2>&1 &
"$@"; code=$?
rm -f {at}/ballast; cp -r {at}/runs {kept}; exit $code
"""


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode != 0,
    reason="this machine lets nobody mount a small disk",
)
def test_a_full_disk_ends_the_run_at_once_and_says_where(shards: str, tmp_path: Path) -> None:
    at = tmp_path / "disk"
    at.mkdir()
    script = FULL.format(at=at, kept=tmp_path / "kept")
    command = [
        "unshare", "-rm", "bash", "-c", script, "bash",
        sys.executable, JOB, *small(f"{at}/runs", shards, "full", 100_000),
    ]  # fmt: skip
    known = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    began = time.monotonic()
    job = subprocess.run(
        command, cwd=ROOT, env=known | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    said = job.stdout + job.stderr
    assert job.returncode == 5, said
    assert "a disk was full while the run wrote" in said
    assert "Traceback" not in said
    events = read_ledger(str(tmp_path / "kept/full"))
    assert len([e for e in events if e["kind"] == "attempt_started"]) == 1
    decided = [(e["cause"], e["action"]) for e in events if e["kind"] == "failure_decided"]
    assert set(decided) <= {("disk_full", "stop")}
    record(
        "full disk", "a real, small disk (tmpfs) is filled up under the run",
        "exit code 5, no restart, one message with what to free",
        "`failure_decided` (disk_full, stop)" if decided else "none: the disk is full",
        f"ended {time.monotonic() - began:.0f} s after its start",
    )  # fmt: skip
