"""A run has one driver at a time, and a killed owner leaves neither lock nor folder behind."""

import errno
import fcntl
import json
import os
import platform
import signal

import pytest

from system.foundation import storage
from system.foundation.errors import ClusterError
from system.launch.locks import FOLDER_LOCK
from system.launch.locks import check_not_driven
from system.launch.locks import driver_lock
from system.launch.locks import private_folder

HOLD = (
    "import sys, time\n"
    "from system.launch.locks import {name}\n"
    "with {name}(sys.argv[1]) as held:\n"
    "    print('holds', held, flush=True)\n"
    "    time.sleep(600)\n"
)


@pytest.fixture
def holder(program):
    """Start a process that holds a lock until it is killed, and tell what it said."""
    started = []

    def start(name, place):
        process = program("-c", HOLD.format(name=name), str(place))
        started.append(process)
        said = process.stdout.readline().split()
        assert said[0] == "holds"
        return process, said[1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_second_driver_is_refused_until_the_first_is_killed(holder, tmp_path):
    url = str(tmp_path / "run")
    first, _ = holder("driver_lock", url)
    who = f"driven by process {first.pid} on {platform.node()}"
    with pytest.raises(ClusterError, match=who) as refused, driver_lock(url):
        pass
    assert refused.value.exit_code == 2
    with pytest.raises(ClusterError, match=who):
        check_not_driven(url)
    first.send_signal(signal.SIGKILL)
    first.wait()
    check_not_driven(url)
    with driver_lock(url):
        signed = json.loads((tmp_path / "run/logs/driver.lock").read_text())
        assert signed["pid"] == os.getpid()
    with driver_lock(url):
        pass


def test_looking_leaves_nothing_and_takes_nothing(tmp_path):
    url = str(tmp_path / "run")
    check_not_driven(url)
    assert not (tmp_path / "run").exists()
    with driver_lock(url), pytest.raises(ClusterError):
        check_not_driven(url)
    check_not_driven(url)


def test_where_there_are_no_locks_a_lease_takes_their_place(tmp_path, monkeypatch):
    elsewhere = f"memory://{tmp_path.name}/run"
    with driver_lock(elsewhere) as held:
        held.check()
        assert storage.list_names(f"{elsewhere}/lease") == ["000001.json"]

    def no_locks(file, kind):
        raise OSError(errno.ENOLCK, "no locks available")

    url = str(tmp_path / "run")
    with driver_lock(url) as held:
        held.check()
    assert not (tmp_path / "run" / "lease").exists()
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with driver_lock(url) as held:
        held.check()
        assert (tmp_path / "run" / "lease" / "000001.json").exists()


def test_an_unsigned_lock_is_named_as_such(tmp_path):
    url = str(tmp_path / "run")
    with driver_lock(url):
        os.truncate(tmp_path / "run/logs/driver.lock", 0)
        with pytest.raises(ClusterError, match="driven by another process"):
            check_not_driven(url)


def test_folders_of_killed_owners_are_removed_and_no_others(holder, tmp_path):
    alive, kept = holder("private_folder", tmp_path)
    dead, gone = holder("private_folder", tmp_path)
    (tmp_path / "r-other").mkdir()
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    assert os.path.exists(gone)
    with private_folder(str(tmp_path)) as folder:
        assert folder.parent == tmp_path
        assert (folder / FOLDER_LOCK).exists()
        there = {str(path) for path in tmp_path.iterdir()}
        assert there == {str(folder), kept, str(tmp_path / "r-other")}
    assert not folder.exists()
    assert alive.poll() is None
