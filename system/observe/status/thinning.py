"""Fewer points of a line that look the same: of each bucket its lowest and its highest."""

import math
from collections.abc import Sequence

import numpy as np

from system.observe.report.chart import Point


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` (four or more) of the points, in order, the first and the last among them.

    No peak or dip of a single point is lost, which a choice of every n-th point would do. Points
    that are not finite are left out: no axis has a place for them.
    """
    assert most >= 4, most
    finite = [each for each in points if math.isfinite(each.value) and math.isfinite(each.at)]
    if len(finite) <= most:
        return finite
    values = np.array([each.value for each in finite[1:-1]])
    chosen = {0, len(finite) - 1}
    for part in np.array_split(np.arange(len(values)), (most - 2) // 2):
        chosen.add(1 + int(part[values[part].argmin()]))
        chosen.add(1 + int(part[values[part].argmax()]))
    return [finite[place] for place in sorted(chosen)]
