import pytest
from pydantic import ValidationError

from system.foundation.settings.engine import Adamw
from system.foundation.settings.engine import Engine


def test_schedules_are_told_apart_by_their_kind() -> None:
    engine = Engine.model_validate({"schedule": {"kind": "cosine", "warmup_images": 8}})
    assert engine.schedule.final_fraction == 0.01
    with pytest.raises(ValidationError, match="schedule"):
        Engine.model_validate({"schedule": {"kind": "constant", "final_fraction": 0.1}})


def test_numbers_that_cannot_train_are_refused() -> None:
    with pytest.raises(ValidationError, match="gradient_clip"):
        Engine(gradient_clip=float("nan"))
    with pytest.raises(ValidationError, match="beta2"):
        Adamw(beta2=1.0)
    with pytest.raises(ValidationError, match="zero_stage"):
        Engine.model_validate({"zero_stage": 4})


def test_what_zero_3_shards_is_not_compiled() -> None:
    assert not Engine().compile
    with pytest.raises(ValidationError, match="expected zero_stage 0, 1 or 2, or compile=false"):
        Engine(zero_stage=3, compile=True)
