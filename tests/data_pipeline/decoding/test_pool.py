import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import pytest

from data_pipeline.decoding.assembly import POISON
from data_pipeline.decoding.assembly import Assembler
from data_pipeline.decoding.decoding_process import Task
from data_pipeline.decoding.pool import Pool
from data_pipeline.decoding.ring import Ring
from data_pipeline.decoding.ring import RingShape
from data_pipeline.order.order import Order
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import ImageFolder
from system.foundation.errors import DataError
from system.foundation.errors import StalledError

ROWS = 24


@pytest.fixture
def pool_of():
    """A pool over a manifest with a ring of two slots, ended with the test."""
    opened = []

    def open_pool(manifest, data, processes=1):
        shape = RingShape(2, ROWS, data.image_size, data.image_channels, processes)
        opened.append(Pool(manifest, data, 5, Ring(shape)))
        return opened[-1]

    yield open_pool
    for pool in opened:
        pool.close()


def tasks(count, slot=0, rows=8):
    return [Task(slot, first, 100 + first, rows, []) for first in range(0, count * rows, rows)]


def collect(pool, count):
    done = []
    while len(done) < count:
        done += pool.collect()
    return {task.row: answer for task, answer in done}


def expected(manifest, data, count, poison=()):
    assembler = Assembler(manifest, data, 5)
    pixels = np.empty((count, data.image_size, data.image_size, data.image_channels), np.uint8)
    labels = np.empty(count, np.int64)
    return assembler.fill(100, pixels, labels, poison), pixels, labels


@pytest.mark.parametrize("processes", [1, 2])
def test_rows_are_those_of_an_assembler_in_this_process(digits, digits_data, pool_of, processes):
    pool = pool_of(digits, digits_data(flip=True), processes)
    pool.submit(tasks(3))
    answers = collect(pool, 3)
    told, pixels, labels = expected(digits, digits_data(flip=True), ROWS)
    assert [key for row in sorted(answers) for key in answers[row].keys] == told.keys
    assert np.array_equal(pool.ring.pixels[0], pixels)
    assert np.array_equal(pool.ring.labels[0], labels)


@pytest.mark.chaos
def test_a_process_that_dies_is_replaced_and_its_tasks_done_again(digits, digits_data, pool_of):
    pool = pool_of(digits, digits_data(), 2)
    before = pool.processes
    for pid in before:
        os.kill(pid, signal.SIGSTOP)  # so that it dies with its tasks undone
    pool.submit(tasks(3))
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    answers = collect(pool, 3)
    told, pixels, _ = expected(digits, digits_data(), ROWS)
    assert [key for row in sorted(answers) for key in answers[row].keys] == told.keys
    assert np.array_equal(pool.ring.pixels[0], pixels)
    assert pool.restarts == Counter({"died: signal 9": 2})
    assert not set(pool.processes) & set(before)


@pytest.mark.chaos
def test_a_sample_over_which_a_process_dies_twice_is_left_out(digits, digits_data, pool_of):
    pool = pool_of(digits, digits_data())
    for death in range(2):
        (pid,) = pool.processes
        os.kill(pid, signal.SIGSTOP)
        if death == 0:
            pool.submit(tasks(3))
        # As a decoder's own crash would leave it: at this position, with work before it.
        pool.ring.write_line(0, 103, "decoding")
        os.kill(pid, signal.SIGKILL)
        while pool.processes == [pid]:
            pool.poll()
    answers = collect(pool, 3)
    told, _, _ = expected(digits, digits_data(), ROWS, poison=(103,))
    assert answers[0].bad == told.bad[:1]
    assert answers[0].bad[0].reason == POISON
    assert [key for row in sorted(answers) for key in answers[row].keys] == told.keys


@pytest.mark.chaos
def test_deaths_long_apart_do_not_add_up(digits, digits_data, pool_of):
    pool = pool_of(digits, digits_data())
    for _ in range(10):
        pool.submit(tasks(1))
        while not pool.poll():
            time.sleep(0.01)
        (pid,) = pool.processes
        os.kill(pid, signal.SIGKILL)
        while pool.processes == [pid]:
            pool.poll()
    assert pool.restarts.total() == 10


@pytest.mark.chaos
def test_all_processes_killed_at_once_are_all_replaced(digits, digits_data, pool_of):
    pool = pool_of(digits, digits_data(), 10)
    before = pool.processes
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    pool.submit(tasks(1))
    assert collect(pool, 1)[0].keys
    assert pool.restarts.total() >= 1
    assert not set(collect_restarted(pool, 10)) & set(before)


def collect_restarted(pool, count):
    while pool.restarts.total() < count:
        pool.poll()
    return pool.processes


@pytest.mark.chaos
def test_an_answer_cut_off_by_death_is_a_death(digits, digits_data, pool_of):
    pool = pool_of(digits, digits_data())
    ours, theirs = socket.socketpair()
    process = pool._processes[0]
    process.connection.close()
    process.connection = Connection(ours.detach())
    pool.submit(tasks(1))
    theirs.sendall((1000).to_bytes(4) + b"[0, 0, {")  # as of an answer of 1,000 bytes
    theirs.close()
    assert collect(pool, 1)[0].keys == expected(digits, digits_data(), 8)[0].keys
    assert pool.restarts.total() == 1


@pytest.mark.chaos
def test_a_manifest_replaced_while_it_is_read_changes_nothing(
    digits_copy, photos, digits, digits_data, pool_of
):
    manifest = read_manifest(str(digits_copy)).split("train")
    pool = pool_of(manifest, digits_data())
    place = digits_copy / MANIFEST_NAME
    os.replace(shutil.copy(Path(photos.url) / MANIFEST_NAME, digits_copy / "new"), place)
    (pid,) = pool.processes
    os.kill(pid, signal.SIGKILL)
    pool.submit(tasks(1))
    assert collect(pool, 1)[0].keys == expected(digits, digits_data(), 8)[0].keys


CRASHES = """
import os, signal, simplejpeg

whole = simplejpeg.decode_jpeg_header

def crash(data):
    if b"crash" in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    return whole(data)

simplejpeg.decode_jpeg_header = crash
"""


@pytest.fixture
def crashing(tmp_path, photographs, jpeg, photo_recipe, monkeypatch):
    """A manifest with one bad sample, at position 107, and with one that ends whatever decodes it,
    at position 108."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CRASHES)
    monkeypatch.syspath_prepend(tmp_path / "site")
    for name in ("flower", "water", "wood"):
        (tmp_path / name / "class").mkdir(parents=True)
    image, crashes = photographs[0][:40, :40], set()
    for out in ("flower", "water"):
        for number in range(20):  # so that the tasks lie within one epoch
            comment = b"crash" if number in crashes else b"plain"
            path = tmp_path / "wood" / "class" / f"{number}.JPEG"
            path.write_bytes(jpeg(image + np.uint8(number), comment=comment))
        source = ImageFolder(url=str(tmp_path / "wood"))
        manifest = pack(photo_recipe(tmp_path / out, source=source)).manifest
        order = Order([shard.samples for shard in manifest.shards], 5, 2)
        bad, fatal = order.samples(107, 109).tolist()
        crashes = {int(manifest.key(fatal).split("/")[1])}
    return tmp_path / out, manifest, bad


@pytest.mark.chaos
def test_a_sample_that_crashes_its_decoder_is_left_out(crashing, damage, photo_data, pool_of):
    folder, manifest, bad = crashing
    damage(folder, manifest, bad)
    pool = pool_of(manifest, photo_data(classes=1))
    pool.submit(tasks(2))
    answers = collect(pool, 2)
    (replaced,), (left_out,) = answers[0].bad, answers[8].bad
    assert (replaced.position, replaced.reason) == (107, "bytes differ from those packed")
    assert (left_out.position, left_out.reason) == (108, POISON)
    assert left_out.key not in [key for answer in answers.values() for key in answer.keys]
    assert pool.restarts == Counter({"died: signal 11": 2})


def test_a_process_that_grows_too_large_is_replaced(photos, photo_data, pool_of):
    pool = pool_of(photos, photo_data(worker_memory_bytes=2**20))
    (before,) = pool.processes
    pool.submit(tasks(3))
    answers = collect(pool, 3)
    told, _, _ = expected(photos, photo_data(), ROWS)
    assert [key for row in sorted(answers) for key in answers[row].keys] == told.keys
    assert pool.restarts["grown past data.worker_memory_bytes"] >= 2
    assert pool.processes != [before]


def test_a_stage_that_stands_still_is_named(digits, digits_data, pool_of):
    pool = pool_of(digits, digits_data(stall_timeout_s=0.3))
    (pid,) = pool.processes
    os.kill(pid, signal.SIGSTOP)
    pool.submit(tasks(3))
    pool.ring.write_line(0, -1, "reading s3://bucket/train-000003.tar bytes 0-9")
    with pytest.raises(StalledError) as caught:
        pool.collect()
    for part in ("no batch for 0.3 s", f"process {pid}", "train-000003.tar bytes 0-9", "3 tasks"):
        assert part in str(caught.value)
    order = Order([shard.samples for shard in digits.shards], 5, 4)
    pool.ring.write_line(0, order.samples(0, digits.samples).tolist().index(0), "decoding")
    with pytest.raises(StalledError) as caught:
        pool.collect()
    assert f"is decoding {digits.key(0)} ({digits.place(0)}) since" in str(caught.value)


def test_processes_that_cannot_start_are_not_tried_for_ever(
    digits, digits_data, pool_of, monkeypatch
):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DataError, match=r"died 9 times in a row .*exit code 1, while starting"):
        pool_of(digits, digits_data()).collect()


def test_an_error_in_a_process_comes_back_as_it_was(digits_copy, digits_data, pool_of):
    manifest = read_manifest(str(digits_copy)).split("train")
    for path in digits_copy.glob("train-*.tar"):
        path.unlink()
    pool = pool_of(manifest, digits_data())
    pool.submit(tasks(1))
    (answer,) = collect(pool, 1).values()
    assert isinstance(answer, DataError)
    assert "this shard is gone" in str(answer)


def test_a_closed_pool_leaves_no_processes(digits, digits_data, pool_of):
    pool = pool_of(digits, digits_data(), 2)
    pids = pool.processes
    pool.submit(tasks(3))
    pool.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)


# Tests may have been started in the background, where a shell has programs ignore interrupts.
ORPHANS = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.decoding.host_batches import open_batches
from system.foundation.settings.data import Data

data = Data(shards="", image_size=8, image_channels=1, classes=10, crop="none", workers=2)
manifest = read_manifest(sys.argv[1]).split("train")
batches = open_batches(manifest, data, seed=0, starts=iter(range(0, 800, 8)), rows=8)
next(batches)
print(*batches.pool.processes, flush=True)
time.sleep(300)
"""


@pytest.mark.chaos
def test_decoding_processes_die_with_their_parent(digits_url):
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANS, digits_url], stdout=subprocess.PIPE, text=True
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(10)
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a decoding process outlived its parent"
        time.sleep(0.1)


@pytest.mark.chaos
def test_an_interrupt_of_all_processes_is_the_parents_alone(digits_url):
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANS.replace("next(batches)", ""), digits_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    parent.stdout.readline()
    os.killpg(parent.pid, signal.SIGINT)  # as Ctrl-C does, while decoding processes start
    _, said = parent.communicate(timeout=60)
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
