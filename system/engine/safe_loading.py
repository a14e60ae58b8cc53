"""Reading DeepSpeed's files without running what they may hold: a pickle can be a program.

DeepSpeed reads its checkpoints with an unrestricted `torch.load` (0.19.8). Within this context
torch unpickles tensors, plain containers and the few classes named here, and refuses the rest.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from deepspeed.runtime.fp16.loss_scaler import LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils import fragment_address
from torch.serialization import safe_globals

HARMLESS = [LossScaler, ZeroStageEnum, fragment_address]
SWITCH = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


@contextmanager
def loading_only_tensors() -> Iterator[None]:
    """Within, every `torch.load` of this process is a restricted one."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "1"
    try:
        with safe_globals(HARMLESS):
            yield
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before
