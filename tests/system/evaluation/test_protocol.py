import json

import pytest
from pydantic import ValidationError

from system.evaluation.protocol import Detector
from system.evaluation.protocol import Drawing
from system.evaluation.protocol import Evaluation
from system.evaluation.protocol import Measurement
from system.evaluation.protocol import Protocol
from system.evaluation.protocol import write_evaluation
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import Sampler

DRAWING = Drawing(labels="balanced", seed=0, sampler=Sampler(guidance=1.0))
PROTOCOL = Protocol(
    preset="digits",
    metric="frechet_distance",
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
)


@pytest.mark.parametrize("field", list(Protocol.model_fields))
def test_every_part_must_be_said(field):
    incomplete = PROTOCOL.model_dump(exclude={field})
    with pytest.raises(ValidationError, match=field):
        Protocol.model_validate(incomplete)


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 719},
        {"averaging_decay": 0.9},
        *(
            {"drawing": DRAWING.model_copy(update={"sampler": Sampler(**sampler)})}
            for sampler in (
                {"guidance": 2.0},
                {"guidance_rule": "linear"},
                {"guidance_blocks": "all"},
                {"guidance_parts": "b"},
                {"guidance_ramp": "linear"},
                {"guidance_against": "temperature"},
                {"guidance_against": "temperature", "attention_temperature": 0.5},
                {"temperature": 0.9},
                {"denoise": 1.0},
            )
        ),
        {"drawing": DRAWING.model_copy(update={"seed": 1})},
        {"detector": Detector(name="digits-cnn", digest="1" * 32, resize="none")},
        {"rounding": None},
    ],
)
def test_any_change_is_another_protocol(change):
    assert PROTOCOL.model_copy(update=change).digest != PROTOCOL.digest


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


def test_the_record_holds_every_number_with_its_protocol(tmp_path):
    evaluation = Evaluation(
        images_seen=1280,
        checkpoint="runs/a/checkpoints/000000001280-0",
        preset="digits",
        measurements=(
            Measurement(name="evaluation/gfid", value=2.5, standard_error=0.25, protocol=PROTOCOL),
        ),
        seconds={"generation": 3.0, "density": 4.0},
    )
    url = write_evaluation(evaluation, str(tmp_path))
    assert url == f"{tmp_path}/eval/000000001280-digits.json"
    found = json.loads((tmp_path / "eval" / "000000001280-digits.json").read_text())
    gfid = found["measurements"]["evaluation/gfid"]
    assert gfid["value"] == 2.5
    assert gfid["protocol_digest"] == PROTOCOL.digest
    assert Protocol.model_validate(gfid["protocol"]) == PROTOCOL
    assert evaluation.values() == {
        "evaluation/gfid": 2.5,
        "evaluation/gfid_standard_error": 0.25,
        "evaluation/seconds_s": 7.0,
    }
