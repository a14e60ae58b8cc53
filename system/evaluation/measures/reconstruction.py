"""How much of a held-out image comes back: rFID, PSNR, SSIM and LPIPS, through mean and draw.

The decoder is trained on latents with the posterior's noise in them, and the flow draws such
latents; so the value through a draw says what generation can reach, and the value through the mean
what the encoder keeps. All but rFID are means of the images' own values, on 8-bit pixels. rFID is
between the held-out images and what comes back of them, both seen by the detector of generation;
its correction for few images would go too far, since the two sets are pairs, so none is given. A
flow on pixels has no autoencoder, and nothing is measured of it here.
"""

import torch
from torch import Tensor

from system.evaluation.drawing import to_uint8
from system.evaluation.measures.bench import Bench
from system.evaluation.measures.latents import held_out_posteriors
from system.evaluation.measures.latents import latent_noise
from system.evaluation.protocol import Detector
from system.evaluation.protocol import Latents
from system.evaluation.protocol import Measurement
from system.evaluation.scores.frechet import Factored
from system.evaluation.scores.frechet_estimate import frechet_estimate
from system.evaluation.scores.jackknife import GROUPS
from system.evaluation.scores.perceptual import PerceptualDistance
from system.evaluation.scores.pictures import peak_signal_to_noise
from system.evaluation.scores.pictures import structural_similarity
from system.evaluation.statistics import FeatureStatistics
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.evaluation import ReferenceEvaluation


def reconstruction(bench: Bench) -> list[Measurement]:
    """rFID, PSNR, SSIM and (with a trunk) LPIPS of held-out images, by the mean and by one draw."""
    if isinstance(bench.subject.recipe.autoencoder, Pixels):
        return []
    original = bench.detector.look(bench.held_out.image).features
    measured = []
    for draws, suffix in ((0, ""), (1, "_sampled")):
        image = decoded(bench, draws)
        latents = Latents(draws=draws, seed=bench.settings.seed)
        features = bench.detector.look(image).features
        measured.append(_distance(bench, features, original, latents, suffix))
        measured += _per_image(bench, image, latents, suffix)
    return measured


def _distance(
    bench: Bench, features: Tensor, original: Tensor, latents: Latents, suffix: str
) -> Measurement:
    estimate = frechet_estimate(features, Factored.of(FeatureStatistics.of(original)))
    return Measurement(
        name=f"evaluation/rfid{suffix}",
        value=estimate.value,
        standard_error=estimate.standard_error,
        protocol=bench.protocol(
            "frechet_distance",
            samples=len(features),
            reference="held out",
            latents=latents,
            groups=GROUPS,
        ),
    )


def _per_image(bench: Bench, image: Tensor, latents: Latents, suffix: str) -> list[Measurement]:
    """Means of scores that each image has by itself, with the error of a mean."""
    original = bench.held_out.image
    scores: dict[str, tuple[str, Tensor, Detector | None]] = {
        f"psnr{suffix}_db": ("mean_psnr", peak_signal_to_noise(image, original), None),
        f"ssim{suffix}": ("mean_ssim", structural_similarity(image, original), None),
    }
    if isinstance(bench.settings, ReferenceEvaluation) and bench.settings.lpips is not None:
        lpips = PerceptualDistance.open(bench.settings.lpips, None, bench.subject.device.type)
        trunk = Detector(name="lpips-vgg16", digest=lpips.digest, resize="none")
        scores[f"lpips{suffix}"] = ("mean_lpips", lpips(image, original).double(), trunk)
    return [
        Measurement(
            name=f"evaluation/{name}",
            value=values.mean().item(),
            standard_error=values.std().item() / len(values) ** 0.5,
            protocol=bench.protocol(
                metric, samples=len(image), reference="held out", latents=latents
            ).model_copy(update={"detector": seen_by}),
        )
        for name, (metric, values, seen_by) in scores.items()
    ]


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
