import logging
import os
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from PIL import Image

from data_pipeline.images import resample
from data_pipeline.images.kernel import SOURCE
from data_pipeline.images.kernel import KernelError
from data_pipeline.images.kernel import build_kernel
from data_pipeline.images.resample import CompiledResampler
from data_pipeline.images.resample import Fit
from data_pipeline.images.resample import PillowResampler
from data_pipeline.images.resample import resampler

ROOT = Path(__file__).parents[3]
FILTERS = {"box": Image.Resampling.BOX, "bicubic": Image.Resampling.BICUBIC}


@pytest.fixture(scope="module")
def compiled():
    """The kernel, built with the compiler of this machine."""
    return CompiledResampler(build_kernel())


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache folder without a kernel, and no kernel known to this process, before and after."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    resample.resampler.cache_clear()
    yield tmp_path
    resample.resampler.cache_clear()


def with_pillow(image, fit, rows, columns):
    """The part of the fit that is kept, by plain Pillow."""
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    whole = np.asarray(picture.resize((fit.width, fit.height), FILTERS[fit.filter]))
    whole = whole.reshape(fit.height, fit.width, image.shape[2])
    return whole[fit.top : fit.top + rows, fit.left : fit.left + columns]


@st.composite
def cases(draw, longest=90):
    """An image of noise or of extremes, a fit, and the size that is kept of it."""
    side = st.integers(1, longest)
    height, width, fitted_height, fitted_width = draw(st.tuples(side, side, side, side))
    if draw(st.booleans()):  # the exact multiples and fractions that halving meets
        factor = draw(st.sampled_from([1, 2, 3]))
        height, width = fitted_height * factor, fitted_width * factor
    rows, columns = draw(st.integers(1, fitted_height)), draw(st.integers(1, fitted_width))
    top = draw(st.integers(0, fitted_height - rows))
    left = draw(st.integers(0, fitted_width - columns))
    fit = Fit(draw(st.sampled_from(sorted(FILTERS))), fitted_height, fitted_width, top, left)
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([256, 2]))  # of two levels alone the sums are clipped
    image = noise.integers(0, levels, (height, width, draw(st.sampled_from([1, 3]))), np.uint8)
    return image * np.uint8(255 // (levels - 1)), fit, rows, columns


@settings(max_examples=250, deadline=None)
@given(case=cases(), is_mirrored=st.booleans())
@pytest.mark.parametrize("which", ["compiled", "pillow"])
def test_every_part_of_every_fit_is_pillows(request, which, case, is_mirrored):
    image, fit, rows, columns = case
    target = np.full((rows, columns, image.shape[2]), 77, np.uint8)
    chosen = request.getfixturevalue("compiled") if which == "compiled" else PillowResampler()
    chosen.resample(image, fit, target, is_mirrored)
    expected = with_pillow(image, fit, rows, columns)
    assert np.array_equal(target, expected[:, ::-1] if is_mirrored else expected)


@pytest.mark.parametrize(
    ("height", "width", "fitted"),
    [(375, 500, (256, 341)), (500, 375, (341, 256)), (700, 300, (597, 256)), (9, 301, (3, 100))],
)
@pytest.mark.parametrize("name", sorted(FILTERS))
def test_photographs_of_usual_and_of_elongated_sizes(
    compiled, photographs, height, width, fitted, name
):
    image = np.tile(photographs[1], (2, 1, 1))[:height, :width]
    fit = Fit(name, *fitted)
    target = np.empty((*fitted, 3), np.uint8)
    compiled.resample(image, fit, target, is_mirrored=False)
    assert np.array_equal(target, with_pillow(image, fit, *fitted))


def test_views_are_read_and_written_in_place(compiled, photographs):
    view = photographs[0][10:60, 20:90]
    batch = np.full((3, 32, 32, 3), 7, np.uint8)
    fit = Fit("bicubic", 32, 45, left=6)
    compiled.resample(view, fit, batch[1], is_mirrored=False)
    assert np.array_equal(batch[1], with_pillow(view, fit, 32, 32))
    assert (batch[[0, 2]] == 7).all()
    compiled.resample(view[:, ::-1], fit, batch[1], is_mirrored=False)  # pixels not side by side
    assert np.array_equal(batch[1], with_pillow(view[:, ::-1], fit, 32, 32))


@pytest.mark.parametrize(
    ("compiler", "reason"), [("no-such-cc", "no-such-cc"), ("false", "exited")]
)
def test_without_a_compiler_pillow_does_it_and_one_warning_says_so(
    own_cache, monkeypatch, caplog, photographs, compiler, reason
):
    monkeypatch.setenv("CC", compiler)
    with caplog.at_level(logging.WARNING):
        assert isinstance(resampler(), PillowResampler)
        assert resampler() is resampler()
    (message,) = [record.getMessage() for record in caplog.records]
    assert reason in message
    assert "Install a C compiler" in message


def test_a_library_that_cannot_be_loaded_is_not_used(own_cache, caplog):
    build_kernel().write_bytes(b"no library")
    assert isinstance(resampler(), PillowResampler)
    assert "resample-" in caplog.text


def test_a_kernel_with_other_pixels_is_refused(tmp_path):
    # What a wrong compiler, or a Pillow that rounds in another way, would look like.
    source, library = tmp_path / "other.c", tmp_path / "other.so"
    source.write_text(SOURCE.read_text("utf-8").replace("a = -0.5;", "a = -0.501;"), "utf-8")
    subprocess.run(["cc", "-O1", "-fPIC", "-shared", "-o", library, source, "-lm"], check=True)
    with pytest.raises(KernelError, match="does not give the pixels of Pillow"):
        CompiledResampler(library)


def test_processes_that_start_at_once_all_get_the_kernel(own_cache):
    code = (
        "from data_pipeline.images.resample import resampler;"
        "print(type(resampler()).__name__);"
        "import sys; assert not {'torch', 'webdataset', 'ray'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=own_cache)
        for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in started] == ["CompiledResampler"] * 3
    assert len(list((own_cache / "latent-flows").iterdir())) == 1  # no half-written file is left
