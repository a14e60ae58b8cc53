"""Ray Train's process group of torch, without torch in the process that arranges it.

Ray's own `TorchConfig` says the same and does the same in the workers, but whoever holds it has
imported torch: the controller too, which never computes. That import stands between the driver and
the workers, 1.5 s of every start. It is written for the Ray of `elastic.KNOWN_RAY`, whose private
functions prepare the workers.

The store where they meet listens at the first worker's own address alone, where Ray's listens on
every interface of its machine; whoever reaches a store can write to it.
"""

import errno
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from typing import Any

import ray
from ray._private.ray_constants import env_integer
from ray.exceptions import GetTimeoutError
from ray.train.backend import Backend
from ray.train.backend import BackendConfig
from ray.train.constants import DEFAULT_TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S
from ray.train.constants import TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S
from ray.train.v2._internal.util import TrainingFramework

if TYPE_CHECKING:
    from torch.distributed import TCPStore

# What NCCL does about a failed collective. As Ray has it, the first is 1: the process ends.
NCCL_ON_ERRORS = ("TORCH_NCCL_ASYNC_ERROR_HANDLING", "TORCH_NCCL_BLOCKING_WAIT")

log = logging.getLogger(__name__)

_listening: list[socket.socket] = []  # in the first worker, until its store takes it over


@dataclass
class TorchGroup(BackendConfig):
    """All workers in one process group of torch."""

    backend: str  # of torch.distributed: gloo or nccl
    timeout_s: int = 1800  # of one of its collectives

    @property
    def backend_cls(self) -> type[Backend]:
        """What starts the group."""
        return TorchGroupBackend

    @property
    def train_func_context(self) -> Any:
        """What the training function runs in, in a worker: its GPU is the current one."""
        from ray.train.torch.config import TorchConfigContextManager  # with torch

        return TorchConfigContextManager

    @property
    def framework(self) -> TrainingFramework:
        """What Ray's own pages call such a run."""
        return TrainingFramework.TORCH

    def to_dict(self) -> dict[str, Any]:
        """What Ray's own pages show."""
        return asdict(self)


class TorchGroupBackend(Backend):
    """Tells the workers where to meet, and to part."""

    # Workers of a node see each other's GPUs, as NCCL needs.
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: TorchGroup) -> None:
        """Return when all workers have joined."""
        place = worker_group.execute_single(0, listen)
        size = len(worker_group)
        joining = [
            worker_group.execute_single_async(
                rank, join, backend_config.backend, rank, size, place, backend_config.timeout_s
            )
            for rank in range(size)
        ]
        ray.get(joining)

    def on_shutdown(self, worker_group: Any, backend_config: TorchGroup) -> None:
        """Return when all workers have left, or after a while."""
        leaving = worker_group.execute_async(leave, is_alone=len(worker_group) == 1)
        timeout_s = env_integer(
            TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S, DEFAULT_TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S
        )
        try:
            ray.get(leaving, timeout=timeout_s)
        except GetTimeoutError:
            log.warning("the process group was not left within %d s", timeout_s)


def listen() -> tuple[str, int]:
    """In the first worker: the address and port where the others find it, from now on."""
    address = ray.util.get_node_ip_address()
    # All others may knock before this one has imported torch and lets them in.
    how: dict[str, Any] = {
        "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
        "backlog": socket.SOMAXCONN,
    }
    try:
        listener = socket.create_server((address, 0), **how)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        # The others reach it under an address that it does not have itself, as behind NAT.
        listener = socket.create_server(("", 0), **how)
    _listening.append(listener)
    return address, listener.getsockname()[1]


def store_at(place: tuple[str, int], rank: int, timeout_s: int) -> "TCPStore":
    """In a worker: the store that all of them share there."""
    from torch.distributed import TCPStore

    return TCPStore(
        *place,
        is_master=rank == 0,
        timeout=timedelta(seconds=timeout_s),
        wait_for_workers=False,
        master_listen_fd=_listening.pop().detach() if rank == 0 else None,
    )


def nccl_settings(backend: str, known: Mapping[str, str]) -> dict[str, str]:
    """What NCCL is told by the environment; a choice of the user's stays."""
    if "nccl" not in backend or any(name in known for name in NCCL_ON_ERRORS):
        return {}
    return {NCCL_ON_ERRORS[0]: "1"}


def join(backend: str, rank: int, size: int, place: tuple[str, int], timeout_s: int) -> None:
    """In a worker: meet the others there."""
    from ray.train.torch import config  # with torch
    from torch import distributed

    os.environ |= {"MASTER_ADDR": place[0], "MASTER_PORT": str(place[1])}
    config._set_torch_distributed_env_vars()
    os.environ |= nccl_settings(backend, os.environ)
    distributed.init_process_group(
        backend,
        store=store_at(place, rank, timeout_s),
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout_s),
    )


def leave(*, is_alone: bool) -> None:
    """In a worker: let go of the group, and of memory on its GPU."""
    from ray.train.torch import config  # with torch

    config._shutdown_torch(destroy_process_group=not is_alone)
