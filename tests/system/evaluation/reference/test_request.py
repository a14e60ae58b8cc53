import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from system.evaluation.presets import PRESETS
from system.evaluation.reference.request import make_reference
from system.evaluation.reference.request import real_images
from system.evaluation.reference.request import reference_to_lines
from system.evaluation.sources.shards import open_shards
from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import BadInput
from system.foundation.errors import DataError
from tests.system.evaluation.reference.conftest import no_cluster

ROOT = Path(__file__).parents[4]


def test_statistics_are_those_of_what_the_detector_sees(ask, detector):
    reference = make_reference(ask(), no_cluster)
    source = open_shards(real_images(ask(), PRESETS["digits"]))
    seen = detector.look(source.images(range(150)))
    expected = FeatureStatistics.of(seen.features)
    assert reference.moments.count == 150
    assert torch.allclose(reference.moments.mean, expected.mean, rtol=1e-13)
    assert torch.allclose(reference.moments.scatter, expected.scatter, rtol=1e-10, atol=1e-9)
    assert reference.spatial.mean.shape == seen.spatial.shape[1:]
    assert torch.equal(reference.kept, seen.features)
    made = reference.provenance
    assert (made.count, made.height, made.kept, made.path) == (150, 8, 150, "plain")
    assert made.detector.digest == detector.digest
    assert "url" not in made.source


def test_it_is_made_once_and_says_where_it_lies(ask, tmp_path):
    said = reference_to_lines(ask(batch=64), no_cluster)
    (place,) = (tmp_path / "references").glob("digits-*")
    assert str(place) in said
    assert [each.name for each in (tmp_path / "references").iterdir()] in (
        [place.name],
        ["units", place.name],
        [place.name, "units"],
    )
    written = {file.name: file.stat().st_mtime_ns for file in place.iterdir()}
    assert reference_to_lines(ask(), no_cluster) == said
    assert {file.name: file.stat().st_mtime_ns for file in place.iterdir()} == written


def test_how_work_is_cut_changes_no_bit(ask, tmp_path):
    first = make_reference(ask(batch=64), no_cluster)
    second = make_reference(ask(out=str(tmp_path / "other")), no_cluster)
    assert first.digest == second.digest
    assert first.url != second.url


def test_other_images_are_another_reference(ask):
    digests = {
        make_reference(ask(**changes), no_cluster).digest
        for changes in ({}, {"seed": 1}, {"images": 149}, {"split": "held_out", "images": None})
    }
    assert len(digests) == 4


def test_the_same_images_from_a_file_and_from_a_folder(ask, tmp_path, pixels):
    np.savez(tmp_path / "real.npz", arr_0=pixels, mu=np.zeros(3))  # its moments are no matter
    (tmp_path / "pngs").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image[..., 0]).save(tmp_path / "pngs" / f"{number:03d}.png")
    nothing = {"shards": None, "images": None}
    archive = make_reference(ask(archive=str(tmp_path / "real.npz"), **nothing), no_cluster)
    folder = make_reference(ask(folder=str(tmp_path / "pngs"), **nothing), no_cluster)
    assert archive.moments.count == len(pixels)
    assert torch.equal(archive.moments.scatter, folder.moments.scatter)
    assert torch.equal(archive.kept, folder.kept)
    assert archive.digest != folder.digest  # they say where they are from


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"shards": None, "images": None}, "found none of shards, archive and folder"),
        ({"archive": "a.npz"}, "found shards and archive of shards, archive and folder"),
        ({"shards": None, "folder": "a"}, "expected shards=.* or images=150"),
        ({"shards": None, "images": None, "folder": "a", "preset": "tarflow"}, "preset=tarflow"),
        ({"detector": None}, "detector is missing"),
        ({"images": 10**6}, "expected at least the 1000000"),
        ({"preset": "adm_50k", "resize": "bilinear"}, "adm_50k brings images .* by tf1_bilinear"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_computed(ask, tmp_path, changes, problem):
    with pytest.raises(BadInput, match=problem):
        make_reference(ask(**changes), no_cluster)
    assert not (tmp_path / "references").exists()


def test_weights_of_another_network_are_refused(ask, weights):
    with pytest.raises(BadInput, match="expected 95,628,359"):
        make_reference(ask(preset="adm_50k"), no_cluster)
    with pytest.raises(DataError, match=r"damaged|found no|expected"):
        make_reference(ask(detector=weights + "-not"), no_cluster)


@pytest.mark.ray
@pytest.mark.slow
def test_workers_of_ray_make_the_same_bytes(ask, tmp_path):
    alone = make_reference(ask(), no_cluster)
    asked = ask(out=str(tmp_path / "by-workers"), workers=2, batch=64)
    settings = asked.model_dump(include={"preset", "detector", "shards", "images", "out"})
    settings |= {"workers": 2, "batch": 64}
    environment = {name: each for name, each in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [
            sys.executable,
            "jobs/reference_statistics.py",
            *(f"{key}={value}" for key, value in settings.items()),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert alone.digest in done.stdout
    made, expected = (
        {file.name: file.read_bytes() for file in Path(folder).iterdir()}
        for folder in (tmp_path / "by-workers" / Path(alone.url).name, alone.url)
    )
    assert made == expected
