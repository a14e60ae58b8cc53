import pytest
from pydantic import Field
from pydantic import ValidationError

from system.foundation.settings.record import Fraction
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.settings.record import Weight


class Numbers(Record):
    whole: PositiveInt = 1
    real: PositiveFloat = 1.0
    share: Fraction = 0.5
    weight: Weight = 0.0
    plain: float = Field(0.0)


@pytest.mark.parametrize(
    "refused",
    [
        {"whole": 0},
        {"whole": 1.5},
        {"real": 0.0},
        {"share": 1.0},
        {"share": -0.1},
        {"weight": -1e-9},
        {"plain": float("nan")},
        {"plain": float("inf")},
        {"unknown": 1},
    ],
)
def test_what_is_out_of_bounds_or_unknown_is_refused(refused: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Numbers.model_validate(refused)


def test_the_bounds_themselves() -> None:
    assert Numbers(share=0.0, weight=0.0).share == 0.0


def test_records_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Numbers().whole = 2  # type: ignore[misc]
