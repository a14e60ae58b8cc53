"""Every recipe's small form, as a user submits it: 20 updates, committed checkpoints, pictures."""

import math
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from system.engine.checkpoints import CheckpointStore
from system.evaluation.sampling import Sampling
from system.evaluation.sampling import sample_to_folder
from system.foundation.config import resolve
from system.launch.local_ray import local_ray
from system.launch.submission import submit
from system.telemetry.ledger import read_ledger
from tests.recipes import CONFIGS
from tests.recipes import PUBLISHED
from tests.recipes import ROOT
from tests.recipes import read
from tests.recipes import small

# The first test waits for all jobs, which run two at a time: under three minutes of two cores.
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True, slots=True)
class Submitted:
    """How a job ended, and the folder of its run."""

    run: Path
    exit_code: int
    said: str


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Submitted]]]:
    """Every recipe's job in its small form, submitted to one Ray; by the recipe's name."""
    folder = tmp_path_factory.mktemp("submitted")
    packed = [str(CONFIGS / "pack_photographs.yaml"), f"out={folder}/shards", "source.stride=16"]
    pack(resolve(CONFIGS / "pack_imagenet.yaml", packed, PackRecipe).recipe)

    with local_ray(cpus=2.0, port=0) as here, ThreadPoolExecutor(2) as threads:

        def send(recipe: Path, name: str, *arguments: str) -> Submitted:
            said: list[str] = []
            ended = submit(
                f"jobs/{recipe.stem}.py",
                [
                    str(small(recipe).relative_to(ROOT)),
                    *arguments,
                    f"data.shards={folder}/shards",
                    f"run.root={folder}/runs",
                    f"run.name={name}",
                ],
                address=here.dashboard,
                token=here.token,
                say=said.append,
            )
            return Submitted(folder / "runs" / name, ended.exit_code, "".join(said))

        def send_frozen(recipe: Path, first: Future[Submitted]) -> Submitted:
            return send(recipe, recipe.stem, f"autoencoder.weights={first.result().run}")

        # A tiny autoencoder, for what is trained on a frozen one: it begins first.
        variant = "configs/variants/autoencoder_only.yaml"
        first = threads.submit(send, CONFIGS / "starflow_256.yaml", "autoencoder", variant)
        frozen = [p for p in PUBLISHED if getattr(read(p).autoencoder, "weights", None)]
        others = [p for p in PUBLISHED if p not in frozen]
        sent = {path.stem: threads.submit(send, path, path.stem) for path in others}
        sent |= {path.stem: threads.submit(send_frozen, path, first) for path in frozen}
        yield sent
        threads.shutdown(cancel_futures=True)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_recipe_trains_as_a_submitted_job(path: Path, jobs: dict[str, Future[Submitted]]) -> None:
    ended = jobs[path.stem].result()
    assert ended.exit_code == 0, ended.said
    assert f"run {path.stem!r} is done: 160 images" in ended.said
    reports = [event["values"] for event in read_ledger(str(ended.run)) if "values" in event]
    assert reports[-1]["train/updates"] == 20
    assert all(math.isfinite(value) for values in reports for value in values.values())
    kept = CheckpointStore(str(ended.run / "checkpoints")).all()
    assert [each.images_seen for each in kept] == [80, 160]


def test_images_are_drawn_from_what_a_job_left(
    jobs: dict[str, Future[Submitted]], tmp_path: Path
) -> None:
    sampler = str(CONFIGS / "sampling" / "starflow_256.yaml")
    run = jobs["starflow_256"].result().run
    places = [f"checkpoint={run}", f"out={tmp_path}", "count=8"]
    sample_to_folder(resolve(None, [sampler, *places], Sampling).recipe)
    assert np.load(tmp_path / "samples.npz")["arr_0"].shape == (8, 16, 16, 3)
