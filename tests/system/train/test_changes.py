import pytest

from system.foundation.settings.autoencoder import LearnedPosterior
from system.foundation.settings.data import Selection
from system.train.changes import ALLOWABLE
from system.train.changes import frozen_changes


def test_what_a_run_may_change_is_not_listed(recipe) -> None:
    before = recipe()
    longer = before.run.model_copy(update={"total_images": 128})
    assert frozen_changes(before, before.model_copy(update={"run": longer})) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("window_shards", 3), ("crop", "adm"), ("flip", True)],
)
def test_what_changes_the_stream_of_images_is_listed(recipe, key, value) -> None:
    before = recipe()
    data = before.data.model_copy(update={key: value})
    (line,) = frozen_changes(before, before.model_copy(update={"data": data}))
    told = f"data.{key}: {getattr(before.data, key)} before, {value} now; "
    assert line == f"{told}'run.allow_changes=[data.{key}]' goes on with it"


@pytest.mark.parametrize("key", ALLOWABLE)
def test_what_does_not_concern_the_weights_may_be_allowed_to_change(recipe, key) -> None:
    before = recipe()
    changes = {
        "run.seed": {"run": {"seed": 7}},
        "data.crop": {"data": {"crop": "adm"}},
        "data.flip": {"data": {"flip": True}},
        "data.selection": {"data": {"selection": Selection(per_class=3)}},
        "data.window_shards": {"data": {"window_shards": 3}},
    }[key]
    parts = {name: getattr(before, name).model_copy(update=new) for name, new in changes.items()}
    now = before.model_copy(update=parts)
    assert len(frozen_changes(before, now)) == 1
    allowed = now.run.model_copy(update={"allow_changes": (key,)})
    assert frozen_changes(before, now.model_copy(update={"run": allowed})) == []


def test_another_posterior_is_listed_with_all_of_its_keys(recipe) -> None:
    before = recipe()
    learned = before.autoencoder.model_copy(update={"posterior": LearnedPosterior()})
    lines = frozen_changes(before, before.model_copy(update={"autoencoder": learned}))
    assert "autoencoder.posterior.kind: fixed before, learned now" in lines
    assert any(line.startswith("autoencoder.posterior.std: 0.5 before") for line in lines)
