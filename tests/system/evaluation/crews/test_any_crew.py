from contextlib import contextmanager

import pytest

from system.evaluation.crews.any_crew import any_crew
from system.evaluation.crews.crew import AloneCrew


def test_no_worker_is_this_process_and_asks_for_no_ray():
    def cluster():
        pytest.fail("Ray was asked for")

    with any_crew(0, "cpu", cluster) as crew:
        assert isinstance(crew, AloneCrew)


def test_workers_live_within_the_cluster():
    seen = []

    @contextmanager
    def cluster():
        seen.append("up")
        yield
        seen.append("down")

    with any_crew(3, "cuda", cluster) as crew:
        assert (crew.workers, crew.gpus) == (3, 1.0)
        assert seen == ["up"]
    assert seen == ["up", "down"]
