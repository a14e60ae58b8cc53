"""A latent space looked at: its statistics, what noise does to decoding, and what lies between.

Extra noise of a given spread is added to the posterior's mean before decoding, so that autoencoders
trained with any spread are asked the same. It is in units of the latent as the flow sees it.

Source: SimFlow, arXiv 2512.04084, its analysis of the latent space.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from jaxtyping import UInt8
from torch import Tensor

from system.evaluation.drawing import grid
from system.evaluation.drawing import to_uint8
from system.evaluation.measures import latent_statistics
from system.evaluation.measures import standard_statistics
from system.evaluation.measures.bench import Bench
from system.evaluation.measures.latents import held_out_posteriors
from system.evaluation.measures.latents import latent_noise
from system.evaluation.protocol import Latents
from system.evaluation.protocol import Measurement
from system.evaluation.scores.frechet import frechet_distance
from system.evaluation.scores.pictures import peak_signal_to_noise
from system.evaluation.statistics import FeatureStatistics

# By the metric's name: each of one sample.
STATISTICS = {
    "spectral_entropy": latent_statistics.spectral_entropy,
    "high_frequency_ratio": latent_statistics.high_frequency_ratio,
    "total_variation": latent_statistics.total_variation,
    "autocorrelation": latent_statistics.autocorrelation,
}
STANDARD = {
    "standard_spectral_entropy": standard_statistics.spectral_entropy,
    "standard_high_frequency_ratio": standard_statistics.high_frequency_ratio_radial,
    "standard_high_frequency_ratio_box": standard_statistics.high_frequency_ratio_box,
    "standard_total_variation": standard_statistics.total_variation,
    "standard_autocorrelation": standard_statistics.autocorrelation,
}
SAMPLED = "_sampled"  # what names of statistics of a draw end in
Statistic = Callable[[Tensor], Tensor]
NOISE_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
STEPS = 9  # of an interpolation, its two ends counted
PAIRS = 8


def smoothness(bench: Bench) -> list[Measurement]:
    """The statistics of held-out latents, and the spread of their means, with standard errors.

    SimFlow's are of the means; the standard ones of the means and of one draw each, whose white
    noise raises entropy, high frequencies and variation by itself.
    """
    mean, drawn = held_out_means(bench), held_out_draws(bench)
    seed = bench.settings.seed
    of_mean, of_draw = Latents(draws=0, seed=seed), Latents(draws=1, seed=seed)
    measured = [
        _measured(bench, (name, statistic), "", mean, of_mean)
        for name, statistic in (STATISTICS | STANDARD).items()
    ]
    measured += [
        _measured(bench, (name, statistic), SAMPLED, drawn, of_draw)
        for name, statistic in STANDARD.items()
    ]
    spread = bench.density_protocol("latent_std", of_mean)
    value = mean.double().std().item()
    return [*measured, Measurement(name="evaluation/latent_std", value=value, protocol=spread)]


def _measured(
    bench: Bench,
    named: tuple[str, Statistic],
    suffix: str,
    latent: Float[Tensor, "N C h w"],
    latents: Latents,
) -> Measurement:
    name, statistic = named
    values = statistic(latent).double()
    version = standard_statistics.VERSION if name in STANDARD else latent_statistics.VERSION
    protocol = bench.density_protocol(name, latents)
    return Measurement(
        name=f"evaluation/{name}{suffix}",
        value=values.mean().item(),
        standard_error=values.std().item() / len(values) ** 0.5,
        protocol=protocol.model_copy(update={"definition": version}),
    )


def reconstruction_under_noise(bench: Bench) -> list[Measurement]:
    """rFID and PSNR of held-out images whose latents' means were given noise, level by level."""
    original = FeatureStatistics.of(bench.detector.look(bench.held_out.image).features)
    latents = Latents(draws=0, seed=bench.settings.seed)
    measured = []
    for level in NOISE_LEVELS:
        image = decoded_under_noise(bench, level)
        distance = frechet_distance(
            FeatureStatistics.of(bench.detector.look(image).features), original
        )
        ratio = peak_signal_to_noise(image, bench.held_out.image).mean().item()
        fid = bench.protocol(
            "frechet_distance", samples=len(image), reference="held out", latents=latents
        ).model_copy(update={"metric": f"frechet_distance, noise of {level:g} on the mean"})
        psnr = fid.model_copy(
            update={
                "metric": f"mean_psnr, noise of {level:g} on the mean",
                "moments_dtype": None,
                "detector": None,
            }
        )
        rfid_name, psnr_name = noise_names(level)
        measured += [
            Measurement(name=rfid_name, value=distance, protocol=fid),
            Measurement(name=psnr_name, value=ratio, protocol=psnr),
        ]
    return measured


def noise_names(level: float) -> tuple[str, str]:
    """What rFID and PSNR are called at a level of noise."""
    percent = f"{round(100 * level):03d}"
    return f"evaluation/rfid_noise_{percent}", f"evaluation/psnr_noise_{percent}_db"


@torch.no_grad()
def held_out_means(bench: Bench) -> Float[Tensor, "N C h w"]:
    """The posterior's mean of every held-out image."""
    return torch.cat([posterior.mean.cpu() for _, posterior in held_out_posteriors(bench)])


@torch.no_grad()
def held_out_draws(bench: Bench) -> Float[Tensor, "N C h w"]:
    """One draw from the posterior of every held-out image."""
    return torch.cat(
        [
            posterior.sample(latent_noise(bench, index, draw=0)).cpu()
            for index, posterior in held_out_posteriors(bench)
        ]
    )


@torch.no_grad()
def decoded_under_noise(bench: Bench, level: float) -> UInt8[Tensor, "N C H W"]:
    """The held-out images, decoded from their means with noise of spread `level` added."""
    decode = bench.subject.model.autoencoder.decode
    return torch.cat(
        [
            to_uint8(decode(posterior.mean + level * latent_noise(bench, index, draw=0)))
            for index, posterior in held_out_posteriors(bench)
        ]
    )


@torch.no_grad()
def interpolation(bench: Bench) -> UInt8[Tensor, "C Y X"]:
    """A grid with a pair of held-out images in each row, decoded from latents between them."""
    mean = held_out_means(bench)[: 2 * PAIRS].to(bench.subject.device)
    first, second = mean[::2][: len(mean) // 2], mean[1::2]
    share = torch.linspace(0, 1, STEPS, device=mean.device)[None, :, None, None, None]
    between = (1 - share) * first[:, None] + share * second[:, None]
    decoded = bench.subject.model.autoencoder.decode(between.flatten(0, 1))
    return grid(to_uint8(decoded), columns=STEPS)
