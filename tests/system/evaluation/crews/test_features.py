import pytest
import torch

from system.evaluation.crews import features as features_module
from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.crew import Crew
from system.evaluation.crews.features import features_of
from system.evaluation.crews.features import forget
from system.evaluation.sources.any_source import open_source
from system.foundation.errors import DataError


class Watched(Crew):
    """Computes, and remembers what it was asked."""

    def run(self, request, units, store):
        self.asked = list(units)
        AloneCrew().run(request, units, store)


class Interrupted(Crew):
    """Ends in the middle of its work."""

    def __init__(self, after: int) -> None:
        self.after = after

    def run(self, request, units, store):
        AloneCrew().run(request, units[: self.after], store)
        raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path) -> str:
    return str(tmp_path / "eval" / "units")


def everything(found) -> dict[str, torch.Tensor]:
    whole = {kind: found.whole("digits-cnn", kind) for kind in ("features", "spatial", "logits")}
    return whole | {"images": torch.cat([*found.images()])}


def test_the_same_bits_for_any_batch_and_any_interruption(make_request, tmp_path, detector):
    expected = everything(
        features_of(make_request(keep_images=True), str(tmp_path / "alone"), AloneCrew())
    )
    assert len(expected["images"]) == 300
    assert torch.equal(expected["features"], detector.look(expected["images"]).features)
    for batches in ((7, 7, 7), (100, 7, 64), (128, 100, 256)):
        folder = str(tmp_path / "-".join(map(str, batches)))
        for batch in batches[:2]:
            with pytest.raises(KeyboardInterrupt):
                features_of(make_request(keep_images=True, batch=batch), folder, Interrupted(1))
        last = features_of(make_request(keep_images=True, batch=batches[2]), folder, AloneCrew())
        for name, array in everything(last).items():
            assert torch.equal(array, expected[name]), (batches, name)


def test_only_what_is_missing_or_damaged_is_computed(make_request, folder, tmp_path):
    request, crew = make_request(batch=64), Watched()
    features_of(request, folder, crew)
    assert len(crew.asked) == 5
    paths = sorted((tmp_path / "eval" / "units" / request.key).iterdir())
    paths[1].unlink()
    paths[3].write_bytes(paths[3].read_bytes()[:-1])
    features_of(request, folder, crew)
    assert crew.asked == [range(64, 128), range(192, 256)]
    crew.asked = []
    features_of(request, folder, crew)
    assert crew.asked == []


def test_parts_have_a_size_of_their_own(make_request, folder, monkeypatch):
    monkeypatch.setattr(features_module, "PART", 70)
    found = features_of(make_request(keep_images=True, batch=100), folder, AloneCrew())
    assert [len(part) for part in found.parts("digits-cnn", "logits")] == [70, 70, 70, 70, 20]
    assert [len(part) for part in found.images()] == [64, 64, 64, 64, 44]
    assert torch.equal(
        torch.cat([*found.images()]), open_source(found.request.source).images(range(300))
    )


def test_what_another_program_has_removed_is_computed_again(make_request, folder, tmp_path):
    request, crew = make_request(batch=64), Watched()
    found = features_of(request, folder, crew)
    expected = found.whole("digits-cnn", "features")
    forget(request, folder)
    assert not (tmp_path / "eval" / "units" / request.key).exists()
    assert torch.equal(found.whole("digits-cnn", "features"), expected)
    assert len(crew.asked) == 5
    parts = found.parts("digits-cnn", "features")
    paths = sorted((tmp_path / "eval" / "units" / request.key).iterdir())
    paths[2].unlink()
    assert torch.equal(torch.cat([*parts]), expected)
    assert crew.asked == [range(128, 192)]


def test_what_is_gone_each_time_is_one_error(make_request, folder):
    class Idle(AloneCrew):
        def run(self, request, units, store):
            """Nothing is computed."""

    request = make_request(batch=64)
    features_of(request, folder, AloneCrew())
    found = features_of(request, folder, Idle())
    found.forget()
    with pytest.raises(DataError, match="is gone or damaged"):
        found.whole("digits-cnn", "features")
