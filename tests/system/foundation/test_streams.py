import numpy as np
import torch

from system.foundation import streams

MANY = range(5_000)
NORMAL = [[-1.459265, -1.96273], [-1.885933, 0.554889], [2.533223, -0.820851]]
UNIFORM = [0.706590784, 0.149771405]
INTEGERS = [2, 3, 3, 9, 3, 9, 1, 2]


def test_draws_are_the_recorded_ones() -> None:
    # Changing these numbers changes every run: a resumed run would no longer be the same run.
    normal = streams.normal(0, "latent", [0, 1, 10**12], (2,))
    assert normal.dtype == torch.float32
    assert [[round(value, 6) for value in row] for row in normal.tolist()] == NORMAL
    uniform = streams.uniform(0, "label_drop", [0, 7])
    assert uniform.dtype == torch.float64
    assert [round(value, 9) for value in uniform.tolist()] == UNIFORM
    assert streams.integers(3, "labels", range(8), 10).tolist() == INTEGERS


def test_a_draw_does_not_depend_on_its_neighbours() -> None:
    whole = streams.normal(5, "latent", range(10), (3, 2))
    assert torch.equal(whole[4:7], streams.normal(5, "latent", [4, 5, 6], (3, 2)))
    assert torch.equal(whole.flip(0), streams.normal(5, "latent", range(9, -1, -1), (3, 2)))
    assert torch.equal(
        streams.uniform(5, "drop", range(10))[3:], streams.uniform(5, "drop", range(3, 10))
    )
    assert torch.equal(
        streams.integers(5, "y", range(10), 7)[3:], streams.integers(5, "y", range(3, 10), 7)
    )


def test_a_longer_draw_begins_with_the_shorter() -> None:
    assert torch.equal(
        streams.normal(5, "latent", [4], (8,))[:, :3], streams.normal(5, "latent", [4], (3,))
    )


def test_draws_follow_their_distribution() -> None:
    normal = streams.normal(1, "a", MANY, (1,)).flatten()
    # Four standard errors of mean and standard deviation over 5 000 draws.
    assert abs(float(normal.mean())) < 4 / len(MANY) ** 0.5
    assert abs(float(normal.std()) - 1) < 4 / (2 * len(MANY)) ** 0.5
    uniform = streams.uniform(1, "a", MANY)
    assert 0 <= float(uniform.min()) <= float(uniform.max()) < 1
    assert abs(float(uniform.mean()) - 0.5) < 4 / (12 * len(MANY)) ** 0.5
    counts = torch.bincount(streams.integers(1, "a", MANY, 5), minlength=5)
    assert len(counts) == 5
    assert int((counts - len(MANY) / 5).abs().max()) < 4 * (len(MANY) * 0.16) ** 0.5


def test_streams_seeds_and_neighbours_are_uncorrelated() -> None:
    draws = [
        streams.normal(1, "a", MANY, (1,)),
        streams.normal(1, "b", MANY, (1,)),
        streams.normal(2, "a", MANY, (1,)),
        streams.normal(1, "a", range(1, len(MANY) + 1), (1,)),
    ]
    correlation = np.corrcoef(torch.cat(draws, 1).numpy().T)
    # Five standard errors of a correlation of independent draws, which is 1/sqrt(n).
    assert np.abs(correlation - np.eye(4)).max() < 5 / len(MANY) ** 0.5
