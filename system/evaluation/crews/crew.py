"""Who computes units of work: here this process, alone. `ray_crew` has the other kind.

A crew gives each unit to one worker and stores what comes back. The bits of a unit are the same
whoever computes it: one thread, float32 without shortcuts, passes of a fixed size.
"""

import logging
from abc import ABC
from abc import abstractmethod
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.crews.request import FeatureRequest
from system.evaluation.crews.store import Kept
from system.evaluation.crews.store import UnitStore
from system.evaluation.detectors.choice import open_detector
from system.evaluation.detectors.detector import KINDS
from system.evaluation.sources.any_source import open_source
from system.foundation.errors import NumericsError

IMAGES = "images"

log = logging.getLogger(__name__)


def tell_nobody(images: int) -> None:
    """What is called for every finished unit, where nobody wants to know."""


class Crew(ABC):
    """One or many workers."""

    @abstractmethod
    def run(self, request: FeatureRequest, units: Sequence[range], store: UnitStore) -> None:
        """Compute these units into the store. Raises what a worker raised, unless trying again
        mends it."""


@dataclass(frozen=True, slots=True)
class AloneCrew(Crew):
    """This process, one unit after the other."""

    told: Callable[[int], None] = tell_nobody

    def run(self, request: FeatureRequest, units: Sequence[range], store: UnitStore) -> None:
        """Compute these units into the store. Raises what a unit raises."""
        if not units:
            return
        worker = Worker(request)
        for unit in units:
            watch_over(worker.work(unit, store), unit, store)
            self.told(len(unit))


class Worker:
    """One opened source before the opened detectors of a request."""

    def __init__(self, request: FeatureRequest) -> None:
        self.request = request
        self.source = open_source(request.source, request.device, request.batches_in_flight)
        self.detectors = [open_detector(each, request.device) for each in request.detectors]

    def work(self, unit: range, store: UnitStore) -> Kept:
        """Compute a unit and keep it."""
        return store.put(unit, self.compute(unit))

    def compute(self, unit: range) -> dict[str, Tensor]:
        """The arrays of a unit, by `array_name` and IMAGES.

        Raises NumericsError for images or features that are not finite: counted, never left out.
        """
        with exact_arithmetic(threads=1):
            image = self.source.images(unit)
            arrays = {IMAGES: image} if self.request.keep_images else {}
            for detector in self.detectors:
                seen = detector.look(image)
                for kind in KINDS:
                    values = getattr(seen, kind)
                    _check_finite(values, unit, f"{kind} of {detector.name}")
                    arrays[array_name(detector.name, kind)] = values
        return arrays


def watch_over(kept: Kept, unit: range, store: UnitStore) -> None:
    """Say as loudly as a log can where a unit had other bits the second time."""
    if kept == "other":
        log.error(
            "%s: images %d to %d were computed a second time with other bits. The first result is "
            "kept. A machine computes wrongly, or workers are not alike (processors, libraries): "
            "compute one unit on each of them and compare",
            store.place(unit),
            unit.start,
            unit.stop - 1,
        )


def array_name(detector: str, kind: str) -> str:
    """The name, in a unit, of what a detector makes of its images."""
    return f"{detector}/{kind}"


def _check_finite(values: Tensor, unit: range, what: str) -> None:
    broken = int((~values.isfinite()).any(dim=1).sum())
    if broken:
        raise NumericsError(
            f"{what} are not finite for {broken} of {len(unit)} images (numbers {unit.start} to "
            f"{unit.stop - 1}); expected none. The detector's weights are damaged or its input is"
        )
