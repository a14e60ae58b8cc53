"""Several ways to draw from a checkpoint, each measured by the score that rules.

Ways that share a seed draw with the same noise and labels. A set with images that are not finite
has no score: how many of them there are is counted instead.
"""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass

from system.evaluation.protocol import Measurement
from system.evaluation.protocol import Protocol
from system.evaluation.ruling import ruling_score
from system.evaluation.scores.jackknife import Estimate
from system.evaluation.scores.jackknife import mean_of
from system.evaluation.sources.drawn import DrawnImages
from system.evaluation.sources.soundness import Soundness
from system.evaluation.studio import Studio
from system.evaluation.subject import read_subject
from system.evaluation.yardstick import AnySettings
from system.evaluation.yardstick import Yardstick
from system.evaluation.yardstick import yardstick_of
from system.foundation.errors import NumericsError
from system.foundation.recipe import Recipe

Told = Callable[[str], None]


def tell_nobody(line: str) -> None:
    """What hears of every way that is measured, where nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to draw, and the images that it draws."""

    settings: AnySettings
    source: DrawnImages
    name: str  # of what is measured
    protocol: Protocol

    def __str__(self) -> str:
        return (
            f"guidance {self.settings.guidance:g}, temperature {self.settings.temperature:g}, "
            f"averaging decay {self.protocol.averaging_decay:g}"
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a way to draw: parts of an estimate, or how many images are broken."""

    way: Way
    parts: Sequence[Estimate]
    broken: int = 0

    @property
    def estimate(self) -> Estimate:
        """The parts together."""
        return mean_of(self.parts)

    @property
    def measured(self) -> Measurement | None:
        """The number with its protocol, if there is one."""
        if self.broken:
            return None
        return Measurement(
            name=self.way.name,
            value=self.estimate.value,
            standard_error=self.estimate.standard_error,
            corrected=self.estimate.corrected,
            interval=self.estimate.interval,
            protocol=self.way.protocol,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A checkpoint before a yardstick."""

    checkpoint: str
    images_seen: int
    name: str
    yardstick: Yardstick
    studio: Studio
    told: Told

    @classmethod
    def of(
        cls,
        settings: AnySettings,
        recipe: Recipe,
        checkpoint: str,
        home: str,
        *,
        studio: Studio,
        told: Told,
    ) -> "Trial":
        """Read what all ways to draw share. Raises BadInput where it does not fit."""
        subject, name = read_subject(checkpoint), ruling_score(settings.kind)
        recipe = recipe.model_copy(update={"evaluation": settings})
        yardstick = yardstick_of(subject, recipe, home, checkpoint=checkpoint, studio=studio)
        return cls(checkpoint, subject.images_seen, name, yardstick, studio, told)

    def ways(self, decay: float | None, wanted: Sequence[AnySettings], count: int) -> list[Way]:
        """How to draw from the weights averaged by a decay."""
        subject, made = read_subject(self.checkpoint, decay=decay), []
        for settings in wanted:
            source = self.yardstick.drawn(subject, settings, count)
            protocol = self.yardstick.protocol(subject, source)
            made.append(Way(settings, source, self.name, protocol))
        return made

    def results(self, ways: Sequence[Way]) -> list[Result]:
        """Draw and measure each."""
        found = []
        for place, way in enumerate(ways, start=1):
            one = self._result(way)
            said = f"{one.broken} of {way.source.count} images are not finite"
            if not one.broken:
                said = f"{one.estimate.corrected:.5g} ± {one.estimate.standard_error:.2g}"
            self.told(f"{place} of {len(ways)}: {way}, seed {way.settings.seed}: {said}")
            found.append(one)
        return found

    def _result(self, way: Way) -> Result:
        try:
            features = self.studio.look(way.source, self.yardstick.choice)
        except NumericsError:
            flags = self.studio.look(Soundness(drawn=way.source)).images()
            broken = sum(int(part.sum()) for part in flags)
            if not broken:  # sound images, of which the detector makes none: another's fault
                raise
            return Result(way, (), broken)
        return Result(way, self.yardstick.estimates(features))
