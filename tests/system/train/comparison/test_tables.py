import json
from itertools import product
from pathlib import Path

import pytest

from system.alignment.training import TeacherTraining
from system.alignment.training import train_teacher
from system.engine.checkpoints import name_of
from system.engine.checkpoints import upload
from system.foundation.errors import BadInput
from system.foundation.recipe import Recipe
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.comparison import tables
from system.train.comparison.arms import Arm
from system.train.comparison.arms import alignment_arms
from system.train.comparison.arms import spread_arms
from system.train.comparison.markdown import spread
from system.train.comparison.measured import latents_of
from system.train.comparison.request import Comparison
from system.train.comparison.runs import Finished
from system.train.comparison.runs import finished_run
from system.train.comparison.runs import recipe_of
from system.train.comparison.tables import ALIGNED
from system.train.comparison.tables import CHANGES
from system.train.comparison.tables import QUALITY
from system.train.comparison.tables import command_of
from system.train.comparison.tables import compare
from system.train.comparison.tables import samplers


def rows_of(text: str) -> dict[str, list[str]]:
    """Cells of the first table, by the first of each row."""
    lines = text.split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def invent(root: Path, recipe: Recipe, values: dict[str, float]) -> None:
    """A finished run with these numbers, which nobody trained."""
    folder = root / recipe.run.name
    with Ledger(str(folder), "worker-0", run=recipe.run.name, attempt=1) as ledger:
        report = {"latent/mean_std": 3.0, "latent/posterior_std": 4.0}
        ledger.write("report", images_seen=1, values=report)
        ledger.write("evaluation", images_seen=1, values=values)
        ledger.write("run_finished", images_seen=1, seconds=30.0)
    local = root / "local"
    local.mkdir(exist_ok=True)
    state = {"images_seen": 1, "recipe": recipe.model_dump(mode="json")}
    (local / "state.json").write_text(json.dumps(state))
    upload(local, str(folder / "checkpoints" / name_of(1, 1)), 0, 1)


def invent_arm(request: Comparison, arm: Arm, seed: int, values: dict[str, float]) -> None:
    """A finished run of an arm, and what it would have started from."""
    overrides, root = [], Path(request.root)
    if arm.pretrained:
        recipe = recipe_of(arm.pretrained, seed, request, [])
        invent(root, recipe, {})
        weights = f"autoencoder.weights={root / recipe.run.name}"
        overrides = [weights, "autoencoder.latent_scale=0.2"]
    invent(root, recipe_of(arm, seed, request, overrides), values)


def test_table_a_has_mean_and_deviation_over_seeds_of_every_arm(tmp_path: Path) -> None:
    request = Comparison(root=str(tmp_path), seeds=(0, 1))
    for seed, arm in product(request.seeds, spread_arms()):
        invent_arm(request, arm, seed, dict.fromkeys(QUALITY, 1.0 + 2 * seed))
    text = compare(request)
    rows = rows_of(text)
    assert len(rows) == 2 + 20
    assert rows["end to end, spread 0.5"] == ["2.000 ± 1.414"] * len(QUALITY)
    assert "16.97" in text  # the paper's, beside ours
    assert "52 runs, 30 to 30 s each" in text


def test_table_a_holds_what_its_runs_measured_and_is_written(
    joint_run: Finished, frozen_run: Finished, request_of: Comparison, tmp_path: Path
) -> None:
    request = request_of.model_copy(
        update={"arms": ("joint-0.5", "frozen-0.5"), "out": str(tmp_path / "a.md")}
    )
    text = compare(request)
    rows = rows_of(text)
    for title, run in (
        ("end to end, spread 0.5", joint_run),
        ("frozen autoencoder, spread 0.5", frozen_run),
    ):
        assert rows[title] == [spread([run.values[name]]) for name in QUALITY]
    assert (tmp_path / "a.md").read_text() == text + "\n"


def test_table_c_sets_formulas_beside_each_other_and_names_what_is_not_finite(
    joint_run: Finished, request_of: Comparison
) -> None:
    place = Path(joint_run.folder) / "eval" / "drawn.json"
    kept = {}
    for number, (name, sampler) in enumerate(samplers().items()):
        values = {
            "evaluation/gfid": float(number),
            "evaluation/sfid": 1.0,
            "evaluation/conditional_accuracy": 0.5,
        }
        if name == "linear, scale and shift, all, 4":
            values = dict.fromkeys(values, float("nan"))
        kept[name] = {"sampler": sampler.model_dump(mode="json"), "values": values}
    place.write_text(json.dumps(kept))
    rows = rows_of(compare(request_of.model_copy(update={"table": "c"})))
    place.unlink()
    assert len(rows) == 2 + 1 + 2 * 5
    assert rows["none"][0] == "0.00 / 0.50"
    changed = [f"{number}.00 (+{number}.00) / 0.50" for number in range(1, 6)]
    assert rows["starflow, deep block"] == changed
    assert rows["linear, scale and shift, all blocks"][-1] == "not finite (1 of 1)"


def test_the_samplers_of_table_c_are_what_their_names_say() -> None:
    ways = samplers()
    assert ways["none"].guidance == 0
    one = ways["linear, shift alone, all, 2"]
    assert (one.guidance, one.guidance_rule) == (2.0, "linear")
    assert (one.guidance_parts, one.guidance_blocks) == ("b", "all")
    assert len({way.model_dump_json() for way in ways.values()}) == len(ways) == 51


def test_tables_d_and_e_hold_what_the_latents_of_their_runs_gave(
    joint_run: Finished, frozen_run: Finished, request_of: Comparison
) -> None:
    arms = {"arms": ("joint-0.5", "autoencoder-0.5")}
    values = latents_of(joint_run)
    d = rows_of(compare(request_of.model_copy(update={"table": "d", **arms})))
    variation, std = values["evaluation/total_variation"], values["evaluation/latent_std"]
    values |= {tables.RELATIVE: variation / std}
    assert d["end to end, spread 0.5"] == [spread([values[name]]) for name in tables.STATISTICS]
    assert d["white noise of the same shape"][-1] == "1.002"
    assert len(d) == 2 + 3
    e = rows_of(compare(request_of.model_copy(update={"table": "e", **arms})))
    rfid, psnr = values["evaluation/rfid_noise_050"], values["evaluation/psnr_noise_050_db"]
    assert e["end to end, spread 0.5"][2] == f"{rfid:.3f} / {psnr:.3f}"
    assert list(e["latents of"]) == [f"noise {level:g}" for level in (0, 0.25, 0.5, 0.75, 1)]


def test_table_b_aligns_with_the_teacher_and_holds_what_its_runs_measured(
    frozen_run: Finished, request_of: Comparison, tmp_path: Path
) -> None:
    training = TeacherTraining(
        shards=request_of.shards_url,
        out=str(tmp_path / "teacher.safetensors"),
        width=16,
        depth=1,
        epochs=1,
    )
    changes = {"teacher": train_teacher(training).overlay, "arms": ("frozen-0.5", "reverse-late")}
    request = request_of.model_copy(update={"table": "b", **changes})
    rows = rows_of(compare(request))
    assert rows["none"] == [
        *(spread([frozen_run.values[name]]) for name in ALIGNED),
        *(["0.000"] * len(CHANGES)),
    ]
    run = finished_run(alignment_arms(request.teacher)[-2], 3, request)
    title = "reverse, straight through, late block (noise side)"
    assert rows[title] == [
        *(spread([run.values[name]]) for name in ALIGNED),
        *(spread([run.values[name] - frozen_run.values[name]]) for name in CHANGES),
    ]
    [report] = [one["values"] for one in read_ledger(run.folder) if one["kind"] == "report"]
    assert -1 <= report["alignment/cosine"] <= 1


def test_changes_of_table_b_are_taken_seed_by_seed(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.yaml"
    teacher.write_text("objective: {alignment: {teacher: {weights: there, width: 8}}}")
    root = str(tmp_path / "runs")
    request = Comparison(table="b", root=root, seeds=(0, 1), teacher=str(teacher))
    none, first, *_ = alignment_arms(request.teacher)
    for arm, share in ((none, 1.0), (first, 0.9)):
        for seed, value in ((0, 10.0), (1, 20.0)):
            invent_arm(request, arm, seed, dict.fromkeys(ALIGNED, share * value))
    arms = {"arms": (none.name, first.name)}
    rows = rows_of(compare(request.model_copy(update=arms)))
    assert rows[none.title][-len(CHANGES) :] == ["0.000 ± 0.000"] * len(CHANGES)
    assert rows[first.title][-len(CHANGES) :] == ["-1.500 ± 0.707"] * len(CHANGES)


def test_table_b_asks_for_a_teacher() -> None:
    with pytest.raises(BadInput, match=r"teacher=FILE.yaml.*train_teacher"):
        compare(Comparison(table="b"))


def test_the_command_is_the_one_to_give_again() -> None:
    request = Comparison(table="c", seeds=(1, 2), root="elsewhere", arms=("joint-*",))
    assert command_of(request) == (
        "python jobs/compare_methods.py table=c seeds=[1,2] arms=[joint-*]"
    )
