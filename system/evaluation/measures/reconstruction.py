"""How much of a held-out image comes back: rFID and PSNR, through the latent's mean and a draw.

The decoder is trained on latents with the posterior's noise in them, and the flow draws such
latents; so the value through a draw says what generation can reach, and the value through the mean
what the encoder keeps. PSNR is the mean of the images' own, in decibels, on 8-bit pixels. A flow on
pixels has no autoencoder, and nothing is measured of it here.
"""

import torch
from torch import Tensor

from system.evaluation.drawing import to_uint8
from system.evaluation.measures.bench import Bench
from system.evaluation.measures.latents import held_out_posteriors
from system.evaluation.measures.latents import latent_noise
from system.evaluation.protocol import Latents
from system.evaluation.protocol import Measurement
from system.evaluation.scores.frechet import frechet_distance
from system.evaluation.scores.pictures import peak_signal_to_noise
from system.evaluation.statistics import FeatureStatistics
from system.foundation.settings.autoencoder import Pixels


def reconstruction(bench: Bench) -> list[Measurement]:
    """rFID and PSNR of the held-out images, through the mean and through one draw."""
    if isinstance(bench.subject.recipe.autoencoder, Pixels):
        return []
    original = FeatureStatistics.of(bench.detector.look(bench.held_out.image).features)
    measured = []
    for draws, suffix in ((0, ""), (1, "_sampled")):
        image = decoded(bench, draws)
        latents = Latents(draws=draws, seed=bench.settings.seed)
        samples, reference = len(image), "held out"
        distance = frechet_distance(
            FeatureStatistics.of(bench.detector.look(image).features), original
        )
        fid = bench.protocol(
            "frechet_distance", samples=samples, reference=reference, latents=latents
        )
        psnr = bench.protocol(
            "mean_psnr", samples=samples, reference=reference, latents=latents
        ).model_copy(update={"detector": None})
        noise_ratio = peak_signal_to_noise(image, bench.held_out.image).mean().item()
        measured += [
            Measurement(name=f"evaluation/rfid{suffix}", value=distance, protocol=fid),
            Measurement(name=f"evaluation/psnr{suffix}_db", value=noise_ratio, protocol=psnr),
        ]
    return measured


@torch.no_grad()
def decoded(bench: Bench, draws: int) -> Tensor:
    """The held-out images, encoded and decoded, in 8 bits: by the mean (0) or one draw (1)."""
    parts = []
    for index, posterior in held_out_posteriors(bench):
        latent = posterior.mean
        if draws:
            latent = posterior.sample(latent_noise(bench, index, draw=0))
        parts.append(to_uint8(bench.subject.model.autoencoder.decode(latent)))
    return torch.cat(parts)
