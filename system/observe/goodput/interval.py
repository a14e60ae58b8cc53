"""The best time between checkpoints, and the goodput that it gives, in closed form.

For failures that come at random with mean time M. With L the length of a cycle, τ of training and
a save, a life that lasts X commits ⌊(X - r - u)/L⌋ checkpoints: it starts up for r, and a commit
comes an upload u after its save. Over many lives of mean length M, each followed by the detection
d, the kept training is

    τ E⌊(X - r - u)/L⌋⁺ / (M + d)  =  τ exp(-(r + u)/M) / ((exp(L/M) - 1) (M + d)),

exact for a run without end. For u = 0 this is Daly's complete model. Its maximum over τ does not
depend on r, u, d: exp((τ + s)/M) (1 - τ/M) = 1, which Lambert's W solves. For s ≪ M it is Young's
√(2 s M).

Source: Young 1974; Daly 2006, "A higher order estimate of the optimum checkpoint interval for
restart dumps", equations 20 and 37.
"""

import math

from scipy.special import lambertw

from system.observe.goodput.costs import Costs


def young_s(stall_s: float, failure_s: float) -> float:
    """Young's first-order interval."""
    return math.sqrt(2 * stall_s * failure_s)


def daly_s(stall_s: float, failure_s: float) -> float:
    """Daly's higher-order interval."""
    if stall_s >= 2 * failure_s:
        return failure_s
    half = stall_s / (2 * failure_s)
    return young_s(stall_s, failure_s) * (1 + math.sqrt(half) / 3 + half / 9) - stall_s


def best_s(costs: Costs, failure_s: float) -> float:
    """The interval of the greatest expected goodput; no shorter than an upload takes, since a save
    waits for the upload before it."""
    ratio = costs.stall_s / failure_s
    best = young_s(costs.stall_s, failure_s)
    if ratio > 1e-10:  # nearer to its branch point W has no digits left
        best = failure_s * (1 + lambertw(-math.exp(-1 - ratio)).real)
    return max(float(best), costs.upload_s - costs.stall_s, 1e-3)


def cycle_s(costs: Costs, interval_s: float) -> float:
    """From one save to the next: training, the stall, and the wait for an upload that is slower."""
    return max(interval_s + costs.stall_s, costs.upload_s)


def expected_goodput(costs: Costs, interval_s: float, failure_s: float) -> float:
    """The share of the wall time that is productive, of a run without end."""
    kept = math.exp(-(costs.start_up_s + costs.upload_s) / failure_s)
    lost = math.expm1(cycle_s(costs, interval_s) / failure_s) * (failure_s + costs.detection_s)
    return (1 - costs.data_wait_share) * interval_s * kept / lost
