"""The same model on the same batches as one would train it in a script: no Ray, no DeepSpeed.

Weights in bf16 with float32 masters, AdamW, clipping, an average: what the recipe asks for, and
nothing else. Batches lie in memory; chance is torch's own.
"""

import json
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch import nn

from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.objectives.joint import JointModel

CONFIG = Path(__file__).parents[3] / "configs" / "simflow_digits.yaml"


def main(batches: str, updates: str, *settings: str) -> None:
    """Train, and print what it took as JSON."""
    imported = time.time()
    torch.set_num_threads(1)
    recipe = resolve(CONFIG, settings).recipe
    torch.manual_seed(recipe.run.seed)
    model = JointModel(recipe)
    learner = _Learner(recipe, model)
    built = time.time()
    read = np.load(batches)
    image, label = torch.from_numpy(read["image"]), torch.from_numpy(read["label"])
    seconds, worked = [], []
    for number in range(int(updates)):
        began, before = time.perf_counter(), time.process_time()
        which = number % len(image)
        learner.update(image[which].float() / 127.5 - 1, label[which])
        seconds.append(time.perf_counter() - began)
        worked.append(time.process_time() - before)
        if number == 0:
            first = time.time()
    found = {
        "imported": imported,
        "built": built,
        "first": first,
        "seconds": seconds,
        "worked": worked,
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    print(json.dumps(found), flush=True)


@dataclass(eq=False)
class _Learner:
    """The model, its masters, their average, and the optimiser."""

    recipe: Recipe
    model: JointModel

    def __post_init__(self) -> None:
        engine = self.recipe.engine
        self.weights = [*self.model.parameters()]
        self.masters = [nn.Parameter(weight.detach().float()) for weight in self.weights]
        self.average = [master.detach().clone() for master in self.masters]
        self.model.bfloat16()
        self.optimiser = torch.optim.AdamW(
            self.masters,
            lr=engine.optimiser.learning_rate,
            betas=(engine.optimiser.beta1, engine.optimiser.beta2),
            weight_decay=engine.optimiser.weight_decay,
            fused=True,
        )

    def update(self, image: Tensor, label: Tensor) -> None:
        """One batch in, the weights moved once."""
        recipe, side = self.recipe, self.recipe.latent_size
        noise = torch.randn(len(image), recipe.latent_channels, side, side)
        drop = torch.rand(len(image)) < recipe.flow.label_drop
        output = self.model(image, label, noise, drop)
        output.terms.total(recipe.objective).backward()
        for weight, master in zip(self.weights, self.masters, strict=True):
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None
        nn.utils.clip_grad_norm_(self.masters, recipe.engine.gradient_clip)
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.masters)
            torch._foreach_lerp_(self.average, self.masters, 1 - recipe.engine.averaging_decay)
