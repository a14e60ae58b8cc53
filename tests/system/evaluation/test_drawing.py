import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.drawing import Wanted
from system.evaluation.drawing import draw
from system.evaluation.drawing import draw_latents
from system.evaluation.drawing import draw_pixels
from system.evaluation.drawing import grid
from system.evaluation.drawing import to_png
from system.evaluation.labels import balanced_labels
from system.evaluation.protocol import Drawing
from system.flow.flow import to_tokens
from system.foundation.errors import BadInput
from system.foundation.errors import NumericsError
from system.foundation.settings.autoencoder import LearnedPosterior
from system.foundation.settings.evaluation import Sampler


def drawing(**changes) -> Drawing:
    """At guidance 1 by seed 0, or as changed."""
    seed = changes.pop("seed", 0)
    return Drawing(labels="balanced", seed=seed, sampler=Sampler(**{"guidance": 1.0} | changes))


def levels_apart(first: torch.Tensor, second: torch.Tensor) -> int:
    return int((first.int() - second.int()).abs().max())


def test_an_image_depends_on_its_index_alone(subject):
    label = balanced_labels(12, 10)
    whole = draw(subject, drawing(), range(12), label)
    assert whole.shape == (12, 1, 8, 8)
    assert whole.dtype == torch.uint8
    assert torch.equal(draw(subject, drawing(), range(8), label[:8]), whole[:8])
    # Elsewhere in a pass, a pixel on the edge of two levels may round to the other one.
    alone = draw(subject, drawing(), [7], label[7:8])
    assert levels_apart(alone, whole[7:8]) <= 1


def test_seed_label_guidance_and_temperature_matter(subject):
    label = balanced_labels(8, 10)
    reference = draw(subject, drawing(), range(8), label)
    for change in ({"seed": 1}, {"guidance": 0.0}, {"temperature": 0.5}, {"denoise": 1.0}):
        assert not torch.equal(draw(subject, drawing(**change), range(8), label), reference)
    assert not torch.equal(draw(subject, drawing(), range(8), label.flip(0)), reference)
    no_class = draw(subject, drawing(guidance=0.0), range(8), None)
    assert not torch.equal(no_class, draw(subject, drawing(guidance=0.0), range(8), label))


def test_denoising_is_a_score_step_of_the_recipes_spread(subject):
    label, flow = balanced_labels(3, 10), subject.model.flow
    wanted = [Wanted(range(3), label)]
    (noisy,) = draw_latents(subject, drawing(), wanted)
    at = to_tokens(noisy, subject.recipe.flow.patch).requires_grad_()
    (score,) = torch.autograd.grad(flow.log_prob(at, flow.condition(label)).sum(), at)
    expected = at.detach() + 0.75 * subject.recipe.autoencoder.posterior.std**2 * score
    (denoised,) = draw_latents(subject, drawing(denoise=0.75), wanted)
    found = to_tokens(denoised, subject.recipe.flow.patch)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)  # float32


@pytest.mark.parametrize("change", [{}, {"denoise": 1.0}, {"decoding": "jacobi"}])
def test_passes_that_are_under_way_at_once_are_the_same_bits(subject, change):
    wanted = [Wanted(range(at, at + 3), torch.arange(3)) for at in range(0, 12, 3)]
    with exact_arithmetic(threads=1):
        one_by_one = [*draw_pixels(subject, drawing(**change), wanted)]
        found = [*draw_pixels(subject, drawing(**change), wanted, 2)]
    assert len(found) == 4
    assert all(map(torch.equal, found, one_by_one))
    assert not any(pixels.requires_grad for pixels in found)


def test_denoising_needs_gaussian_noise_of_a_known_spread(subject):
    autoencoder = subject.recipe.autoencoder.model_copy(update={"posterior": LearnedPosterior()})
    recipe = subject.recipe.model_copy(update={"autoencoder": autoencoder})
    with pytest.raises(BadInput, match="kind=learned has none"):
        draw(replace(subject, recipe=recipe), drawing(denoise=1.0), range(2), torch.arange(2))


@pytest.mark.parametrize("weight", [1e3, 1e30])
def test_a_weight_beyond_what_float32_holds_is_refused_under_the_linear_rule(subject, weight):
    wild = drawing(guidance=weight, guidance_rule="linear")
    with pytest.raises(NumericsError, match="not finite"):
        draw(subject, wild, range(4), torch.arange(4))
    bounded = drawing(guidance=weight, guidance_rule="starflow", guidance_parts="a")
    assert draw(subject, bounded, range(4), torch.arange(4)).shape == (4, 1, 8, 8)


def test_grid_enlarges_small_images_and_fills_the_last_row():
    image = torch.zeros(5, 1, 8, 8, dtype=torch.uint8)
    image[1] = 200
    picture = grid(image, columns=3)
    assert picture.shape == (1, 2 * 50, 3 * 50)
    assert (picture[0, :48, 50:98] == 200).all()
    assert (picture[0, 50:98, 100:148] == 128).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels(channels):
    image = torch.arange(channels * 6, dtype=torch.uint8).reshape(channels, 2, 3)
    decoded = np.asarray(Image.open(io.BytesIO(to_png(image))))
    expected = image[0] if channels == 1 else image.permute(1, 2, 0)
    assert (decoded == expected.numpy()).all()
