import os
import socket
import subprocess
import sys
from dataclasses import asdict
from multiprocessing.connection import Connection

import numpy as np
import pytest

from data_pipeline.decoding import decoding_process
from data_pipeline.decoding.assembly import Assembler
from data_pipeline.decoding.decoding_process import Setup
from data_pipeline.decoding.decoding_process import Task
from data_pipeline.decoding.decoding_process import receive
from data_pipeline.decoding.decoding_process import send
from data_pipeline.decoding.ring import Ring
from data_pipeline.decoding.ring import RingShape
from system.foundation.errors import DataError


def test_a_decoding_process_needs_no_torch():
    program = (
        "import sys, data_pipeline.decoding.decoding_process;"
        "sys.exit(' '.join({'torch', 'ray', 'webdataset'} & set(sys.modules)) or 0)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.fixture
def connected(digits, digits_data):
    """A setup over the digits, its ring, and two ends of a connection."""
    ring = Ring(RingShape(slots=1, rows=6, size=8, channels=1, processes=1))
    data = digits_data().model_dump(mode="json")
    file = str(digits.local_file())
    setup = Setup(file, digits.url, digits.digest, "train", data, 5, asdict(ring.shape), 0)
    ours, theirs = socket.socketpair()
    return setup, ring, Connection(ours.detach()), theirs.detach()


def test_tasks_are_served_until_the_connection_closes(digits, digits_data, connected):
    setup, ring, ours, theirs = connected
    send(ours, setup)
    send(ours, Task(0, 2, 300, 4, []))
    program = [sys.executable, "-m", decoding_process.__name__, str(theirs), str(ring.descriptor)]
    process = subprocess.Popen([*program, str(os.getpid())], pass_fds=(theirs, ring.descriptor))
    os.close(theirs)
    slot, row, reply = receive(ours)
    assert (slot, row) == (0, 2)
    pixels, labels = np.empty((4, 8, 8, 1), np.uint8), np.empty(4, np.int64)
    told = Assembler(digits, digits_data(), 5).fill(300, pixels, labels)
    assert reply["done"][:2] == [told.keys, [list(pair) for pair in told.digests]]
    assert np.array_equal(ring.pixels[0, 2:], pixels)
    assert np.array_equal(ring.labels[0, 2:], labels)
    assert ring.read_line(0).text == "waiting for work"
    ours.close()
    assert process.wait(60) == 0


def test_a_process_whose_parent_is_gone_ends_at_once(connected):
    _, ring, ours, theirs = connected
    program = [sys.executable, "-m", decoding_process.__name__, str(theirs), str(ring.descriptor)]
    process = subprocess.Popen([*program, "1"], pass_fds=(theirs, ring.descriptor))
    assert process.wait(60) == 0
    ours.close()


def test_another_manifest_than_the_pools_is_refused(connected):
    setup, _, _, theirs = connected
    os.close(theirs)
    with pytest.raises(DataError, match=r"replaced by another one .* expected 0123"):
        setup._replace(manifest_digest="0123").assembler(lambda position, text: None)


def test_an_error_that_is_no_fault_of_the_data_comes_with_its_trace(connected):
    setup, ring, ours, theirs = connected
    send(ours, setup._replace(data=setup.data | {"window_shards": 0}))  # refused by the settings
    program = [sys.executable, "-m", decoding_process.__name__, str(theirs), str(ring.descriptor)]
    process = subprocess.Popen(
        [*program, str(os.getpid())],
        pass_fds=(theirs, ring.descriptor),
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "window_shards" in said
    with pytest.raises(EOFError):
        receive(ours)
