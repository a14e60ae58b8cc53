import os
from pathlib import Path
from pickle import UnpicklingError

import pytest
import torch

from system.engine.safe_loading import SWITCH
from system.engine.safe_loading import loading_only_tensors


class Anything:
    """A class that no checkpoint of ours holds."""


def test_tensors_load_and_objects_do_not(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "tensors.pt")
    torch.save({"weight": Anything()}, tmp_path / "object.pt")
    with loading_only_tensors():
        loaded = torch.load(tmp_path / "tensors.pt", weights_only=False)
        with pytest.raises(UnpicklingError):
            torch.load(tmp_path / "object.pt", weights_only=False)
    assert loaded["weight"].tolist() == [1, 1]


@pytest.mark.parametrize("before", [None, "0"])
def test_the_process_is_left_as_it_was(monkeypatch, before: str | None) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    if before is not None:
        monkeypatch.setenv(SWITCH, before)
    with loading_only_tensors():
        assert os.environ[SWITCH] == "1"
    assert os.environ.get(SWITCH) == before
