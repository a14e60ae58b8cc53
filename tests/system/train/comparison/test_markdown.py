import pytest

from system.train.comparison.markdown import Table
from system.train.comparison.markdown import footer
from system.train.comparison.markdown import spread
from system.train.comparison.request import Comparison
from system.train.comparison.runs import Finished


def test_a_table_is_markdown() -> None:
    table = Table(("a", "b"), (("1", "2"), ("3", "4")))
    assert str(table).splitlines() == ["| a | b |", "| --- | --- |", "| 1 | 2 |", "| 3 | 4 |"]
    with pytest.raises(AssertionError):
        str(Table(("a", "b"), (("1",),)))


def test_seeds_give_mean_and_standard_deviation_and_one_seed_its_value() -> None:
    assert spread([1.0, 3.0]) == "2.000 ± 1.414"
    assert spread([1.0, 3.0], digits=1) == "2.0 ± 1.4"
    assert spread([0.5]) == "0.500"


def test_the_footer_counts_every_run_once_and_what_it_started_from(
    joint_run: Finished, frozen_run: Finished
) -> None:
    text = footer(Comparison(seeds=(3,)), [joint_run, frozen_run, joint_run], "the command")
    assert text.startswith("Command: `the command`")
    assert "Seeds 3 (one seed); 64 images a run in batches of 32." in text
    assert frozen_run.before is not None
    mean = (joint_run.seconds + frozen_run.seconds + frozen_run.before.seconds) / 3
    assert "3 runs" in text
    assert f"mean {mean:.0f} s" in text
