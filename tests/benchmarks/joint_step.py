"""The joint step of SimFlow-256 at its published size, on the CPU: that it runs, and where it goes.

One image through encoder, decoder, flow, perceptual trunk and discriminator, forward and backward
in bf16, as `system.train.update.micro_step` takes it. About 8 GB of memory, a minute on two cores.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from system.foundation.config import resolve
from tests.benchmarks.child import in_child
from tests.benchmarks.parts.ceiling import measured_ceiling
from tests.benchmarks.parts.joint import CPU
from tests.benchmarks.parts.joint import profiled
from tests.benchmarks.rows import Row
from tests.benchmarks.rows import at_least

CONFIG = Path(__file__).parents[2] / "configs" / "simflow_256.yaml"
GIGA = 1e9


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured, and settings for the published recipe."""

    images: int = 1
    settings: tuple[str, ...] = ()


def rows(scale: Scale = Scale()) -> Iterator[Row]:
    """All rows."""
    yield from in_child(measured, scale)


def measured(scale: Scale) -> list[Row]:
    """The rows, measured in this process."""
    recipe = resolve(CONFIG, ["cluster.workers=1", "cluster.device=cpu", *scale.settings]).recipe
    ceiling = measured_ceiling(torch.bfloat16, CPU, rounds=2)
    found = profiled(recipe, scale.images)
    is_finite = torch.tensor(found.loss).isfinite().item()
    return [
        Row("parameters that learn", found.parameters / 1e6, "million"),
        Row("the loss is finite", float(is_finite), "", at_least(1)),
        Row("pass, forward and backward", found.seconds, "s"),
        Row("of that, on its cores", found.worked, "s"),
        Row("operations of the pass", found.flops / GIGA, "GFLOP"),
        Row("product of matrices in bf16, at most", ceiling / GIGA, "GFLOP/s"),
        Row("of it (MFU)", 100 * found.flops / found.seconds / ceiling, "%"),
        *(
            Row(f"{name}: share of the time", 100 * spent / found.worked, "%")
            for name, spent in sorted(found.parts.items(), key=lambda each: -each[1])
        ),
        *(
            Row(f"operator {name}", spent, "s")
            for name, spent in found.operators.items()
            if "::" in name and not name.startswith("autograd::")
        ),
    ]
