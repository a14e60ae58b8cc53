"""Some Ray to do a job's tasks: the one at RAY_ADDRESS, or a private one that ends with the work.

    with any_ray(cpus=8):
        ...  # ray.remote works here

For programs that learn late, or never, whether they have work for a cluster.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from system.foundation.wording import counted
from system.launch.command import ROOT
from system.launch.local_ray import local_ray


@contextmanager
def any_ray(cpus: int | None = None, *, gpus: int = 0) -> Iterator[None]:
    """Connected to the Ray at RAY_ADDRESS, else to a private one with so many CPUs and GPUs.

    None stands for all CPUs that this process may use. Raises ClusterError where no Ray answers or
    none can be started.
    """
    if os.environ.get("RAY_ADDRESS"):
        with _joined():
            yield
        return
    # Ray reads where it is and what it must show when it is imported.
    assert "ray" not in sys.modules, "a private Ray has to be there before `ray` is imported"
    known = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), *known])}  # workers import this tree
    cpus = cpus or len(os.sched_getaffinity(0))
    print(f"starting Ray for {counted(cpus, 'worker')}", file=sys.stderr, flush=True)  # for seconds
    with (
        _environment(path),
        local_ray(cpus=cpus, gpus=gpus) as private,
        _environment(private.environment | {"RAY_ADDRESS": private.address}),
        _joined(),
    ):
        yield


@contextmanager
def _joined() -> Iterator[None]:
    from system.launch.cluster import joined  # imports ray: see any_ray

    with joined():
        yield


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
