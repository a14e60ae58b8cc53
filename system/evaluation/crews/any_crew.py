"""The crew that a command asks for by a number of workers: this process alone, or actors of Ray.

with any_crew(workers=4, device="cuda", cluster=lambda: any_ray(4)) as crew: ...
"""

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from typing import Literal

from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.crew import Crew


@contextmanager
def any_crew(
    workers: int,
    device: Literal["cpu", "cuda"],
    cluster: Callable[[], AbstractContextManager[None]],
) -> Iterator[Crew]:
    """So many workers on the Ray that `cluster` connects this process to; 0 needs no Ray."""
    if not workers:
        yield AloneCrew()
        return
    with cluster():
        from system.evaluation.crews.ray_crew import RayCrew  # imports ray, which has to be up

        yield RayCrew(workers=workers, gpus=float(device == "cuda"))
