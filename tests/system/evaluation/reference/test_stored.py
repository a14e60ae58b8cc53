import json

import pytest
import torch

from system.evaluation.reference.stored import is_stored
from system.evaluation.reference.stored import read_provenance
from system.evaluation.reference.stored import read_stored
from system.evaluation.reference.stored import write_reference
from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import DataError
from tests.system.evaluation.reference.test_reference import PROVENANCE

FEATURES = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
MOMENTS = FeatureStatistics.of(FEATURES)
SPATIAL = FeatureStatistics.of(FEATURES[:, :2])


@pytest.fixture
def url(tmp_path):
    write_reference(str(tmp_path / "r"), PROVENANCE, MOMENTS, SPATIAL, FEATURES)
    return str(tmp_path / "r")


def test_what_is_read_is_what_was_written_to_the_bit(url):
    reference = read_stored(url)
    for found, written in ((reference.moments, MOMENTS), (reference.spatial, SPATIAL)):
        assert found.count == written.count
        assert torch.equal(found.mean, written.mean)
        assert torch.equal(found.scatter, written.scatter)
    assert torch.equal(reference.kept, FEATURES)
    assert reference.provenance == read_provenance(url) == PROVENANCE


def test_a_detector_without_spatial_features(tmp_path):
    reference = write_reference(str(tmp_path / "r"), PROVENANCE, MOMENTS, None, FEATURES)
    assert reference.spatial is None


def test_the_digest_is_of_how_and_of_what_and_of_no_version(tmp_path):
    def digest(name, provenance=PROVENANCE, moments=MOMENTS, kept=FEATURES):
        return write_reference(str(tmp_path / name), provenance, moments, None, kept).digest

    versions = PROVENANCE.model_copy(update={"versions": {"torch": "9"}, "key": "1" * 32})
    assert digest("a") == digest("b", versions)
    others = {
        digest("c", PROVENANCE.model_copy(update={"path": "tarflow"})),
        digest("d", moments=FeatureStatistics.of(FEATURES + 1)),
        digest("e", kept=FEATURES[:4]),
    }
    assert len(others | {digest("a")}) == 4


@pytest.mark.parametrize("name", ["moments.safetensors", "features.safetensors"])
def test_damage_and_loss_are_found(url, tmp_path, name):
    file = tmp_path / "r" / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: found a file with digest"):
        read_stored(url)
    file.unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        read_stored(url)


def test_one_that_was_never_finished_is_none(url, tmp_path):
    (tmp_path / "r" / "reference.json").unlink()
    assert not is_stored(url)
    with pytest.raises(DataError, match="never finished"):
        read_stored(url)


@pytest.mark.parametrize("change", [{"version": 2}, {"path": "sideways"}, {"count": 0}])
def test_a_record_of_another_version_is_refused(url, tmp_path, change):
    file = tmp_path / "r" / "reference.json"
    content = json.loads(file.read_text())
    content["provenance"] |= change
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="another version"):
        read_stored(url)


def test_a_record_that_is_no_json_is_refused(url, tmp_path):
    (tmp_path / "r" / "reference.json").write_text("{")
    with pytest.raises(DataError, match="no record that this code knows"):
        read_stored(url)
