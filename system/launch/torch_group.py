"""Ray Train's process group of torch, without torch in the process that arranges it.

Ray's own `TorchConfig` says the same and does the same in the workers, but whoever holds it has
imported torch: the controller too, which never computes. That import stands between the driver and
the workers, 1.5 s of every start. It is written for the Ray of `elastic.KNOWN_RAY`, whose private
functions do the work in the workers.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import ray
from ray._private.ray_constants import env_integer
from ray.exceptions import GetTimeoutError
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend
from ray.train.backend import BackendConfig
from ray.train.constants import DEFAULT_TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S
from ray.train.constants import TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S
from ray.train.v2._internal.util import TrainingFramework

log = logging.getLogger(__name__)


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
        address, port = worker_group.execute_single(0, get_address_and_port)
        place = {"MASTER_ADDR": address, "MASTER_PORT": str(port)}
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


def join(backend: str, rank: int, size: int, place: Mapping[str, str], timeout_s: int) -> None:
    """In a worker: meet the others there."""
    from ray.train.torch import config  # with torch

    os.environ.update(place)
    config._set_torch_distributed_env_vars()
    config._setup_torch_process_group(backend, rank, size, "env://", timeout_s)


def leave(*, is_alone: bool) -> None:
    """In a worker: let go of the group, and of memory on its GPU."""
    from ray.train.torch import config  # with torch

    config._shutdown_torch(destroy_process_group=not is_alone)
