import pytest
import torch

from system.evaluation.presets import PRESETS
from system.evaluation.protocol import Detector
from system.evaluation.reference.reference import Provenance
from system.evaluation.reference.reference import Reference
from system.evaluation.reference.reference import refuse_other_protocols
from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import BadInput

DETECTOR = Detector(name="inception-2015_tf1_bilinear", digest="a" * 64, resize="tf1_bilinear")
PROVENANCE = Provenance(
    preset="adm_50k",
    source={"kind": "folder", "digest": "0" * 32, "count": 5},
    detector=DETECTOR,
    path="plain",
    count=5,
    height=16,
    width=12,
    channels=3,
    kept=5,
    versions={},
    key="0" * 32,
)


def reference(**changes) -> Reference:
    moments = FeatureStatistics.of(torch.randn(5, 3))
    provenance = PROVENANCE.model_copy(update=changes)
    return Reference("here", "d" * 32, provenance, moments, None, torch.zeros(5, 3))


def adm() -> Reference:
    return Reference("adm.npz", "d" * 32, None, None, None, None, (7, 16, 12, 3))


def other(**changes) -> Detector:
    return DETECTOR.model_copy(update=changes)


def test_one_of_the_same_protocol_is_used():
    refuse_other_protocols(reference(), PRESETS["adm_50k"], DETECTOR)
    refuse_other_protocols(reference(), PRESETS["torch_fidelity"], DETECTOR)
    refuse_other_protocols(reference(path="tarflow"), PRESETS["tarflow"], DETECTOR)
    refuse_other_protocols(adm(), PRESETS["adm_50k"], DETECTOR)


@pytest.mark.parametrize(
    ("preset", "made", "detector", "said"),
    [
        ("adm_50k", {}, other(digest="b" * 64), "digest of its weights is a+, expected b+"),
        ("adm_50k", {}, other(name="digits-cnn"), "detector is inception.*, expected digits-cnn"),
        ("adm_50k", {}, other(resize="bilinear"), "resize is tf1_bilinear, expected bilinear"),
        ("adm_50k", {"path": "tarflow"}, DETECTOR, "way of the pixels is tarflow, expected plain"),
        ("tarflow", {}, DETECTOR, "way of the pixels is plain, expected tarflow"),
        ("tarflow", {}, other(resize="bilinear"), "resize is .*; way of the pixels is"),
    ],
)
def test_one_of_another_protocol_is_refused_with_all_that_differs(preset, made, detector, said):
    with pytest.raises(BadInput, match=f"made by another protocol.*{said}.*preset={preset}"):
        refuse_other_protocols(reference(**made), PRESETS[preset], detector)


@pytest.mark.parametrize(
    ("preset", "detector"),
    [
        ("tarflow", DETECTOR),
        ("digits", other(name="digits-cnn", resize="none")),
        ("dinov2", other(name="dinov2", resize="bicubic_antialias")),
        ("adm_50k", other(resize="bilinear")),
    ],
)
def test_adms_is_for_those_that_say_so(preset, detector):
    with pytest.raises(BadInput, match="it is ADM's npz"):
        refuse_other_protocols(adm(), PRESETS[preset], detector)


def test_what_is_known_of_the_images():
    assert reference().size == adm().size == (16, 12)
    assert reference().names() == f"{'d' * 32}: 5 images"
    assert adm().names() == f"{'d' * 32}: ADM's npz"
