"""One driver at a time where nothing can be locked: on disk, in memory, and on an S3 server."""

import json
import os
import platform
import signal
import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from system.foundation import storage
from system.foundation.errors import ClusterError
from system.launch.lease import Terms
from system.launch.lease import check_not_leased
from system.launch.lease import lease

# Renewed often, given up late: a busy machine makes nobody lose anything.
LIVELY = Terms(renew_s=0.05, hold_s=120, expire_s=120, settle_s=0.0)
# Expired at once, for leases that nobody renews.
HASTY = Terms(renew_s=0.05, hold_s=120, expire_s=0.3, settle_s=1.0)
PATIENCE_S = 60
HOLD = (
    "import sys, time\n"
    "from system.launch.lease import Terms, lease\n"
    "with lease(sys.argv[1], Terms(0.05, 120, 120, 0.0)) as held:\n"
    "    print('holds', flush=True)\n"
    "    time.sleep(600)\n"
)


@pytest.fixture(scope="module")
def object_store() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["local", "memory", "s3"])
def run(request, tmp_path, monkeypatch) -> str:
    """The url of a run in each kind of store."""
    name = uuid.uuid4().hex[:12]
    if request.param == "local":
        return str(tmp_path / name)
    if request.param == "memory":
        return f"memory://{name}/run"
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("object_store"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}/run"


def leave(url, number=1, **says):
    """The lease of a driver on another machine, of which nothing more was heard."""
    content = {"pid": 7, "host": "elsewhere", "machine": "another", "nonce": "n", **says}
    storage.write_bytes(f"{url}/lease/{number:06d}.json", json.dumps(content).encode())


def numbers(url):
    return storage.list_names(f"{url}/lease")


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_lost(held):
    try:
        held.check()
    except ClusterError:
        return True
    return False


def test_a_second_driver_is_refused_with_the_holders_name(run):
    who = f"driven by process {os.getpid()} on {platform.node()}"
    with lease(run, LIVELY) as held:
        with pytest.raises(ClusterError, match=who) as refused, lease(run, LIVELY):
            pass
        assert refused.value.exit_code == 2
        with pytest.raises(ClusterError, match=who):
            check_not_leased(run, Terms(renew_s=4, hold_s=120, expire_s=120))
        held.check()


def test_given_back_it_is_free_at_once(run):
    check_not_leased(run, LIVELY)
    for _ in range(3):
        with lease(run, LIVELY) as held:
            held.check()
        check_not_leased(run, LIVELY)
    assert numbers(run) == ["000003.json"]


def test_a_lease_that_nobody_renews_expires(run, capsys):
    leave(run, number=4)
    with lease(run, HASTY) as held:
        held.check()
        assert numbers(run) == ["000005.json"]
    assert "was driven by process 7 on elsewhere" in capsys.readouterr().out


def test_a_holder_that_lost_its_lease_stops_and_names_the_other(run):
    with lease(run, LIVELY) as held:
        leave(run, number=2, pid=8)
        until(lambda: is_lost(held))
        with pytest.raises(ClusterError, match="taken over by process 8 on elsewhere"):
            held.check()
    # What is another's is not given back in its name.
    assert numbers(run)[-1] == "000002.json"
    assert "released" not in storage.read_text(f"{run}/lease/000002.json")


def test_of_many_that_find_it_expired_one_takes_it(run):
    leave(run)
    won, refused, gate = [], [], threading.Barrier(6)

    def drive():
        gate.wait()
        try:
            with lease(run, HASTY):
                won.append(1)
                until(lambda: len(won) + len(refused) == 6)
        except ClusterError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=drive) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(won), len(refused)) == (1, 5)
    assert all(f"process {os.getpid()}" in each for each in refused)


def test_a_holder_that_cannot_write_lets_go_before_it_expires(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    url = tmp_path / "run"
    url.symlink_to(tmp_path / "folder")
    with lease(str(url), Terms(renew_s=0.02, hold_s=0.2, expire_s=0.4)) as held:
        (tmp_path / "other").symlink_to(tmp_path / "file")
        (tmp_path / "other").replace(url)  # from now on nothing can be written there
        until(lambda: is_lost(held))
        with pytest.raises(ClusterError, match="could not be renewed"):
            held.check()


def test_a_clock_that_jumps_makes_no_second_holder(tmp_path, monkeypatch):
    run = str(tmp_path)
    with lease(run, LIVELY) as held:
        for jump in (1e9, -1e9):
            now = time.time()
            monkeypatch.setattr(time, "time", lambda now=now, jump=jump: now + jump)
            with pytest.raises(ClusterError, match="driven by"), lease(run, LIVELY):
                pass
            held.check()


def test_a_killed_driver_of_this_machine_is_known_to_be_dead(program, tmp_path):
    url = str(tmp_path)
    holder = program("-c", HOLD, url)
    try:
        assert holder.stdout.readline() == "holds\n"
        with pytest.raises(ClusterError, match=f"process {holder.pid}"), lease(url, LIVELY):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with lease(url, LIVELY) as held:  # though it expires in two minutes only
            held.check()
    finally:
        holder.kill()
        holder.communicate()


def test_a_number_that_another_process_bears_now_is_not_the_holder(run):
    with lease(run, LIVELY):
        says = json.loads(storage.read_text(f"{run}/lease/000001.json"))
    leave(run, number=2, **{name: says[name] for name in ("machine", "pid")}, born="1")
    with lease(run, LIVELY) as held:
        held.check()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_what_cannot_be_read_is_watched_as_any_other(tmp_path, content):
    storage.write_bytes(f"{tmp_path}/lease/000001.json", content)
    with lease(str(tmp_path), HASTY) as held:
        held.check()
    storage.write_bytes(f"{tmp_path}/lease/notes.txt", b"mine")
    check_not_leased(str(tmp_path), HASTY)
