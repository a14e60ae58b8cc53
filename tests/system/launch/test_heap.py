"""A process with these settings keeps what it frees; glibc alone knows them."""

import os
import platform
import subprocess
import sys

import pytest

from system.launch.heap import VARIABLE
from system.launch.heap import heap_settings
from system.launch.heap import spare_children

# Faults of the second to last pass over pieces as large as a layer's activations, in a thread.
PASSES = """
import resource, threading
def work():
    faults = []
    for _ in range(6):
        pieces = [bytearray(b"1") * 10_000_000 for _ in range(20)]
        del pieces
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    print(faults[-1] - faults[1])
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def faults(extra: dict[str, str]) -> int:
    plain = {name: value for name, value in os.environ.items() if name != VARIABLE}
    command = [sys.executable, "-S", "-c", PASSES]
    return int(subprocess.run(command, env=plain | extra, check=True, capture_output=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_worker_on_the_cpu_keeps_its_pages():
    kept = heap_settings("cpu", {})
    pages = 20 * 10_000_000 // os.sysconf("SC_PAGE_SIZE")
    assert faults({}) > pages
    assert faults(kept) < pages / 10


def test_a_gpu_and_a_choice_of_ones_own_change_nothing():
    assert heap_settings("cuda", {}) == {}
    assert heap_settings("cpu", {VARIABLE: "glibc.malloc.check=0"}) == {}
    assert heap_settings("cpu", {"MALLOC_ARENA_MAX": "2"}) == {}


def test_what_a_worker_starts_has_a_heap_as_usual():
    environment = {"A": "1"} | heap_settings("cpu", {})
    spare_children(environment)
    assert environment == {"A": "1"}
    chosen = {VARIABLE: "glibc.malloc.check=0"}
    spare_children(chosen)
    assert chosen == {VARIABLE: "glibc.malloc.check=0"}
