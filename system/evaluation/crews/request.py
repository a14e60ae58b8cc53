"""What to compute: which images, which detectors look at them; and the name of exactly that.

The key of a request is a digest of everything that decides a bit of the answer, and of nothing
else: not where things lie, not how the work is cut. Whatever has been computed under a key is good
for whoever asks the same again.
"""

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from typing import Any
from typing import Literal

import torch
from pydantic import model_validator

from system.evaluation import passes
from system.evaluation.detectors.choice import AnyDetector
from system.evaluation.detectors.detector import PASSES
from system.evaluation.passes import PASS
from system.evaluation.sources.any_source import AnySource
from system.foundation.settings.evaluation import InFlight
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

NO_BITS = {"batch", "batches_in_flight"}  # how work is cut and laid side by side
PLACES = {"url", "checkpoint", "weights"}  # where a thing lies is told apart from what it is


class FeatureRequest(Record):
    """What detectors make of the images of a source, and the images themselves if they are kept.

    `device` decides bits, so it is part of the key; `batch` and `batches_in_flight` do not. `batch`
    is rounded up to whole passes.
    """

    source: AnySource
    detectors: tuple[AnyDetector, ...] = ()
    keep_images: bool = False
    device: Literal["cpu", "cuda"] = "cpu"
    batch: PositiveInt = 256  # images per unit of work: what a worker that dies costs
    batches_in_flight: InFlight = 1  # passes of one unit that are drawn at once

    @model_validator(mode="after")
    def _asks_for_something(self) -> "FeatureRequest":
        names = [detector.name for detector in self.detectors]
        if len(set(names)) < len(names):
            raise ValueError(f"detectors are {names}; expected each name once")
        if not names and not self.keep_images:
            raise ValueError("found no detector and keep_images=False; expected one of the two")
        return self

    @property
    def count(self) -> int:
        """How many images there are."""
        return self.source.count

    @cached_property
    def key(self) -> str:
        """32 hexadecimal digits: the same for whoever asks for the same bits."""
        decides = {
            "passes": [PASS, PASSES[self.device], passes.VERSION],
            "torch": torch.__version__,
            "request": _without_places(self.model_dump(mode="json", exclude=NO_BITS)),
        }
        text = json.dumps(decides, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def units(self, finished: Iterable[range] = ()) -> list[range]:
        """The images that are in none of the finished units, as new ones of at most `batch`."""
        there = bytearray(-(-self.count // PASS))
        for unit in finished:
            for place in range(unit.start // PASS, -(-unit.stop // PASS)):
                there[place] = 1
        units: list[range] = []
        longest = -(-self.batch // PASS) * PASS
        for place, is_there in enumerate(there):
            start, stop = place * PASS, min((place + 1) * PASS, self.count)
            if is_there:
                continue
            if units and units[-1].stop == start and len(units[-1]) < longest:
                units[-1] = range(units[-1].start, stop)
            else:
                units.append(range(start, stop))
        return units


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_places(each)
            for key, each in value.items()
            if not (key in PLACES and isinstance(each, str))
        }
    if isinstance(value, list):
        return [_without_places(each) for each in value]
    return value
