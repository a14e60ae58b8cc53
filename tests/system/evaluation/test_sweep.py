"""Sweeps: the same noise in every cell, fresh seeds for the best, nothing drawn twice."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from safetensors.torch import save_file

from system.engine.checkpoints import further_average
from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.crew import Crew
from system.evaluation.sweep import Sweeping
from system.evaluation.sweep import sweep_folder
from system.evaluation.sweep import sweep_samplers
from system.evaluation.sweep_record import Sweep
from system.foundation.errors import BadInput
from system.foundation.errors import RecipeError
from system.foundation.settings.flow import Unconditional
from system.launch.command import run
from tests.system.evaluation.conftest import committed
from tests.system.evaluation.conftest import random_weights

ROOT = Path(__file__).parents[3]
DECAY = 0.5
FEW = {"count": 80, "fresh_count": 82, "fresh_seeds": 2}
JOB = str(ROOT / "jobs" / "sweep_sampling.py")


class Counting(Crew):
    """This process, which remembers what it drew, and stops after so many units."""

    def __init__(self, limit: int = 1000) -> None:
        self.limit, self.drawn = limit, []

    def run(self, request, units, store):
        """Draw until the limit."""
        for unit in units:
            if len(self.drawn) == self.limit:
                raise KeyboardInterrupt
            AloneCrew().run(request, [unit], store)
            self.drawn.append((request.key, unit))


@pytest.fixture(scope="module")
def two_averages(recipe, root, tmp_path_factory) -> str:
    """A checkpoint that holds another average besides."""
    engine = recipe.engine.model_copy(update={"further_decays": (DECAY,)})
    both, local = recipe.model_copy(update={"engine": engine}), tmp_path_factory.mktemp("two")
    first = random_weights(recipe)
    second = {name: 0.9 * value for name, value in first.items()}
    save_file(second, local / further_average(DECAY))
    return committed(root / "two", local, both, first)


@pytest.fixture(scope="module")
def asked(two_averages, recipe, tmp_path_factory, detector) -> Sweeping:
    """Two guidances and two averages, one cell of which is not finite in either."""
    return Sweeping(
        checkpoint=two_averages,
        out=str(tmp_path_factory.mktemp("swept")),
        guidances=(0.0, 1e30),
        averaging_decays=(recipe.engine.averaging_decay, DECAY),
        guidance_rule="linear",
        batch=64,
        **FEW,
    )


@pytest.fixture(scope="module")
def swept(asked) -> Sweep:
    return sweep_samplers(asked, AloneCrew())


def written(folder: str) -> bytes:
    """The record; nothing else is left."""
    [file] = (Path(folder) / "sweep").iterdir()
    assert file.name == "000000002560-digits.json"
    return file.read_bytes()


def protocols(value: object) -> Iterator[dict]:
    """All protocols in a record, wherever they stand."""
    if isinstance(value, dict):
        if "protocol" in value:
            assert len(value["protocol_digest"]) == 32
            yield value["protocol"]
        for each in value.values():
            yield from protocols(each)
    elif isinstance(value, list):
        for each in value:
            yield from protocols(each)


def test_cells_share_their_noise_and_every_number_has_its_protocol(swept, asked, recipe):
    first = recipe.engine.averaging_decay
    places = [(cell.averaging_decay, cell.guidance) for cell in swept.cells]
    assert places == [(first, 0), (first, 1e30), (DECAY, 0), (DECAY, 1e30)]
    sound = [cell for cell in swept.cells if cell.measured is not None]
    assert [cell.guidance for cell in sound] == [0, 0]
    assert {cell.measured.protocol.drawing.seed for cell in sound} == {recipe.evaluation.seed}
    assert [cell.measured.protocol.averaging_decay for cell in sound] == [first, DECAY]
    assert len({cell.content for cell in swept.cells}) == 2
    record = json.loads(written(asked.out))
    assert len([*protocols(record)]) == 2 * len(sound) + 2 + 1
    assert {each["samples"] for each in protocols(record["cells"])} == {40}
    assert {each["samples"] for each in protocols(record["fresh"])} == {41}


def test_a_cell_that_is_not_finite_fails_alone(swept):
    for cell in (swept.cells[1], swept.cells[3]):
        assert (cell.measured, cell.difference, cell.is_tied, cell.broken) == (
            None,
            None,
            False,
            80,
        )


def test_the_best_has_the_least_corrected_value_and_differences_are_to_it(swept):
    best, other = swept.cells[swept.best], swept.cells[2 - swept.best]
    assert best.measured.corrected < other.measured.corrected
    assert (best.difference.value, best.difference.standard_error, best.is_tied) == (0, 0, True)
    apart = other.measured.corrected - best.measured.corrected
    assert other.difference.value == pytest.approx(apart)
    assert other.is_tied == (apart <= 1.96 * other.difference.standard_error)
    errors = best.measured.standard_error**2 + other.measured.standard_error**2
    assert 0 < other.difference.standard_error < 0.8 * errors**0.5


def test_the_best_is_drawn_again_with_seeds_of_its_own(swept, recipe):
    own, best = recipe.evaluation.seed, swept.cells[swept.best]
    assert [one.seed for one in swept.fresh] == [own + 1, own + 2]
    drawn = [one.measured.protocol for one in swept.fresh]
    assert [protocol.drawing.seed for protocol in drawn] == [own + 1, own + 2]
    assert {protocol.averaging_decay for protocol in drawn} == {best.averaging_decay}
    first, second = (one.measured.corrected for one in swept.fresh)
    assert first != second
    assert swept.over_seeds.mean.corrected == pytest.approx((first + second) / 2)
    assert swept.over_seeds.sd == pytest.approx(abs(first - second) / 2**0.5)
    assert swept.over_seeds.mean.protocol.metric.endswith("mean over seeds 1, 2")


def test_a_sweep_that_was_stopped_goes_on_and_its_bytes_are_the_same(swept, asked, tmp_path):
    again = asked.model_copy(update={"out": str(tmp_path), "batch": 1000})
    first, second = Counting(limit=4), Counting()
    with pytest.raises(KeyboardInterrupt):
        sweep_samplers(again, first)
    assert len(first.drawn) == 4
    sweep_samplers(again, second)
    assert not set(first.drawn) & set(second.drawn)
    assert written(str(tmp_path)) == written(asked.out)


@pytest.mark.ray
@pytest.mark.slow
def test_workers_of_a_cluster_write_the_same_bytes(swept, asked, tmp_path):
    keys = asked.model_dump(mode="json", exclude_defaults=True) | {"out": str(tmp_path)}
    given = [f"{key}={json.dumps(value)}" for key, value in keys.items()]
    done = subprocess.run(
        [sys.executable, JOB, *given, "workers=2"], cwd=ROOT, env=os.environ | {"RAY_ADDRESS": ""},
        timeout=280, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (tmp_path / "sweep" / "000000002560-digits.png").unlink()
    assert written(str(tmp_path)) == written(asked.out)


def test_a_sweep_without_a_sound_cell_is_written_as_that(asked, tmp_path):
    wild = asked.model_copy(
        update={"guidances": (1e30,), "averaging_decays": None, "out": str(tmp_path)}
    )
    told = []
    found = sweep_samplers(wild, AloneCrew(), told.append)
    assert (found.best, found.fresh, found.over_seeds) == (None, (), None)
    assert told == [
        "1 of 1: guidance 1e+30, temperature 1, averaging decay 0.999, seed 0: 80 of 80 images are "
        "not finite"
    ]
    assert json.loads(written(str(tmp_path)))["cells"][0]["broken"] == 80


@pytest.mark.parametrize("key", ["guidances", "temperatures", "averaging_decays"])
def test_lists_hold_something_and_nothing_twice(key):
    with pytest.raises(ValidationError, match="at least 1 item"):
        Sweeping(**{key: ()})
    with pytest.raises(ValidationError, match=r"found 0\.5 more than once"):
        Sweeping(**{key: (0.5, 0.25, 0.5)})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"averaging_decays": (DECAY, 0.25)}, r"no average of decay 0\.25"),
        ({"count": 78}, "even number from 80 to"),
        ({"count": 81}, "found 81 images"),
        ({"fresh_count": 100_000}, "found 100000 images"),
        ({"attention_temperature": 0.5}, "guidance_against"),
        ({"reference": "r.npz"}, "reference"),
        ({"kind": "adm_50k", "detector": "d.pth"}, "reference: missing"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_is_drawn(asked, tmp_path, wrong, said):
    request = asked.model_copy(update={"out": str(tmp_path / "out"), **wrong})
    with pytest.raises(BadInput, match=said):
        sweep_samplers(request, Counting(limit=0))
    assert not (tmp_path / "out").exists()


def test_what_a_model_cannot_draw_is_refused(commit, recipe, asked, tmp_path):
    sampler = {"guidance_against": "temperature", "attention_temperature": 0.5}
    own = recipe.evaluation.model_copy(update=sampler)
    flow = recipe.flow.model_copy(update={"condition": Unconditional()})
    bare = commit(recipe.model_copy(update={"flow": flow, "evaluation": own}))
    wrong = {"guidance_against": "null_class", "attention_temperature": 1.0}
    changes = {"checkpoint": bare, "averaging_decays": None, "out": str(tmp_path / "out")}
    request = asked.model_copy(update=changes | wrong | {"guidances": (0.0, 1.0)})
    with pytest.raises(RecipeError, match=r"evaluation\.guidance 1 leads away from the null"):
        sweep_samplers(request, Counting(limit=0))
    assert not (tmp_path / "out").exists()


def test_the_runs_own_folder_is_where_it_is_written(two_averages, root):
    assert sweep_folder(Sweeping(checkpoint=two_averages)) == str(root / "two")
    assert sweep_folder(Sweeping(checkpoint=two_averages, out="there")) == "there"


def test_the_job_prints_a_table_and_the_place_of_the_picture(asked, tmp_path, capsys):
    job = runpy.run_path(JOB)
    keys = {"checkpoint": asked.checkpoint, "out": str(tmp_path), "guidances": [0], **FEW}
    given = [f"{key}={json.dumps(value)}" for key, value in keys.items()]
    assert run(job["main"], None, about=job["__doc__"], schema=Sweeping, arguments=given) == 0
    shown = capsys.readouterr()
    assert "on fresh seeds 1, 2: gfid" in shown.out
    assert shown.out.splitlines()[-1] == f"{tmp_path}/sweep/000000002560-digits.png"
    assert "1 of 1: guidance 0" in shown.err
    assert (tmp_path / "sweep" / "000000002560-digits.png").exists()
