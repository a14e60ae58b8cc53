"""The process group that DeepSpeed speaks over: the one that is there, or a world of one."""

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import redirect_stdout
from importlib import import_module

import deepspeed
import torch.distributed as dist
from deepspeed.accelerator import get_accelerator
from deepspeed.accelerator import set_accelerator
from deepspeed.accelerator.cpu_accelerator import CPU_Accelerator
from deepspeed.accelerator.cuda_accelerator import CUDA_Accelerator
from deepspeed.runtime import compiler

from system.foundation.errors import ClusterError
from system.foundation.world import World

ACCELERATORS = {"cpu": CPU_Accelerator, "cuda": CUDA_Accelerator}
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
SHARED_MEMORY_OP = "deepspeed_shm_comm"
# DeepSpeed asks of every optimiser whether it is this one.
MUON = "deepspeed.runtime.zero.muon.muon_optimizer"


def join(world: World) -> None:
    """Make torch.distributed and DeepSpeed ready for `world`. Cheap when they are already.

    Raises ClusterError where the process group at hand is not of the world's size.
    """
    kind = world.device.type
    if get_accelerator().device_name() != kind:
        set_accelerator(ACCELERATORS[kind]())
    # DeepSpeed computes on cuda:LOCAL_RANK and insists on the variable.
    os.environ["LOCAL_RANK"] = str(world.device.index or 0)
    # This op serves inference alone, and loading it means compiling it: half a minute, a compiler,
    # and workers that race for one build folder.
    deepspeed.ops.__compatible_ops__[SHARED_MEMORY_OP] = False
    _import_uncompiled(MUON)
    # DeepSpeed calls collectives by names that newer versions of torch are about to drop.
    warnings.filterwarnings("ignore", message="`torch.distributed", category=FutureWarning)
    if not dist.is_initialized():
        _found(world)
    if dist.get_world_size() != world.size or dist.get_rank() != world.rank:
        raise ClusterError(
            f"the process group has rank {dist.get_rank()} of {dist.get_world_size()} workers, "
            f"expected rank {world.rank} of {world.size}"
        )
    with quiet():
        deepspeed.init_distributed(BACKENDS[kind], auto_mpi_discovery=False, verbose=False)


def aside(world: World) -> dist.ProcessGroup | None:
    """A group of the same workers for what one thread of each says beside the updates, on the CPU.

    All workers must make it alike. None for a world of one.
    """
    if world.size == 1:
        return None
    made = dist.new_group(backend="gloo")
    assert isinstance(made, dist.ProcessGroup), "every worker is in it"
    return made


@contextmanager
def quiet() -> Iterator[None]:
    """Keep DeepSpeed's notes out of a run's output: some are logged, some simply printed."""
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    with redirect_stdout(io.StringIO()):
        yield


def _import_uncompiled(module: str) -> None:
    """Import a module of DeepSpeed's whose functions are compiled as they are defined (0.19.8).

    That would bring in all of torch's compiler, nearly two seconds of every worker's start, for
    functions that nobody calls.
    """
    compile_as_before = compiler.compile
    compiler.compile = lambda: compiler.dummy_decorator
    try:
        import_module(module)
    finally:
        compiler.compile = compile_as_before


def _found(world: World) -> None:
    if world.size > 1:
        raise ClusterError(
            f"no process group for {world.size} workers: whoever starts them (Ray, torchrun) makes "
            "it before the engine; a world of one needs none"
        )
    # A store inside the process: no port, no address, nothing to set in the environment.
    dist.init_process_group(
        BACKENDS[world.device.type], store=dist.HashStore(), rank=0, world_size=1
    )
