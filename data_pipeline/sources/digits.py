"""The handwritten digits bundled with scikit-learn, as a source."""

from functools import cached_property
from typing import Any
from typing import Literal

import numpy as np

from data_pipeline.images.decode import encode_png
from data_pipeline.sources.entry import Entry
from data_pipeline.sources.entry import Source
from system.foundation.settings.record import Record


class Digits(Record):
    """The 1,797 handwritten digits bundled with scikit-learn: 8x8, grey, real scans."""

    kind: Literal["digits"] = "digits"


class DigitsReader:
    """Digits as lossless grey PNGs; a place is the number of the scan."""

    concurrency = 1

    @cached_property
    def scans(self) -> Any:
        """Images, targets and class names."""
        from sklearn.datasets import load_digits  # seconds to import; only these images need it

        return load_digits()

    def read(self, entry: Entry) -> bytes:
        """The PNG of an entry."""
        return self.png(int(entry.place[0]))

    def where(self, entry: Entry) -> str:
        """The number of the scan."""
        return f"scan {entry.place[0]}"

    def png(self, index: int) -> bytes:
        """The PNG of a scan, whose 17 levels are spread over 256."""
        value = np.rint(self.scans.images[index] * (255 / 16)).astype(np.uint8)
        return encode_png(value[:, :, None])


def open_digits() -> Source:
    """All digits, `digits-0000` and on, in the order of scikit-learn."""
    reader = DigitsReader()
    entries = tuple(
        Entry(f"digits-{index:04d}", int(label), "png", len(reader.png(index)), place=(index,))
        for index, label in enumerate(reader.scans.target)
    )
    names = tuple(str(name) for name in reader.scans.target_names)
    return Source(names, entries, (), reader)
