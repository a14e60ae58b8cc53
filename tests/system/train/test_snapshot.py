"""What a run's snapshot writes is what the state was, and the run may go on meanwhile."""

from pathlib import Path

import pytest
import torch

from data_pipeline.shards.manifest import read_manifest
from system.engine.checkpoints import AVERAGED
from system.engine.checkpoints import STATE
from system.engine.checkpoints import further_average
from system.engine.checkpoints import read_state
from system.foundation.world import World
from system.train.assemble import assemble
from system.train.loop import open_training_stream
from system.train.update import update
from tests.system.train.trials import CRITIC
from tests.system.train.trials import _ledger


def test_an_update_after_it_is_not_in_it(recipe, tmp_path: Path) -> None:
    made = recipe(
        engine={"zero_stage": 2, "precision": "bf16", "further_decays": [0.5]},
        objective={"adversarial": CRITIC | {"start_images": 0}},
    )
    manifest = read_manifest(made.data.shards)
    state = assemble(made, World(), manifest)
    with _ledger(state.world, made) as ledger:
        stream = open_training_stream(state, ledger)
        update(state, stream)
        seen = state.progress.images_seen
        expected = state.engine.weights() | state.critic.weights()
        averages = [state.engine.averaged(which) for which in (0, 1)]
        snapshot = state.hold()
        update(state, stream)
        snapshot.write(tmp_path / "saved")
    assert read_state(str(tmp_path / "saved"))["images_seen"] == seen
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert names == {"engine", "critic", AVERAGED, further_average(0.5), STATE}
    with pytest.raises(RuntimeError, match="written already"):
        snapshot.write(tmp_path / "again")
    other = assemble(made, World(), manifest)
    other.restore(tmp_path / "saved")
    found = other.engine.weights() | other.critic.weights()
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    for which, average in enumerate(averages):
        again = other.engine.averaged(which)
        assert all(torch.equal(again[name], weight) for name, weight in average.items())
    state.close()
    other.close()
