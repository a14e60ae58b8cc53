import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from system.evaluation.probe_classifiers import LogisticRegression
from system.evaluation.protocol import Detector
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Evaluation
from system.evaluation.protocol import Latents
from system.evaluation.protocol import Measurement
from system.evaluation.protocol import Neighbours
from system.evaluation.protocol import Probe
from system.evaluation.protocol import Protocol
from system.evaluation.protocol import Splits
from system.evaluation.protocol import Subsets
from system.evaluation.protocol import write_evaluation
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import Sampler

DRAWING = Drawing(labels="balanced", seed=0, sampler=Sampler(guidance=1.0))
PROTOCOL = Protocol(
    preset="digits",
    metric="frechet_distance",
    definition=None,
    samples=718,
    reference="0a1b: train split",
    averaging_decay=0.995,
    compute_dtype="float32",
    moments_dtype="float64",
    rounding="half_to_even",
    detector=Detector(name="digits-cnn", digest="0" * 32, resize="none"),
    drawing=DRAWING,
    latents=None,
    probe=None,
    scoring=None,
    groups=None,
)


@pytest.mark.parametrize("field", list(Protocol.model_fields))
def test_every_part_must_be_said(field):
    incomplete = PROTOCOL.model_dump(exclude={field})
    with pytest.raises(ValidationError, match=field):
        Protocol.model_validate(incomplete)


def leaves(value, path=()):
    """Every plain value of a record with the keys that lead to it."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    else:
        yield path, value


def changed(content, path, value):
    content = json.loads(json.dumps(content))
    at = content
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return content


def others(value):
    """Values of the same kind, some of which a record allows in its place."""
    if isinstance(value, list):
        return [[*value, 3.0]]
    if isinstance(value, str):
        last = "1" if value.endswith("0") else "0"
        return [value[:-1] + last, *WORDS]
    if value is None:
        return [1, "a word", 0.5]
    return [value + 1, value / 2 + 1, value / 2]


WORDS = [
    *("truncate", "balanced", "random", "linear", "all", "b", "temperature", "fresh", "probe"),
    *("numpy_mt19937", "without_bias", "float16_adm"),
]
FULL = [
    PROTOCOL.model_copy(
        update={
            "definition": "latentstats/v1",
            "latents": Latents(draws=1, seed=0),
            "probe": Probe(
                block=0,
                layers=1,
                weights="trained",
                pooling="mean",
                told=3,
                classifier=LogisticRegression(penalties=(1.0, 0.1), held_back=0.25),
                seed=0,
            ),
            "drawing": DRAWING.model_copy(
                update={
                    "sampler": Sampler(guidance_against="temperature", attention_temperature=2.0)
                }
            ),
            "scoring": scoring,
            "groups": 20,
        }
    )
    for scoring in (
        Splits(count=10, order="keyed_permutation", seed=0, logits="with_bias"),
        Neighbours(k=3, distance_dtype="float32", references=10_000),
        Subsets(count=100, size=1000, seed=2020),
    )
]
# These have one value so far, or are another record where they are changed.
ALONE = {"compute_dtype", "moments_dtype", "pooling", "classifier", "kind", "guidance_against"}


@pytest.mark.parametrize("full", FULL, ids=lambda full: full.scoring.kind)
def test_any_change_is_another_protocol(full):
    content = full.model_dump(mode="json")
    for path, value in leaves(content):
        found = []
        for other in others(value):
            try:
                found.append(Protocol.model_validate(changed(content, path, other)))
            except ValidationError:
                continue
        different = [each for each in found if each != full]
        assert different or path[-1] in ALONE, path
        assert all(each.digest != full.digest for each in different), path


@pytest.mark.parametrize(
    "field", ["definition", "moments_dtype", "rounding", "detector", "drawing"]
)
def test_a_part_that_is_not_used_is_another_protocol(field):
    assert FULL[0].model_copy(update={field: None}).digest != FULL[0].digest


def test_what_guidance_leads_away_from_is_part_of_a_protocol():
    against = DRAWING.sampler.model_copy(update={"guidance_against": "temperature"})
    drawing = DRAWING.model_copy(update={"sampler": against})
    assert PROTOCOL.model_copy(update={"drawing": drawing}).digest != PROTOCOL.digest


def test_equal_protocols_have_one_digest():
    content = PROTOCOL.model_dump() | {"averaging_decay": 0.0}
    zero = Protocol.model_validate(content)
    negative = Protocol.model_validate(content | {"averaging_decay": -0.0})
    whole = Protocol.model_validate(content | {"averaging_decay": 0})
    assert zero == negative == whole
    assert zero.digest == negative.digest == whole.digest


def test_a_digest_stays_what_it_is():
    """Digests name files and stand in published records: a change here changes all of them."""
    assert PROTOCOL.digest == "8b30ceedf7bdfb478becf9409cf1705c"


def test_iteration_is_part_of_a_protocol_and_the_lack_of_it_is_not():
    """Records of before there was another way to draw keep their digests."""
    content = DRAWING.model_dump(mode="json")
    assert not {"decoding", "jacobi_chunk"} & content["sampler"].keys()
    assert Drawing.model_validate(content) == DRAWING

    def digest(**changes):
        sampler = Sampler(**{"guidance": 0.5, "decoding": "jacobi"} | changes)
        drawing = Drawing(labels="balanced", seed=0, sampler=sampler)
        assert Drawing.model_validate_json(drawing.model_dump_json()) == drawing
        return PROTOCOL.model_copy(update={"drawing": drawing}).digest

    ways = ({}, {"jacobi_chunk": 8}, {"jacobi_tolerance": 0.1}, {"jacobi_blocks": "all"})
    digests = {digest(**way) for way in (*ways, {"decoding": "tokens"})}
    assert len(digests) == 5
    assert digest(decoding="tokens") == digest(decoding="tokens", jacobi_chunk=8)


def test_what_changes_no_number_is_no_part_of_a_drawing():
    """Without a weight there is no rule; how often an evaluation is due is not how it draws."""
    settings = DigitsEvaluation(every_images=7, guidance=0.0, guidance_rule="linear", denoise=0.5)
    drawing = Drawing(labels="balanced", seed=0, sampler=settings)
    assert type(drawing.sampler) is Sampler
    assert drawing.sampler == Sampler(guidance=0.0, denoise=0.5)


def test_digest_survives_a_round_trip():
    assert Protocol.model_validate_json(PROTOCOL.model_dump_json()).digest == PROTOCOL.digest


def test_no_number_without_a_protocol():
    with pytest.raises(ValidationError, match="protocol"):
        Measurement(name="evaluation/gfid", value=1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_that_is_not_finite(value):
    with pytest.raises(ValidationError, match="finite"):
        Measurement(name="evaluation/gfid", value=value, protocol=PROTOCOL)


def evaluation(**changes):
    gfid = Measurement(name="evaluation/gfid", value=2.5, standard_error=0.25, protocol=PROTOCOL)
    content = {
        "images_seen": 1280,
        "checkpoint": "/home/a/runs/a/checkpoints/000000001280-0/",
        "preset": "digits",
        "measurements": (gfid,),
        "seconds": {"generation": 3.0, "density": 4.0},
    }
    return Evaluation(**(content | changes))


def test_the_record_holds_every_number_with_its_protocol(tmp_path):
    url = write_evaluation(evaluation(), str(tmp_path))
    assert url == f"{tmp_path}/eval/000000001280-digits.json"
    found = json.loads((tmp_path / "eval" / "000000001280-digits.json").read_text())
    gfid = found["measurements"]["evaluation/gfid"]
    assert gfid["value"] == 2.5
    assert gfid["protocol_digest"] == PROTOCOL.digest
    assert Protocol.model_validate(gfid["protocol"]) == PROTOCOL
    assert evaluation().values() == {
        "evaluation/gfid": 2.5,
        "evaluation/gfid_standard_error": 0.25,
        "evaluation/seconds_s": 7.0,
    }


def test_equal_results_are_the_same_bytes_whenever_and_wherever_they_were_measured(tmp_path):
    here = write_evaluation(evaluation(), str(tmp_path / "here"))
    there = evaluation(checkpoint="s3://b/a/checkpoints/000000001280-0", seconds={"density": 9.0})
    there = write_evaluation(there, str(tmp_path / "there"))
    content = Path(here).read_bytes()
    assert content == Path(there).read_bytes()
    assert json.loads(content)["checkpoint"] == "000000001280-0"


def test_what_was_put_together_past_the_checks_is_not_written(tmp_path):
    gfid = Measurement(name="evaluation/gfid", value=2.5, protocol=PROTOCOL)
    for past, problem in (
        (gfid.model_copy(update={"value": float("nan")}), "finite"),
        (gfid.model_copy(update={"protocol": None}), "protocol"),
        (gfid.model_copy(update={"protocol": PROTOCOL.model_copy(update={"samples": 0})}), "sampl"),
    ):
        broken = evaluation().model_copy(update={"measurements": (past,)})
        with pytest.raises(ValidationError, match=problem):
            write_evaluation(broken, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_no_number_hides_another_of_its_name():
    gfid = Measurement(name="evaluation/gfid", value=2.5, protocol=PROTOCOL)
    with pytest.raises(ValidationError, match="evaluation/gfid more than once"):
        evaluation(measurements=(gfid, gfid))
