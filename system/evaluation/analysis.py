"""A checkpoint's latent space on request: how smooth it is, and how noise and mixing decode.

    values = analyse("runs/digits/checkpoints/000000025600-1", output="runs/digits")
    values["evaluation/spectral_entropy"]

Writes `eval/<images_seen>-latents.json` and `samples/<images_seen>-interpolation.png`. A flow on
pixels has statistics alone: it has nothing to decode.
"""

import torch

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.crews.crew import AloneCrew
from system.evaluation.drawing import to_png
from system.evaluation.measured import Measured
from system.evaluation.measured import device_of
from system.evaluation.measures.digits import prepare
from system.evaluation.measures.smoothness import interpolation
from system.evaluation.measures.smoothness import reconstruction_under_noise
from system.evaluation.measures.smoothness import smoothness
from system.evaluation.protocol import Evaluation
from system.evaluation.protocol import write_evaluation
from system.evaluation.requests import asked_of
from system.evaluation.requests import run_folder_of
from system.evaluation.studio import Device
from system.evaluation.studio import Studio
from system.evaluation.studio import units_folder
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_subject
from system.evaluation.subject import run_of
from system.foundation import storage
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Pixels


class Analysis(Measured):
    """A checkpoint whose latents to look at."""


def analyse(
    checkpoint_url: str,
    recipe: Recipe | None = None,
    *,
    output: str,
    threads: int = 1,
    device: Device = "cpu",
) -> dict[str, float]:
    """Measure the latents of a checkpoint and write what was found into `output`.

    `recipe` says where the data are and with which seed, in place of the checkpoint's own. Returns
    each number by name. Raises what `evaluate` raises.
    """
    with exact_arithmetic(threads):
        subject = read_subject(checkpoint_url, device)
        bench = prepare(
            subject,
            recipe or subject.recipe,
            run_of(checkpoint_url) or output,
            checkpoint=checkpoint_url,
            studio=Studio(AloneCrew(), units_folder(output), device),
        )
        measured = smoothness(bench)
        if not isinstance(subject.recipe.autoencoder, Pixels):
            measured += reconstruction_under_noise(bench)
            place = storage.join(output, "samples", f"{subject.images_seen:012d}-interpolation.png")
            storage.write_bytes(place, to_png(interpolation(bench)))
    evaluation = Evaluation(
        images_seen=subject.images_seen,
        checkpoint=checkpoint_url,
        preset="latents",
        measurements=tuple(measured),
        seconds={},
    )
    write_evaluation(evaluation, output)
    return {one.name: one.value for one in measured}


def analyse_to_table(request: Analysis) -> str:
    """Analyse, write the record, and return the numbers as a table. Raises BadInput."""
    checkpoint = find_checkpoint(request.checkpoint)
    values = analyse(
        checkpoint,
        asked_of(checkpoint, request.shards),
        output=request.out or run_folder_of(checkpoint),
        threads=request.threads or torch.get_num_threads(),
        device=device_of(request.device),
    )
    width = max(len(name) for name in values)
    return "\n".join(f"{name:<{width}}  {value:.6g}" for name, value in values.items())
