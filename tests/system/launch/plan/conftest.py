from collections.abc import Callable

import pytest

from system.foundation.settings.run import Cluster
from system.launch.plan.answer import ROOT
from system.launch.plan.forecast import Plan
from system.launch.plan.forecast import plan
from system.launch.plan.hardware import read_gpus
from system.launch.plan.request import Planning


@pytest.fixture
def planned(make_recipe) -> Callable[..., Plan]:
    """The plan of a tiny recipe for four workers: `plan` keys, and sections of the recipe."""

    def make(keys: dict[str, object] | None = None, **sections: object) -> Plan:
        asked = Planning.model_validate({"gpus": ("H100-80GB",)} | (keys or {}))
        given = {"cluster": Cluster(workers=4, micro_batch=2)} | sections
        gpus = read_gpus(ROOT / asked.prices, asked.gpus)
        return plan(make_recipe(**given), asked, gpus)

    return make
