"""The way of a private Ray is walked in tests/data_pipeline/pack/test_tasks.py."""

import sys

import pytest

from system.foundation.errors import ClusterError
from system.launch.any_ray import any_ray


def test_an_address_that_nobody_answers(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ClusterError, match="no Ray cluster answers at RAY_ADDRESS"), any_ray():
        pass


def test_a_private_one_comes_before_the_import(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", sys)
    with pytest.raises(AssertionError, match="before `ray` is imported"), any_ray():
        pass
