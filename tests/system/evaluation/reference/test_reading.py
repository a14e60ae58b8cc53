import numpy as np
import pytest
import torch

from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.crew import Crew
from system.evaluation.detectors.choice import digits_choice
from system.evaluation.reference.reading import kept_features
from system.evaluation.reference.reading import read_reference
from system.evaluation.reference.stored import write_reference
from system.foundation.errors import BadInput
from system.foundation.errors import DataError
from tests.system.evaluation.reference.test_adm import MOMENTS
from tests.system.evaluation.reference.test_reference import PROVENANCE
from tests.system.evaluation.reference.test_stored import FEATURES
from tests.system.evaluation.reference.test_stored import MOMENTS as STORED


class NoCrew(Crew):
    """Nothing is left to compute."""

    def run(self, request, units, store):
        raise AssertionError(f"{units} were asked for")


def test_of_either_kind(tmp_path):
    np.savez(tmp_path / "adm.npz", **MOMENTS)
    assert read_reference(str(tmp_path / "adm.npz")).provenance is None
    write_reference(str(tmp_path / "own"), PROVENANCE, STORED, None, FEATURES)
    assert read_reference(str(tmp_path / "own")).provenance == PROVENANCE


def test_nothing_there_and_something_else_there(tmp_path):
    with pytest.raises(BadInput, match="found nothing there; expected an npz of ADM"):
        read_reference(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"found no reference\.json"):
        read_reference(str(tmp_path))


def test_single_features_are_kept_or_computed_once(tmp_path, weights, detector, pixels):
    choice, folder = digits_choice(weights), str(tmp_path / "units")
    np.savez(tmp_path / "adm.npz", **MOMENTS, arr_0=pixels)
    adm = read_reference(str(tmp_path / "adm.npz"))
    found = kept_features(adm, choice, folder, AloneCrew())
    expected = detector.look(torch.from_numpy(pixels).permute(0, 3, 1, 2)).features
    assert torch.equal(found, expected)
    assert torch.equal(kept_features(adm, choice, folder, NoCrew()), expected)
    own = write_reference(str(tmp_path / "own"), PROVENANCE, STORED, None, FEATURES)
    assert torch.equal(kept_features(own, choice, folder, NoCrew()), FEATURES)


def test_moments_alone_have_none(tmp_path, weights):
    np.savez(tmp_path / "adm.npz", **MOMENTS)
    adm = read_reference(str(tmp_path / "adm.npz"))
    with pytest.raises(BadInput, match="holds moments alone"):
        kept_features(adm, digits_choice(weights), str(tmp_path), NoCrew())
