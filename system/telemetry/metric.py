"""What the registry says of one number, and what Prometheus calls it."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher", "neither"]
MetricKind = Literal["gauge", "counter"]

# Prometheus knows names of one word alone, and has many programs' in one place.
PREFIX = "latent_flows"
# A number's uncertainty is written under the number's name with this at the end.
UNCERTAINTY = "_standard_error"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that may be written, with what a reader needs to know about it.

    A counter only grows while the program that shows it lives. `labels` tell apart what stands side
    by side in Prometheus; a run's ledger is of one run and needs none.
    """

    name: str
    unit: str
    meaning: str
    better: Direction = "neither"
    kind: MetricKind = "gauge"
    labels: tuple[str, ...] = ("run",)

    @property
    def area(self) -> str:
        """The part of the system that it tells about."""
        return self.name.split("/", 1)[0]

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus. A counter's ends in `_total`, as is custom there."""
        return prometheus_name(self.name) + ("_total" if self.kind == "counter" else "")


def prometheus_name(name: str) -> str:
    """A name of the registry, or of an uncertainty, as Prometheus has it."""
    return f"{PREFIX}_{name.replace('/', '_')}"
