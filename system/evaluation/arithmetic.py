"""Float32 without shortcuts, on a given number of threads, so that numbers can be compared."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_arithmetic(threads: int) -> Iterator[None]:
    """Within this block torch computes with `threads` threads, without TF32, and by algorithms that
    give the same bits each time; then as before."""
    count = torch.get_num_threads()
    chosen = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.set_num_threads(count)
        torch.backends.cuda.matmul.allow_tf32 = matmul
        torch.backends.cudnn.allow_tf32 = convolution
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = chosen
