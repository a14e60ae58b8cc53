"""What detectors make of many images: asked for once, kept in units, read in order.

    features = features_of(request, "runs/digits/eval/units", AloneCrew())
    for part in features.parts("digits-cnn", "features"): ...

The parts have a size of their own, so that whatever is summed over them has the same bits however
the work was cut.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import torch
from torch import Tensor

from system.evaluation.passes import PASS
from system.evaluation.work.crew import IMAGES
from system.evaluation.work.crew import Crew
from system.evaluation.work.crew import array_name
from system.evaluation.work.request import FeatureRequest
from system.evaluation.work.store import UnitStore
from system.foundation import storage
from system.foundation.errors import DataError

PART = 1024  # rows of features in a part


class Features:
    """All units of a request, whole: nothing of it in memory but what is being read."""

    def __init__(self, request: FeatureRequest, store: UnitStore, units: Sequence[range]) -> None:
        self.request = request
        self.store = store
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
            if arrays is None:
                raise DataError(
                    f"{self.store.place(unit)} was sound and is gone or damaged now; ask again, "
                    "and it is computed again. Do two programs share this folder?"
                )
            yield arrays[name][wanted]


def features_of(request: FeatureRequest, folder: str, crew: Crew) -> Features:
    """What a request asks for, out of what lies in `folder`; the crew computes what is missing.

    Raises what the crew raises. What was finished by then stays, and is not computed again.
    """
    store = _store(request, folder)
    finished = store.finished()
    missing = request.units(finished)
    if missing:
        crew.run(request, missing, store)
    return Features(request, store, [*finished, *missing])


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
