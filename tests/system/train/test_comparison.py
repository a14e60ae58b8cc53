import json
from pathlib import Path

import pytest

from data_pipeline.manifest import Manifest
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import read_averaged
from system.telemetry.ledger import Ledger
from system.train.comparison import ARMS
from system.train.comparison import COLUMNS
from system.train.comparison import Comparison
from system.train.comparison import compare
from system.train.comparison import recipe_of
from system.train.comparison import spread
from system.train.comparison import train_arm


def test_arms_differ_in_the_posterior_and_the_route_alone() -> None:
    settings = Comparison()
    routes = {}
    for arm in ARMS:
        weights = ["autoencoder.weights=somewhere"] if arm.pretrained else []
        recipe = recipe_of(arm.variant, 1, settings, weights)
        routes[arm.title] = (recipe.objective.route, recipe.autoencoder.posterior.kind)
        same = recipe.model_dump(exclude={"autoencoder", "objective"})
        assert same["flow"] == recipe_of(None, 1, settings, []).flow.model_dump()
        assert recipe.run.seed == 1
        assert recipe.run.total_images == settings.total_images
    assert list(routes.values()) == [
        ("joint", "fixed"),
        ("joint", "learned"),
        ("frozen", "learned"),
    ]


def test_the_table_has_mean_and_deviation_over_seeds_of_runs_that_are_there(
    tmp_path: Path,
) -> None:
    settings = Comparison(root=str(tmp_path), shards="nowhere", seeds=(0, 1))
    names = ("fixed", "learned_variance", "frozen", "autoencoder_only")
    for seed in settings.seeds:
        for name in names:
            with Ledger(str(tmp_path / f"{name}-{seed}"), "worker-0", run=name, attempt=1) as book:
                values = dict.fromkeys(COLUMNS, 1.0 + 2 * seed)
                book.write("evaluation", images_seen=1, values=values)
                book.write("run_finished", images_seen=1, seconds=1.0)
    table = compare(settings).splitlines()
    assert len(table) == 2 + len(ARMS)
    assert table[2].count("2.000 ± 1.414") == len(COLUMNS)


def test_one_seed_has_no_deviation() -> None:
    assert spread([0.5]) == "0.500 ± 0.000"


@pytest.mark.slow
def test_a_frozen_flow_starts_from_the_autoencoder_that_was_trained_for_it(
    digits: Manifest, tmp_path: Path
) -> None:
    settings = Comparison(root=str(tmp_path), shards=digits.url, seeds=(3,), total_images=64)
    folders = [Path(train_arm(arm, 3, settings)) for arm in ARMS if arm.pretrained]
    assert [folder.name for folder in folders] == ["frozen-3"]
    weights = {}
    for name in ("frozen-3", "autoencoder_only-3"):
        newest = CheckpointStore(str(tmp_path / name / "checkpoints")).latest()
        assert newest is not None
        weights[name] = read_averaged(newest.url)[1]
    for name, weight in weights["frozen-3"].items():
        if name.startswith("autoencoder."):
            # The frozen part lies in the engine in bf16.
            assert (weight - weights["autoencoder_only-3"][name]).abs().max() <= (
                2**-8 * weight.abs().max()
            )
    [evaluation] = (tmp_path / "frozen-3" / "eval").iterdir()
    assert "evaluation/gfid" in json.loads(evaluation.read_text())["measurements"]
