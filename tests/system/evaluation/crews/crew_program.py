"""What test_ray_crew.py runs in a process of its own: crews of a Ray, and what came of each.

A process that imported Ray before its address was known cannot join it, so the tests cannot.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import xxhash

from system.evaluation.crews.crew import Crew
from system.evaluation.crews.features import features_of
from system.evaluation.crews.request import FeatureRequest
from system.foundation.errors import TrainingSystemError
from system.launch.any_ray import any_ray
from system.launch.local_ray import marked


def main(mark: str, text: str, folder: str) -> None:
    """Print, as JSON, what each question found."""
    request = FeatureRequest.model_validate_json(text)
    with any_ray():
        import ray

        from system.evaluation.crews.ray_crew import RayCrew

        def inside(cpus: float, crew: RayCrew, name: str) -> Any:
            return ray.get(ray.remote(found).options(num_cpus=cpus).remote(request, crew, name))

        name = os.path.join(folder, "{}").format
        answers = {
            f"{workers} workers, batch {batch}": found(
                request.model_copy(update={"batch": batch}),
                RayCrew(workers=workers),
                name(f"{workers}-{batch}"),
            )
            for workers, batch in ((2, 7), (3, 64))
        }
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        labelled = RayCrew(workers=1, labels=here, patience_s=1e6)
        answers["inside a task"] = inside(1, labelled, name("inside"))
        one = RayCrew(workers=1, patience_s=1.0)
        answers["inside a task that has all"] = inside(3, one, name("all"))
        with killing(mark, name("killed"), after=(2, 5)) as killed:
            few = request.model_copy(update={"batch": 1})
            answers["killed twice"] = found(few, RayCrew(workers=2), name("killed"))
        answers["killed"] = len(killed)
        with killing(mark, name("dead"), after=(0,) * 99):
            answers["dead"] = found(request, RayCrew(workers=1, tries=2), name("dead"))
        answers["silent"] = found(
            request, RayCrew(workers=1, tries=1, lease_s=0.01), name("silent")
        )
        answers["no GPU"] = found(
            request.model_copy(update={"device": "cuda"}), RayCrew(workers=1), name("gpu")
        )
        answers["unit"] = found(wild(request), RayCrew(workers=1), name("wild"))
        answers["checkpoint"] = found(gone(request), RayCrew(workers=1), name("gone"))
        answers["left"] = len([*hands(mark)])
    print(json.dumps(answers))


def found(request: FeatureRequest, crew: Crew, folder: str) -> str:
    """A digest of all that a crew has brought, or the error."""
    return message(lambda: digest(request, crew, folder))


def digest(request: FeatureRequest, crew: Crew, folder: str) -> str:
    """Of features and images, part by part."""
    features = features_of(request, folder, crew)
    state = xxhash.xxh3_128()
    for kind in ("features", "spatial", "logits"):
        for part in features.parts("digits-cnn", kind):
            state.update(part.numpy().tobytes())
    for part in features.images():
        state.update(part.numpy().tobytes())
    return state.hexdigest()


def message(call: Callable[[], str]) -> str:
    """What a call returns, or its error if it is one of ours."""
    try:
        return call()
    except TrainingSystemError as error:
        return f"{type(error).__name__}: {error}"


def wild(request: FeatureRequest) -> FeatureRequest:
    """The same with a guidance that leaves what float32 holds."""
    drawing = request.source.drawing
    sampler = drawing.sampler.model_copy(update={"guidance": 1e30, "guidance_rule": "linear"})
    drawing = drawing.model_copy(update={"sampler": sampler})
    return request.model_copy(
        update={"source": request.source.model_copy(update={"drawing": drawing})}
    )


def gone(request: FeatureRequest) -> FeatureRequest:
    """The same of a checkpoint that is not there."""
    source = request.source.model_copy(update={"checkpoint": "/nowhere/1-1", "digest": "0" * 32})
    return request.model_copy(update={"source": source})


@contextmanager
def killing(mark: str, folder: str, after: tuple[int, ...]) -> Iterator[list[int]]:
    """Meanwhile a worker is killed each time so many units are finished; whom it was."""
    killed: list[int] = []
    done = threading.Event()

    def watch() -> None:
        for count in after:
            while not done.is_set() and len([*Path(folder).glob("*/*.safetensors")]) < count:
                time.sleep(0.005)
            before = len(killed)
            while not done.is_set() and len(killed) == before:
                for process in hands(mark):
                    with suppress(psutil.Error):
                        if process.pid not in killed and process.status() != "zombie":
                            process.send_signal(signal.SIGKILL)
                            killed.append(process.pid)
                            break
                time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        done.set()
        thread.join()


def hands(mark: str) -> Iterator[psutil.Process]:
    """The crew's workers that are at work on this Ray."""
    for process in marked(mark):
        with suppress(psutil.Error, IndexError):
            if process.cmdline()[0].startswith("ray::_Hand.work"):
                yield process


if __name__ == "__main__":
    main(*sys.argv[1:])
