import subprocess
import sys

import pytest
import torch.distributed as dist

from system.engine import process_group
from system.foundation.errors import ClusterError
from system.foundation.world import World

SCRIPT = """
from system.engine import process_group
from system.foundation.world import World
import torch.distributed as dist
process_group.join(World())
print(dist.get_world_size(), dist.get_backend())
process_group.join(World())
try:
    process_group.join(World(0, 2))
except Exception as error:
    print(type(error).__name__)
dist.destroy_process_group()
try:
    process_group.join(World(0, 2))
except Exception as error:
    print(type(error).__name__, "whoever starts them" in str(error))
"""


ENGINE = """
import sys
from torch import nn
from system.engine.deepspeed_engine import Engine
from system.foundation.settings import engine
from system.foundation.world import World
Engine(nn.Linear(2, 2), engine.Engine(), world=World(), micro_batch=1, accumulation=1)
print("torch._inductor.compile_fx" in sys.modules, "torch._dynamo" in sys.modules)
"""


def said_by(script: str) -> str:
    """What a fresh interpreter prints in which nothing is set and no compiler found."""
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={"PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not told.returncode, told.stderr
    return told.stdout


def test_a_world_of_one_needs_no_environment_and_no_compiler() -> None:
    assert said_by(SCRIPT).splitlines() == ["1 gloo", "ClusterError", "ClusterError True"]


def test_an_engine_starts_without_torchs_compiler() -> None:
    assert said_by(ENGINE).split() == ["False", "True"]


def test_a_group_of_another_size_is_refused() -> None:
    process_group.join(World())
    assert dist.get_world_size() == 1
    with pytest.raises(ClusterError, match="expected rank 1 of 4"):
        process_group.join(World(1, 4))
