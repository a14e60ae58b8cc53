"""What a device can do at most, measured: products of matrices, and the clock that ends with it.

A share of it (model FLOPs utilisation, MFU) says more of code than a share of a data sheet does:
clocks, power limits and other programs on the machine lower both alike.
"""

import time
from collections.abc import Callable

import torch

SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192, 16384)}  # of square matrices
ROUNDS = 8


def measured_ceiling(dtype: torch.dtype, device: torch.device, rounds: int = ROUNDS) -> float:
    """Operations a second, two for a multiply-add, of the fastest product of two matrices."""
    return max(_rate(side, dtype, device, rounds) for side in SIDES[device.type])


def elapsed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until work is done, on the device too."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _rate(side: int, dtype: torch.dtype, device: torch.device, rounds: int) -> float:
    left = torch.randn(side, side, dtype=dtype, device=device)
    right, out = torch.randn_like(left), torch.empty_like(left)
    times = [elapsed(lambda: torch.mm(left, right, out=out), device) for _ in range(rounds + 1)]
    return 2 * side**3 / min(times[1:])  # the first one chooses a kernel


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
