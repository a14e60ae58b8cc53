from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from system.foundation.settings.objective import Teacher
from tests.system.alignment.teachers import write_teacher


@pytest.fixture
def make_teacher(tmp_path: Path) -> Callable[..., tuple[Teacher, torch.nn.Module]]:
    """A tiny timm model of random weights, and the settings that find them."""
    return partial(write_teacher, str(tmp_path / "teacher.safetensors"))
