"""The Slurm script: with a real Ray of two nodes on loopback, and stand-ins for Slurm's own."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from ipaddress import IPv6Address
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from system.foundation.config import resolve
from system.foundation.errors import ExitCode
from system.launch.local_ray import MARK
from system.launch.local_ray import marked
from system.telemetry.ledger import read_ledger
from tests.recipes import PUBLISHED
from tests.recipes import ROOT

SCRIPT = ROOT / "ops" / "slurm" / "train.sbatch"
PROFILE = "configs/clusters/slurm.yaml"
MARK_HERE = f"slurm-{os.getpid()}"
PATIENCE_S = 600
NOTICE_S = 25

# A step is one process, whose number is how many there were before it.
STAND_INS = {
    "srun": """
while [[ $1 == --* ]]; do shift; done
[[ $1 == ray ]]
shift
step=$(find "$STAND_IN" -name 'step-*' | wc -l)
echo $$ >"$STAND_IN/step-$step"
exec python "${0%/*}/ray_on_loopback" "$@" --object-store-memory=100000000 --min-worker-port=0 \
  --max-worker-port=0 --dashboard-agent-listen-port=0 >"$STAND_IN/ray-$step.log" 2>&1
""",
    "scontrol": """
case $1 in
  show) tr , '\\n' <<<"$3" ;;
  requeue) touch "$STAND_IN/queued-again" ;;
esac
""",
    "scancel": """
[[ $1 == --signal=TERM && ${2%.*} == "$SLURM_JOB_ID" ]]
kill -TERM "$(cat "$STAND_IN/step-${2##*.}")"
echo "$2" >"$STAND_IN/cancelled"
""",
}


def test_the_script_is_one_that_bash_reads() -> None:
    done = subprocess.run(["bash", "-n", SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_recipe_it_says_how_it_is_used(tmp_path: Path) -> None:
    done = subprocess.run(["bash", SCRIPT], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == ExitCode.BAD_INPUT
    assert "usage: sbatch" in done.stderr


def test_slurm_tells_it_early_enough() -> None:
    text = SCRIPT.read_text("utf-8")
    (told,) = [line for line in text.splitlines() if line.startswith("#SBATCH --signal=B:TERM@")]
    (notice,) = [line for line in text.splitlines() if line.startswith("NOTICE_S=")]
    default = int(notice.partition(":-")[2].partition("}")[0])
    assert int(told.rpartition("@")[2]) >= default + 60
    assert "#SBATCH --requeue" in text.splitlines()


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_its_overlay_fits_every_recipe(path: Path) -> None:
    assert resolve(path, [PROFILE]).recipe.cluster.device == "cuda"


# Ray binds all to loopback where a variable tells it that nodes of other machines are not wanted,
# and then takes no second node. This is both: it is set, and a node is added all the same. And a
# node may take ten times as long to start as Ray's 30 s, which a busy machine exceeds.
RAY_ON_LOOPBACK = """
import time
from types import SimpleNamespace
from ray._private import node, ray_constants, services
from ray.scripts.scripts import main

assert not ray_constants.ENABLE_RAY_CLUSTER
ray_constants.ENABLE_RAY_CLUSTER = True
services.get_node_ip_address = lambda address=None: "127.0.0.1"
begin = node.Node.__init__

def begin_patiently(*given, **settings):
    slow = {"monotonic": lambda: time.monotonic() / 10}
    node.time = SimpleNamespace(**{**vars(time), **slow})
    begin(*given, **settings)
    node.time = time

node.Node.__init__ = begin_patiently
main()
"""


# What the script is asked to do where neither Slurm nor Ray is at hand.
QUICK = {
    "srun": """
while [[ $1 == --* ]]; do shift; done
step=$(find "$STAND_IN" -name 'step-*' | wc -l)
echo "$@" >"$STAND_IN/started-$step"
echo $$ >"$STAND_IN/step-$step"
exec "$@"
""",
    "ray": """
[[ $RAY_AUTH_MODE == token && -s $RAY_AUTH_TOKEN_PATH ]]
if [[ $1 == health-check ]]; then [[ -e $STAND_IN/step-0 ]]; exit; fi  # the head is there
exec sleep 600
""",
    "python": """
[[ $2 == 'import ray'* ]] && exit
exec "$REAL_PYTHON" "$@"
""",
}
DRIVER = """
import os, pathlib, signal, stat, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
token = pathlib.Path(os.environ["RAY_AUTH_TOKEN_PATH"])
assert stat.S_IMODE(token.stat().st_mode) == 0o600 and len(token.read_text()) == 64
assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
assert os.environ["RAY_ADDRESS"].endswith(":" + os.environ["PORT"])
pathlib.Path(os.environ["STAND_IN"], "driver").write_text(os.environ["RAY_ADDRESS"])
if sys.argv[1] != "wait":
    sys.exit(int(sys.argv[1]))
time.sleep(600)
"""


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A job of two nodes on which nothing is real but the script and its driver."""
    programs = stand_ins(tmp_path, STAND_INS | QUICK)
    (tmp_path / "driver.py").write_text(DRIVER)
    try:
        yield os.environ | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "BIN": str(programs),
            "REAL_PYTHON": sys.executable,
            "SLURM_JOB_ID": "17",
            "SLURM_JOB_NODELIST": "one,two",
            "SLURM_SUBMIT_DIR": str(tmp_path),
            "HEAD_ADDRESS": "192.0.2.1",
            "NOTICE_S": "1",
            "TOKEN_ROOT": str(tmp_path),
            MARK: MARK_HERE,
        }
    finally:
        end_all()


def test_a_job_starts_its_nodes_and_leaves_as_its_driver_does(
    quick: dict[str, str], tmp_path: Path
) -> None:
    for code in (0, 2, 75):
        folder = tmp_path / str(code)
        with submitted(quick, folder, "driver.py", str(code)) as script:
            assert script.wait(PATIENCE_S) == code, (folder / "log").read_text()
        assert (folder / "queued-again").exists() == (code == 75)
        head, worker = ((folder / f"started-{step}").read_text() for step in (0, 1))
        assert head.startswith("ray start --head --block --node-ip-address=192.0.2.1 ")
        assert " --dashboard-host=127.0.0.1 " in head
        assert worker.startswith("ray start --block --address=192.0.2.1:")
        assert list(tmp_path.glob(".latent-flows-*")) == []  # nor a token
        assert [each for each in marked(MARK_HERE) if each.pid != os.getpid()] == []


def test_a_job_of_one_node_is_on_loopback_alone(quick: dict[str, str], tmp_path: Path) -> None:
    alone = quick | {"SLURM_JOB_NODELIST": "one"}
    with submitted(alone, tmp_path / "one", "driver.py", "0") as script:
        assert script.wait(PATIENCE_S) == 0
    assert (tmp_path / "one" / "driver").read_text().startswith("127.0.0.1:")
    assert not (tmp_path / "one" / "started-1").exists()


@pytest.mark.parametrize(("nodes", "step"), [("one,two", "17.1"), ("one", "17.0")])
def test_a_job_that_is_taken_away_announces_it_and_is_queued_again(
    quick: dict[str, str], tmp_path: Path, nodes: str, step: str
) -> None:
    folder = tmp_path / "taken"
    with submitted(quick | {"SLURM_JOB_NODELIST": nodes}, folder, "driver.py", "wait") as script:
        deadline = time.monotonic() + PATIENCE_S
        while not (folder / "driver").exists():
            assert script.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        script.send_signal(signal.SIGTERM)
        assert script.wait(PATIENCE_S) == ExitCode.PREEMPTED, (folder / "log").read_text()
    assert (folder / "cancelled").read_text() == f"{step}\n"
    assert (folder / "queued-again").exists()
    assert "announced for 1 s" in (folder / "log").read_text()


def test_a_ray_that_does_not_start_is_said(quick: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bin" / "ray").write_text("#!/bin/bash\nexit 1\n")
    with submitted(quick, tmp_path / "none", "driver.py", "0") as script:
        assert script.wait(PATIENCE_S) == ExitCode.STALLED
    assert "Ray did not start on one two" in (tmp_path / "none" / "log").read_text()


def stand_ins(tmp_path: Path, programs: dict[str, str]) -> Path:
    """A folder with programs of these texts."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/bash\nset -euo pipefail\n{text}")
        (folder / name).chmod(0o755)
    return folder


def end_all() -> None:
    """Kill what is left of a job."""
    for process in marked(MARK_HERE):
        if process.pid != os.getpid():
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture
def job(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a job of two nodes; whatever was started in it ends with the test."""
    programs = stand_ins(tmp_path, STAND_INS)
    (programs / "ray_on_loopback").write_text(RAY_ON_LOOPBACK)
    with tempfile.TemporaryDirectory(
        prefix="slurm-", dir="/tmp"
    ) as folder:  # sockets: a short path
        try:
            yield {
                **{key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "BIN": str(Path(sys.executable).parent),
                "SLURM_JOB_ID": "17",
                "SLURM_JOB_NODELIST": "one,two",
                "SLURM_CPUS_PER_TASK": "1",
                "SLURM_SUBMIT_DIR": str(ROOT),
                "HEAD_ADDRESS": "127.0.0.1",
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
                "NOTICE_S": str(NOTICE_S),
                "RAY_TEMPORARY": folder,
                "TOKEN_ROOT": str(tmp_path),
                "WANDB_MODE": "disabled",
                MARK: MARK_HERE,
            }
        finally:
            end_all()


@contextmanager
def submitted(
    job: dict[str, str], folder: Path, *arguments: str
) -> Iterator["subprocess.Popen[str]"]:
    """The script as Slurm starts it."""
    folder.mkdir()
    port, dashboard = free_ports()
    ports = [f"PORT={port}", f"DASHBOARD_PORT={dashboard}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["env", *ports, "bash", str(SCRIPT), *arguments],
            env=job | {"STAND_IN": str(folder)},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def free_ports() -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def kinds(run: Path) -> dict[str, dict]:
    """The last event of each kind."""
    return {event["kind"]: event for event in read_ledger(str(run))}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.by_hand
@pytest.mark.chaos
@pytest.mark.timeout(2 * PATIENCE_S)
def test_a_job_that_is_taken_away_saves_is_queued_again_and_goes_on(
    job: dict[str, str], tmp_path: Path
) -> None:
    shards, run = tmp_path / "digits", tmp_path / "runs" / "taken"
    pack(resolve(ROOT / "configs/pack_digits.yaml", [f"out={shards}"], PackRecipe).recipe)
    arguments = [
        "jobs/simflow_digits.py", "configs/smoke.yaml", f"run.root={run.parent}", "run.name=taken",
        f"data.shards={shards}", "cluster.workers=2", "cluster.min_workers=1",
        "evaluation.kind=none", "run.checkpoint_every_images=1000000",
    ]  # fmt: skip
    first = tmp_path / "first"
    with submitted(job, first, *arguments, "run.total_images=1000000") as script:
        deadline = time.monotonic() + PATIENCE_S
        while kinds(run).get("report", {}).get("images_seen", 0) < 16:
            assert script.poll() is None, (first / "log").read_text()
            assert time.monotonic() < deadline, (first / "log").read_text()
            time.sleep(0.2)
        tokens = list(tmp_path.glob(".latent-flows-17-*/token"))
        assert [stat.S_IMODE(each.stat().st_mode) for each in tokens] == [0o600]
        secret = tokens[0].read_text()
        assert stat.S_IMODE(tokens[0].parent.stat().st_mode) == 0o700
        assert listening_beyond_loopback() == []
        script.send_signal(signal.SIGTERM)
        assert script.wait(PATIENCE_S) == ExitCode.PREEMPTED, (first / "log").read_text()
    log = (first / "log").read_text()
    assert (first / "queued-again").exists(), log
    assert (first / "cancelled").read_text() == "17.1\n"
    seen = kinds(run)
    assert seen["notice"]["cause"] == "preemption"
    saved = seen["checkpoint"]["images_seen"]
    assert saved == seen["standing_by"]["images_seen"] > 0
    assert not tokens[0].exists()
    assert secret not in log
    assert all(
        secret.encode() not in each.read_bytes() for each in run.rglob("*") if each.is_file()
    )

    second = tmp_path / "second"
    with submitted(job, second, *arguments, f"run.total_images={saved + 32}") as script:
        assert script.wait(PATIENCE_S) == ExitCode.DONE, (second / "log").read_text()
    assert not (second / "queued-again").exists()
    assert kinds(run)["run_finished"]["images_seen"] == saved + 32
    starts = [e["images_seen"] for e in read_ledger(str(run)) if e["kind"] == "resumed"]
    assert starts[-1] == saved


def is_loopback(address: str) -> bool:
    """Also of an IPv4 address as a socket of IPv6 writes it: `::ffff:127.0.0.1`."""
    known = ip_address(address)
    mapped = known.ipv4_mapped if isinstance(known, IPv6Address) else None
    return (mapped or known).is_loopback


def listening_beyond_loopback() -> list[str]:
    """Addresses that processes of the job listen at, other than loopback."""
    found = []
    for process in marked(MARK_HERE):
        with suppress(psutil.Error):
            found += [
                f"{process.name()} {each.laddr.ip}:{each.laddr.port}"
                for each in process.net_connections("inet")
                if each.status == psutil.CONN_LISTEN and not is_loopback(each.laddr.ip)
            ]
    return found
