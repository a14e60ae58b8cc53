import pytest

from system.foundation.errors import RecipeError
from system.foundation.settings.engine import Engine
from system.launch.plan.answer import ROOT
from system.launch.plan.hardware import read_gpus

TABLE = ROOT / "configs" / "plan" / "gpus.yaml"


def test_every_kind_has_its_source_and_every_price_its_date() -> None:
    gpus = read_gpus(TABLE)
    comments = [line for line in TABLE.read_text("utf-8").splitlines() if "data sheet:" in line]
    assert len(comments) == len(gpus) >= 4
    assert all((each.price is None) == (each.priced is None) for each in gpus)


def test_kinds_come_in_the_order_asked_for() -> None:
    assert [each.name for each in read_gpus(TABLE, ("H200-141GB", "A100-80GB"))] == [
        "H200-141GB",
        "A100-80GB",
    ]


def test_an_unknown_kind_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(RecipeError, match=r"names H9000; .* has A100-80GB, H100-80GB"):
        read_gpus(TABLE, ("H9000",))


def test_the_peak_is_that_of_the_recipes_precision(make_recipe) -> None:
    (gpu,) = read_gpus(TABLE, ("H100-80GB",))
    assert gpu.peak(make_recipe()) == 989e12
    assert gpu.peak(make_recipe(engine=Engine(precision="fp32"))) == 67e12
    assert gpu.memory_bytes == 80e9


def test_every_kind_says_how_it_is_wired() -> None:
    for each in read_gpus(TABLE):
        links = each.links
        assert links.nodes(links.gpus_per_node + 1) == 2
        assert links.network_gb_s < links.node_gb_s
