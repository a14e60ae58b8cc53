"""Kinds of GPUs: how fast, large, wired and dear; a table in YAML, with its sources in it."""

from pathlib import Path

from pydantic import Field

from system.foundation.config import resolve
from system.foundation.errors import RecipeError
from system.foundation.recipe import Recipe
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.launch.plan.network.links import Links
from system.launch.plan.network.links import Wire

TERA = 1e12


class Gpu(Record):
    """One kind of GPU."""

    name: str = Field(description="how the tables call it")
    tflops_bf16: PositiveFloat = Field(description="dense peak in bf16, 1e12 operations a second")
    tflops_fp32: PositiveFloat = Field(description="peak in float32, 1e12 operations a second")
    memory_gb: PositiveFloat = Field(description="memory as the data sheet says, 1e9 bytes")
    gpus_per_node: PositiveInt = Field(description="how many share a node")
    wire: Wire = Field(description="what links them there")
    node_gb_s: PositiveFloat = Field(
        description="what collectives reach within a node, for each GPU, one way, 1e9 bytes/s"
    )
    network_gb_s: PositiveFloat = Field(
        description="what they reach between nodes, for each GPU of a node, one way, 1e9 bytes/s"
    )
    price: PositiveFloat | None = Field(description="US dollars for an hour; null where unknown")
    priced: str | None = Field(description="month of the price")
    devices: tuple[str, ...] = Field(
        (), description="names that CUDA gives it: a run's share of the peak is known on these"
    )

    def peak(self, recipe: Recipe) -> float:
        """Operations a second, at most, in a recipe's precision."""
        is_bf16 = recipe.engine.precision == "bf16"
        return TERA * (self.tflops_bf16 if is_bf16 else self.tflops_fp32)

    @property
    def memory_bytes(self) -> float:
        """All of its memory."""
        return 1e9 * self.memory_gb

    @property
    def links(self) -> Links:
        """How they are wired."""
        return Links(self.gpus_per_node, self.wire, self.node_gb_s, self.network_gb_s)


class Table(Record):
    """A price table."""

    gpus: tuple[Gpu, ...] = Field(min_length=1, description="the kinds that are known")


def read_gpus(path: Path, names: tuple[str, ...] = ()) -> tuple[Gpu, ...]:
    """The kinds of a table, or those with these names in their order.

    Raises RecipeError for a table that cannot be used, and for a name that it does not have.
    """
    known = {each.name: each for each in resolve(path, [], Table).recipe.gpus}
    if unknown := [name for name in names if name not in known]:
        raise RecipeError(
            f"plan.gpus names {', '.join(unknown)}; {path} has {', '.join(known)}. Take one of "
            "these, or add a kind to a copy of the table and name it with plan.prices"
        )
    return tuple(known[name] for name in names or known)
