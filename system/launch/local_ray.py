"""A private Ray on this machine: own ports, loopback only, with a token; gone without a trace.

    with local_ray(cpus=3) as ray_here:
        client = JobSubmissionClient(ray_here.dashboard)

Ray is one child process in a session of its own. Whatever it starts inherits a mark in its
environment, so that on leaving every process of ours, and no other, can be found and ended.

`RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0` is what binds all of Ray's servers to 127.0.0.1 (2.60). `ray
stop` is not for us: it would end every Ray of the host.
"""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from system.foundation.errors import ClusterError
from system.launch.locks import private_folder

LOOPBACK = "127.0.0.1"
MARK = "PRIVATE_RAY_MARK"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
OBJECT_STORE_BYTES = 256 * 2**20
# The object store, and room for what workers exchange. Batches lie in memory of their own.
SHARED_MEMORY_BYTES = 288 * 2**20
DISK_BYTES = 2 * 2**30
# Linux allows 107 bytes for the path of a socket; Ray's own part takes up to 70 of them.
LONGEST_TEMPORARY = 36
START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 20
STARTS = 3  # of a Ray that ends before it answers: another program may have taken its port
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True, slots=True)
class LocalRay:
    """A running private Ray: where it listens and what a client must have in its environment."""

    address: str  # of the cluster, for ray.init
    dashboard: str  # url of the dashboard and the job API; empty where there is none
    environment: dict[str, str]
    folder: Path
    mark: str  # what every process of this Ray has as MARK in its environment

    @property
    def token(self) -> str:
        """What a client must show."""
        return Path(self.environment["RAY_AUTH_TOKEN_PATH"]).read_text()


@contextmanager
def local_ray(cpus: float, *, gpus: float = 0.0, port: int | None = None) -> Iterator[LocalRay]:
    """Start Ray, wait until it answers, and end it whole, whatever happens inside.

    `port` asks for the dashboard at that port, 0 at any free one; None leaves the dashboard out.
    Raises ClusterError, before anything starts, where the port is taken or there is too little
    shared memory or disk, and later if Ray does not come up.
    """
    check_port(port)
    check_shared_memory()
    with private_folder(_short_temporary()) as folder:
        process: subprocess.Popen[bytes] | None = None
        here = _here(folder, port)
        try:
            check_disk(folder)
            for others_left in reversed(range(STARTS)):
                process = _start(here, cpus, gpus)
                try:
                    _wait_until_it_answers(here, process)
                    break
                except ClusterError:
                    if not others_left or process.poll() is None:
                        raise
                _end(process, here.mark)
                here = _here(folder, port)
            yield here
        finally:
            with _undisturbed():
                _end(process, here.mark)
                shutil.rmtree(folder, ignore_errors=True)


def check_port(port: int | None) -> None:
    """Raise ClusterError if another program listens there."""
    if not port:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ClusterError(
                f"port {port} of {LOOPBACK} cannot be used for Ray's dashboard ({error.strerror}): "
                "another program has it. Give another port, or 0 for any free one."
            ) from error


def check_shared_memory(path: Path = SHARED_MEMORY, needed: int = SHARED_MEMORY_BYTES) -> None:
    """Raise ClusterError if the machine's shared memory is too small for the workers."""
    if path.exists() and shutil.disk_usage(path).free < needed:
        raise ClusterError(
            f"{path} has {_mebibytes(shutil.disk_usage(path).free)} free; Ray and the workers need "
            f"{_mebibytes(needed)}. In a container start it with --shm-size=1g or more."
        )


def check_disk(path: Path, needed: int = DISK_BYTES) -> None:
    """Raise ClusterError if there is too little space for Ray's own files."""
    if shutil.disk_usage(path).free < needed:
        raise ClusterError(
            f"{path} has {_mebibytes(shutil.disk_usage(path).free)} free; Ray needs "
            f"{_mebibytes(needed)} for its files. Free some, or set TMPDIR to a larger disk."
        )


def marked(mark: str) -> list[psutil.Process]:
    """The living processes that carry the mark of one private Ray."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"


def _short_temporary() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) <= LONGEST_TEMPORARY else "/tmp"  # noqa: S108


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _here(folder: Path, port: int | None) -> LocalRay:
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    gcs, free = _free_ports(2)
    dashboard = "" if port is None else f"http://{LOOPBACK}:{port or free}"
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    return LocalRay(f"{LOOPBACK}:{gcs}", dashboard, environment, folder, secrets.token_hex(8))


def _start(here: LocalRay, cpus: float, gpus: float) -> "subprocess.Popen[bytes]":
    listen, client = _free_ports(2)
    arguments = [
        str(Path(sys.executable).parent / "ray"), "start", "--head", "--block",
        f"--node-ip-address={LOOPBACK}", f"--port={here.address.rpartition(':')[2]}",
        f"--num-cpus={cpus:g}", f"--num-gpus={gpus:g}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--dashboard-agent-listen-port={listen}", f"--ray-client-server-port={client}",
        "--min-worker-port=0", "--max-worker-port=0",
        f"--temp-dir={here.folder}", "--disable-usage-stats", "--log-color=false",
        f"--include-dashboard={'true' if here.dashboard else 'false'}",
    ]  # fmt: skip
    if here.dashboard:
        port = here.dashboard.rpartition(":")[2]
        arguments += [f"--dashboard-host={LOOPBACK}", f"--dashboard-port={port}"]
    environment = os.environ | here.environment | {MARK: here.mark}
    environment.pop("RAY_ADDRESS", None)
    # A job's `python` is the first on the path: it must be the one that runs this.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    # A SIGTERM would otherwise drain the node for half a minute first.
    environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"
    with (here.folder / "start.log").open("wb") as log:
        return subprocess.Popen(
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )


_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """Should this program be killed outright, the kernel ends Ray."""
    _LIBC.prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _wait_until_it_answers(here: LocalRay, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if _answers(here):
            return
        time.sleep(0.2)
    tail = (here.folder / "start.log").read_text(errors="replace")[-2000:]
    state = "ended" if process.poll() is not None else f"did not answer for {START_TIMEOUT_S} s"
    raise ClusterError(f"the private Ray {state}. Its last words:\n{tail}")


def _answers(here: LocalRay) -> bool:
    """Whether the head says that it is up and, where there is a dashboard, the job API answers."""
    if "Ray runtime started" not in (here.folder / "start.log").read_text(errors="replace"):
        return False
    if not here.dashboard:
        return True
    request = urllib.request.Request(  # noqa: S310
        f"{here.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {here.token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not interrupt the cleaning up after the first."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    except ValueError:  # not the main thread, which is the one that signals reach
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: "subprocess.Popen[bytes] | None", mark: str) -> None:
    if process is None:
        return
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while left := marked(mark):
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(left, timeout=2)
        if time.monotonic() > deadline:
            names = ", ".join(f"{each.pid}" for each in left)
            raise ClusterError(f"processes of the private Ray would not end: {names}")
    process.wait()
