"""What detectors make of many images: asked for once, kept in units, read in order.

    features = features_of(request, "runs/digits/eval/units", AloneCrew())
    for part in features.parts("digits-cnn", "features"): ...

The parts have a size of their own, so that whatever is summed over them has the same bits however
the work was cut.
"""

import logging
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import torch
from torch import Tensor

from system.evaluation.crews.crew import IMAGES
from system.evaluation.crews.crew import Crew
from system.evaluation.crews.crew import array_name
from system.evaluation.crews.request import FeatureRequest
from system.evaluation.crews.store import TRIES
from system.evaluation.crews.store import UnitStore
from system.evaluation.passes import PASS
from system.foundation import storage
from system.foundation.errors import DataError

PART = 1024  # rows of features in a part

log = logging.getLogger(__name__)


class Features:
    """All units of a request, whole: nothing of it in memory but what is being read.

    Units that are gone meanwhile are computed again by the crew: another program that measured the
    same in this folder was ready first, and has removed them.
    """

    def __init__(
        self, request: FeatureRequest, store: UnitStore, units: Sequence[range], crew: Crew
    ) -> None:
        self.request = request
        self.store = store
        self.crew = crew
        self._pieces = _cover(units, request.count)

    @property
    def count(self) -> int:
        """How many images there are."""
        return self.request.count

    def parts(self, detector: str, kind: str) -> Iterator[Tensor]:
        """Rows of a detector's `features`, `spatial` or `logits`, PART at a time, in order."""
        return _recut(self._read(array_name(detector, kind)), PART)

    def whole(self, detector: str, kind: str) -> Tensor:
        """All rows of a detector's `features`, `spatial` or `logits`: float32 N F."""
        return torch.cat([*self.parts(detector, kind)])

    def images(self) -> Iterator[Tensor]:
        """The images, uint8 N C H W, PASS at a time; the request has to keep them."""
        assert self.request.keep_images, "this request keeps no images"
        return _recut(self._read(IMAGES), PASS)

    def forget(self) -> None:
        """Remove the units, once what was wanted of them has been written."""
        self.store.forget()

    def _read(self, name: str) -> Iterator[Tensor]:
        for unit, wanted in self._pieces:
            arrays = self.store.get(unit)
            yield (self._again(unit) if arrays is None else arrays)[name][wanted]

    def _again(self, unit: range) -> dict[str, Tensor]:
        """A unit that is gone, computed again with all others that are."""
        for _ in range(TRIES):
            gone = [each for each, _ in self._pieces if self.store.get(each) is None]
            log.warning(
                "%d of %d units in %s are gone or damaged, and are computed again: another program "
                "that measures the same here has removed them",
                len(gone), len(self._pieces), self.store.url,
            )  # fmt: skip
            self.crew.run(self.request, gone, self.store)
            arrays = self.store.get(unit)
            if arrays is not None:
                return arrays
        raise DataError(
            f"{self.store.place(unit)} was sound and is gone or damaged, and was so again each of "
            f"{TRIES} times that it was computed. Do many programs share this folder, or is the "
            "disk failing?"
        )


def features_of(request: FeatureRequest, folder: str, crew: Crew) -> Features:
    """What a request asks for, out of what lies in `folder`; the crew computes what is missing.

    Raises what the crew raises. What was finished by then stays, and is not computed again.
    """
    store = _store(request, folder)
    finished = store.finished()
    missing = request.units(finished)
    if missing:
        crew.run(request, missing, store)
    return Features(request, store, [*finished, *missing], crew)


def forget(request: FeatureRequest, folder: str) -> None:
    """Remove whatever lies in `folder` of a request."""
    _store(request, folder).forget()


def _store(request: FeatureRequest, folder: str) -> UnitStore:
    """Where units lie, as every process of this machine understands it."""
    return UnitStore(storage.join(storage.absolute(folder), request.key))


def _cover(units: Iterable[range], count: int) -> list[tuple[range, slice]]:
    """Every image once, in order: units, and which of their rows. (Units of other cuts overlap.)"""
    pieces, done = [], 0
    for unit in sorted(units, key=lambda each: (each.start, -each.stop)):
        if unit.stop > done:
            assert unit.start <= done, f"no unit holds image {done}"
            pieces.append((unit, slice(done - unit.start, len(unit))))
            done = unit.stop
    assert done == count, f"units hold {done} images of {count}"
    return pieces


def _recut(pieces: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The same rows in parts of `size`, the last one shorter."""
    held: list[Tensor] = []
    for piece in pieces:
        while len(piece):
            room = size - sum(len(each) for each in held)
            held.append(piece[:room])
            piece = piece[room:]
            if len(held[-1]) == room:
                yield torch.cat(held)
                held = []
    if held:
        yield torch.cat(held)
