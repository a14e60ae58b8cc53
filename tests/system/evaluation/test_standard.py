"""Anyone's samples of digits against a reference of real ones, under the digits preset."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_pipeline.shards.manifest import read_manifest
from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.features import features_of
from system.evaluation.crews.request import FeatureRequest
from system.evaluation.crews.store import UnitStore
from system.evaluation.detectors.choice import InceptionChoice
from system.evaluation.detectors.choice import digits_choice
from system.evaluation.detectors.digits import digits_url
from system.evaluation.measures.digits import detectors_folder
from system.evaluation.presets import PRESETS
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Evaluation
from system.evaluation.protocol import write_evaluation
from system.evaluation.reference.adm import read_adm
from system.evaluation.reference.request import ReferenceRequest
from system.evaluation.reference.request import make_reference
from system.evaluation.scores.frechet import frechet_distance
from system.evaluation.scores.inception_score import inception_score
from system.evaluation.scores.inception_score import keyed_order
from system.evaluation.scores.kernel import kernel_distance
from system.evaluation.scores.neighbours import precision_recall
from system.evaluation.sources.archive import archive_images
from system.evaluation.sources.folder import folder_images
from system.evaluation.standard import GIVEN
from system.evaluation.standard import Origin
from system.evaluation.standard import Standard
from system.evaluation.standard import measure_standard
from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import BadInput
from system.foundation.errors import NumericsError
from system.foundation.settings.evaluation import Sampler
from system.telemetry.metrics import unregistered
from tests.system.evaluation.reference.conftest import no_cluster

COUNT = 300
INCEPTION = InceptionChoice(weights="-", digest="a" * 64, resize="tf1_bilinear")


@pytest.fixture(scope="module")
def standard(recipe, detector, root, tmp_path_factory) -> Standard:
    folder = detectors_folder(str(root / "any"))
    weights = digits_url(folder, read_manifest(recipe.data.shards).digest)
    request = ReferenceRequest(
        preset="digits",
        detector=weights,
        shards=recipe.data.shards,
        images=400,
        out=str(tmp_path_factory.mktemp("references")),
    )
    reference = make_reference(request, no_cluster)
    return Standard(PRESETS["digits"], digits_choice(weights), reference)


@pytest.fixture(scope="module")
def samples(held_out, train, tmp_path_factory) -> str:
    """Real images beside a fifth of noise, as a sampler might draw them."""
    image = torch.cat([held_out.image, train.image])[:COUNT].permute(0, 2, 3, 1).numpy().copy()
    image[::5] = np.random.default_rng(0).integers(0, 256, image[::5].shape, np.uint8)
    place = tmp_path_factory.mktemp("samples") / "samples.npz"
    np.savez(place, image)
    return str(place)


def look(standard, source, folder, **changes):
    request = FeatureRequest(source=source, detectors=(standard.detector,), **changes)
    return features_of(request, str(folder), AloneCrew())


def measure(standard, source, folder, **changes):
    features = look(standard, source, folder, **changes)
    kept = standard.kept(str(folder), AloneCrew())
    return measure_standard(standard, features, GIVEN, kept)


def test_every_score_is_that_of_the_features(standard, samples, detector, tmp_path):
    source = standard.admitted(archive_images(samples), COUNT)
    measured = {one.name: one for one in measure(standard, source, tmp_path)}
    assert list(measured) == [f"evaluation/{score}" for score in standard.preset.scores]
    assert unregistered(measured) == []
    seen = detector.look(torch.from_numpy(np.load(samples)["arr_0"]).permute(0, 3, 1, 2))
    real = standard.reference
    near = precision_recall(real.kept, seen.features)
    expected = {
        "gfid": frechet_distance(real.moments, FeatureStatistics.of(seen.features)),
        "sfid": frechet_distance(real.spatial, FeatureStatistics.of(seen.spatial)),
        "inception_score": inception_score(seen.logits, 10, keyed_order(COUNT, 0)).value,
        "precision": near.precision.value,
        "recall": near.recall.value,
        "kid": kernel_distance(real.kept, seen.features, 100, 100, 2020).value,
    }
    for score, value in expected.items():
        found = measured[f"evaluation/{score}"]
        assert found.value == pytest.approx(value, rel=1e-9), score
        assert found.standard_error > 0
        assert found.interval[0] < found.interval[1]
        assert found.protocol.samples == COUNT
        assert found.protocol.reference.startswith(real.digest)
    assert len({one.protocol.digest for one in measured.values()}) == len(measured)
    gfid = measured["evaluation/gfid"]
    assert 0 < gfid.bias < gfid.value
    assert gfid.corrected < gfid.value
    assert measured["evaluation/precision"].protocol.scoring.references == 400


def test_a_file_and_a_folder_cut_into_any_units_give_the_same_bytes(standard, samples, tmp_path):
    for number, image in enumerate(np.load(samples)["arr_0"]):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{number:04d}.png")
    written = []
    for source, batch in ((archive_images(samples), 64), (folder_images(str(tmp_path)), 256)):
        source = standard.admitted(source, COUNT)
        folder = tmp_path / source.kind
        measured = measure(standard, source, folder / "units", batch=batch)
        evaluation = Evaluation(
            images_seen=0,
            checkpoint="samples",
            content="0" * 32,
            preset="digits",
            measurements=tuple(measured),
            seconds={"measure": float(batch)},
        )
        written.append(Path(write_evaluation(evaluation, str(folder))).read_bytes())
    assert written[0] == written[1]


def test_the_first_ones_are_measured_where_there_are_more(standard, samples, tmp_path):
    np.savez(tmp_path / "fewer.npz", np.load(samples)["arr_0"][:240])
    whole = standard.admitted(archive_images(samples), 240)
    fewer = standard.admitted(archive_images(str(tmp_path / "fewer.npz")), 240)
    assert measure(standard, whole, tmp_path / "a") == measure(standard, fewer, tmp_path / "b")


def test_how_they_were_drawn_is_in_every_protocol(standard):
    drawing = Drawing(labels="random", seed=3, sampler=Sampler(guidance=2.0))
    drawn = Origin(averaging_decay=0.999, rounding="half_to_even", drawing=drawing)
    ours = standard.protocol("gfid", COUNT, drawn)
    assert (ours.drawing, ours.averaging_decay, ours.rounding) == (drawing, 0.999, "half_to_even")
    given = standard.protocol("gfid", COUNT, GIVEN)
    assert (given.drawing, given.averaging_decay, given.rounding) == ("given", None, "given")
    assert given.digest != ours.digest


def test_too_few_samples_are_refused(standard, samples):
    source = archive_images(samples)
    with pytest.raises(BadInput, match=r"holds 300 images; expected 1000.*samples=300"):
        standard.admitted(source)
    with pytest.raises(BadInput, match=r"found 199 samples .*digits needs 200 at the least"):
        standard.admitted(source, 199)


def test_samples_of_another_size_are_refused(standard, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 8, 1), np.uint8)
    np.savez(tmp_path / "samples.npz", pixels)
    with pytest.raises(BadInput, match=r"images of 16x8 pixels, .* is of 8x8; expected the same"):
        standard.admitted(archive_images(str(tmp_path / "samples.npz")), COUNT)


def test_colour_before_a_detector_of_grey_is_refused(standard, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "samples.npz", pixels)
    with pytest.raises(BadInput, match=r"of 3 channels; digits-cnn was trained on 1"):
        standard.admitted(archive_images(str(tmp_path / "samples.npz")), COUNT)


def test_a_reference_with_too_few_single_images_is_refused(standard):
    few = Standard(standard.preset, standard.detector, reference_with(standard, kept=99))
    with pytest.raises(BadInput, match="single features of 99 images; digits takes subsets of 100"):
        few.refuse(COUNT, (8, 8), "samples.npz")


def reference_with(standard, kept):
    reference = standard.reference
    return type(reference)(
        url=reference.url,
        digest=reference.digest,
        provenance=reference.provenance,
        moments=reference.moments,
        spatial=reference.spatial,
        kept=reference.kept[:kept],
    )


def test_a_reference_of_another_protocol_makes_no_standard(standard, tmp_path):
    other = standard.detector.model_copy(update={"digest": "f" * 32})
    with pytest.raises(BadInput, match=r"another protocol.*digest of its weights"):
        Standard(standard.preset, other, standard.reference)
    with pytest.raises(BadInput, match=r"another protocol.*detector is digits-cnn"):
        Standard(PRESETS["adm_50k"], INCEPTION, standard.reference)


@pytest.mark.parametrize("broken", [1, 7])
def test_features_that_are_not_finite_are_counted_and_fail(standard, samples, tmp_path, broken):
    source = standard.admitted(archive_images(samples), COUNT)
    request = FeatureRequest(source=source, detectors=(standard.detector,))
    whole = look(standard, source, tmp_path / "sound")
    name = standard.detector.name
    kinds = ("features", "spatial", "logits")
    arrays = {f"{name}/{kind}": whole.whole(name, kind).clone() for kind in kinds}
    arrays[f"{name}/features"][3 : 3 + broken, 0] = torch.nan
    UnitStore(str(tmp_path / "units" / request.key)).put(range(COUNT), arrays)
    features = features_of(request, str(tmp_path / "units"), AloneCrew())
    with pytest.raises(NumericsError, match=f"found {broken} of "):
        measure_standard(standard, features, GIVEN, standard.reference.kept)


def adm(tmp_path, **arrays):
    np.savez(tmp_path / "adm.npz", **arrays)
    return read_adm(str(tmp_path / "adm.npz"))


def test_what_a_reference_has_decides_which_scores_there_are(tmp_path, caplog):
    mu, sigma = np.zeros(4), np.eye(4)
    pixels = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8)
    preset = PRESETS["adm_50k"]
    moments = Standard(preset, INCEPTION, adm(tmp_path, mu=mu, sigma=sigma))
    assert moments.scores == ("gfid", "inception_score")
    assert "left out sfid, for want of spatial moments" in caplog.text
    assert moments.kept(str(tmp_path), AloneCrew()) is None
    whole = adm(tmp_path, mu=mu, sigma=sigma, mu_s=mu, sigma_s=sigma, arr_0=pixels)
    assert Standard(preset, INCEPTION, whole).scores == preset.scores
    with pytest.raises(BadInput, match="expected the same size"):
        Standard(preset, INCEPTION, whole).refuse(50_000, (16, 16), "samples.npz")


def test_adms_protocol_says_how_its_scores_are_defined(tmp_path):
    reference = adm(tmp_path, mu=np.zeros(4), sigma=np.eye(4))
    standard = Standard(PRESETS["adm_50k"], INCEPTION, reference)
    splits = standard.preset.splits_of(50_000)
    protocol = standard.protocol("inception_score", 50_000, GIVEN, splits)
    assert (protocol.scoring.count, protocol.scoring.order) == (10, "keyed_permutation")
    assert protocol.scoring.logits == "without_bias"
    assert protocol.reference == f"{reference.digest}: ADM's npz"
    assert protocol.detector.resize == "tf1_bilinear"
    spatial = standard.protocol("sfid", 50_000, GIVEN)
    assert spatial.definition.endswith("first 7 channels, channels innermost: 2023")
