"""The way of a private Ray is walked in tests/data_pipeline/pack/test_tasks.py."""

import sys

import pytest

from system.foundation.errors import ClusterError
from system.launch.any_ray import any_ray


def test_an_address_that_nobody_answers(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ClusterError, match="no Ray cluster answers at RAY_ADDRESS"), any_ray():
        pass


def test_a_private_one_comes_before_the_import(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", sys)
    with pytest.raises(AssertionError, match="before `ray` is imported"), any_ray():
        pass


WAITS = """
import os, signal, threading, time
from pydantic import BaseModel
from system.launch.any_ray import any_ray
from system.launch.command import command

def main(resolved):
    with any_ray(cpus=1):
        import ray
        waiting = ray.remote(lambda: time.sleep(600)).remote()
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
        ray.get(waiting)

class Nothing(BaseModel):
    pass

command(main, None, about="", schema=Nothing, arguments=[])
"""


@pytest.mark.ray
def test_a_program_that_is_terminated_while_it_waits_for_a_task_says_so(program):
    ended = program("-c", WAITS)
    said, _ = ended.communicate(timeout=120)
    assert ended.returncode == 75, said
    assert "terminated; what was started is stopped" in said
    assert "SIGTERM received" not in said  # as Ray's own handler has it, over a dump of stacks
