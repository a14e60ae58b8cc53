"""What the driver tells every worker, and where Ray starts one."""

from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

from system.foundation.config import recipe_from_mapping
from system.foundation.recipe import Recipe
from system.launch.plan.utilisation import Utilisation


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the driver tells every worker."""

    recipe: Recipe  # with every path absolute
    url: str  # the run's folder
    device: str
    utilisation: Utilisation | None = None  # where the device may have a peak that is known

    def to_mapping(self) -> dict[str, Any]:
        """As plain values: what crosses to another process is checked anew there."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "url": self.url,
            "device": self.device,
            "utilisation": None if self.utilisation is None else asdict(self.utilisation),
        }

    @staticmethod
    def from_mapping(values: dict[str, Any]) -> "Assignment":
        """The inverse of `to_mapping`."""
        counted = values["utilisation"]
        return Assignment(
            recipe_from_mapping(values["recipe"]),
            values["url"],
            values["device"],
            None if counted is None else Utilisation(**counted),
        )


def start(values: dict[str, Any]) -> None:
    """In a worker: do what is assigned. The driver names this, and needs not all that it takes."""
    from system.launch.worker import work  # with DeepSpeed

    work(values)
