"""What test_tasks.py runs in a process of its own: packing over a Ray, and what came of it.

A process that imported Ray before its address was known cannot join it, so the tests cannot.
"""

import json
import os
import sys
from typing import Any

from data_pipeline.pack.plan import plan
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.sources.source import open_source
from system.foundation.errors import DataError
from system.foundation.errors import TrainingSystemError
from system.launch.any_ray import any_ray


def main(good: str) -> None:
    """Print, as JSON, what each question found."""
    with any_ray():
        import ray

        from data_pipeline.pack import tasks

        answers = {
            "good": packed(good),
            "bad": message(lambda: tasks._result(ray.remote(refuse).remote(), "x.tar")),
            "modules": ray.get(ray.remote(modules).remote()),
            "cpus": tasks._most_waiting(PackRecipe.model_validate_json(good)),
            "dead": message(lambda: tasks._result(ray.remote(die).remote(), "x.tar")),
        }
    print(json.dumps(answers))


def packed(text: str) -> Any:
    """Digests by name of shard, or the error."""
    from data_pipeline.pack.tasks import pack_by_tasks

    recipe = PackRecipe.model_validate_json(text)
    entries = open_source(recipe.source).entries
    shards = [*plan(recipe, entries)]
    found: dict[str, str] = {}

    def go() -> None:
        for each in pack_by_tasks(shards, recipe, len(entries)):
            assert each.shard is not None
            found[each.name] = each.shard.digest

    return message(go) or found


def message(call: Any) -> str | None:
    """The error of a call, if it is one of ours."""
    try:
        call()
    except TrainingSystemError as error:
        return f"{type(error).__name__}: {error}"
    return None


def modules() -> list[str]:
    """Libraries that a worker has once it can pack."""
    import data_pipeline.pack.tasks  # noqa: F401

    return [name for name in ("torch", "webdataset", "sklearn", "scipy") if name in sys.modules]


def refuse() -> None:
    """As a worker that meets a source which has changed."""
    raise DataError("gone since the folder was listed")


def die() -> None:
    """As a worker that the kernel ends."""
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
