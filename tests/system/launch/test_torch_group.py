"""What workers do in their group is seen in `test_run`."""

import subprocess
import sys

from ray.train.torch import TorchConfig

from system.launch.torch_group import TorchGroup
from system.launch.torch_group import TorchGroupBackend

# What Ray's controller takes up of ours.
CONTROLLERS = (
    "system.launch.torch_group", "system.launch.failures", "system.launch.placement",
    "system.launch.ray_list", "system.launch.scaling", "system.evaluation.task",
)  # fmt: skip


def test_the_controller_imports_no_torch() -> None:
    script = f"import sys, {', '.join(CONTROLLERS)}; print('torch' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False
    )
    assert told.stdout.split() == ["False"], told.stderr


def test_it_says_what_rays_own_says() -> None:
    ours, rays = TorchGroup("gloo"), TorchConfig(backend="gloo")
    assert ours.train_func_context is rays.train_func_context
    assert ours.framework == rays.framework
    assert ours.timeout_s == rays.timeout_s
    assert (
        TorchGroupBackend.share_cuda_visible_devices == rays.backend_cls.share_cuda_visible_devices
    )
    assert ours.to_dict() == {"backend": "gloo", "timeout_s": 1800}
