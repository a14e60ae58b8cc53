"""Where an evaluation has images looked at: its crew, and the folder that keeps finished units.

A killed evaluation finds its finished units again. Once its result is written they are removed.
"""

from dataclasses import dataclass
from dataclasses import field
from typing import Literal

from system.evaluation.crews.crew import Crew
from system.evaluation.crews.features import Features
from system.evaluation.crews.features import features_of
from system.evaluation.crews.features import forget
from system.evaluation.crews.request import FeatureRequest
from system.evaluation.detectors.choice import AnyDetector
from system.evaluation.sources.any_source import AnySource
from system.foundation import storage

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True, eq=False)
class Studio:
    """A crew and a folder, for the requests of one evaluation."""

    crew: Crew
    folder: str
    device: Device = "cpu"
    batch: int = 256
    batches_in_flight: int = 1
    asked: list[FeatureRequest] = field(default_factory=list)

    def look(self, source: AnySource, *detectors: AnyDetector) -> Features:
        """What detectors make of the images of a source; without any, the images themselves.

        Raises what the crew raises.
        """
        request = FeatureRequest(
            source=source,
            detectors=detectors,
            keep_images=not detectors,
            device=self.device,
            batch=self.batch,
            batches_in_flight=self.batches_in_flight,
        )
        self.asked.append(request)
        return features_of(request, self.folder, self.crew)

    def clear(self) -> None:
        """Remove the units of everything that was asked for, once its result is written."""
        for request in self.asked:
            forget(request, self.folder)
        self.asked.clear()
        if storage.exists(self.folder) and not storage.list_names(self.folder):
            storage.remove(self.folder)


def units_folder(run_folder: str) -> str:
    """Where a run's folder has units of work."""
    return storage.join(run_folder, "eval", "units")
