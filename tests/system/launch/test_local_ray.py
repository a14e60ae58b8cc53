"""A private Ray: refused where it cannot be, loopback only with a token, gone without a trace."""

import os
import signal
import socket
import time
import urllib.error
import urllib.request

import psutil
import pytest

from system.foundation.errors import ClusterError
from system.launch import local_ray as module
from system.launch.local_ray import LONGEST_TEMPORARY
from system.launch.local_ray import MARK
from system.launch.local_ray import check_disk
from system.launch.local_ray import check_port
from system.launch.local_ray import check_shared_memory
from system.launch.local_ray import local_ray
from system.launch.local_ray import marked


def test_a_port_that_is_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ClusterError, match=f"port {port} .* another program has it"):
            check_port(port)
        with pytest.raises(ClusterError), local_ray(cpus=1.0, port=port):
            pass
    check_port(port)
    check_port(0)
    check_port(None)


def test_too_little_room(tmp_path):
    with pytest.raises(ClusterError, match="--shm-size"):
        check_shared_memory(tmp_path, needed=2**60)
    with pytest.raises(ClusterError, match="TMPDIR"):
        check_disk(tmp_path, needed=2**60)
    check_shared_memory(tmp_path / "absent", needed=2**60)
    check_disk(tmp_path, needed=1)


def test_the_folder_is_short_enough_for_sockets(monkeypatch):
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: "/tmp/" + "x" * LONGEST_TEMPORARY)
    assert module._short_temporary() == "/tmp"


def lives(process):
    """Whether it is there, and not only to be asked for its exit code."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.ray
def test_it_answers_to_the_token_alone_and_leaves_nothing(monkeypatch):
    with local_ray(cpus=2.0, port=0) as running:
        processes = marked(running.mark)
        names = {process.name() for process in processes}
        assert {"raylet", "gcs_server"} <= names
        for process in processes:
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip in ("127.0.0.1", "::ffff:127.0.0.1"), process.name()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{running.dashboard}/api/jobs/", timeout=30)
        assert (running.folder / "token").stat().st_mode & 0o077 == 0
        assert running.token
    assert marked(running.mark) == []
    assert not any(lives(process) for process in processes)
    assert not running.folder.exists()


@pytest.mark.ray
def test_an_error_inside_ends_it_too():
    started = []

    def fail(running):
        started.append(running)
        assert marked(running.mark)
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"), local_ray(cpus=1.0) as running:
        fail(running)
    assert marked(started[0].mark) == []
    assert not started[0].folder.exists()


@pytest.mark.ray
def test_a_ray_that_does_not_come_up_tells_its_last_words(monkeypatch):
    monkeypatch.setattr(module, "OBJECT_STORE_BYTES", 1)
    with pytest.raises(ClusterError, match="the private Ray ended"), local_ray(1.0):
        pass


@pytest.mark.ray
def test_a_port_that_another_program_takes_meanwhile_costs_one_more_start(monkeypatch):
    free, given = module._free_ports, []

    def ports(count):
        given.append([taken, *free(count - 1)] if not given else free(count))
        return given[-1]

    monkeypatch.setattr(module, "_free_ports", ports)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with local_ray(cpus=1.0) as running:
            assert len(given) == 4
            assert running.address == f"127.0.0.1:{given[2][0]}"
            assert taken not in given[2]


@pytest.mark.ray
@pytest.mark.chaos
def test_it_dies_with_a_program_that_is_killed(program):
    code = (
        "import time\n"
        "from system.launch.local_ray import local_ray\n"
        "with local_ray(cpus=1.0) as running:\n"
        "    print(running.mark, running.folder, flush=True)\n"
        "    time.sleep(600)\n"
    )
    owner = program("-c", code)
    mark, folder = owner.stdout.readline().split()
    try:
        assert marked(mark)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        deadline = time.monotonic() + 60
        while marked(mark) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert marked(mark) == []
    finally:
        for process in marked(mark):
            process.kill()
        module.shutil.rmtree(folder, ignore_errors=True)
    assert os.environ.get(MARK) is None
