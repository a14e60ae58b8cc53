from typing import Annotated
from typing import Literal

import pytest
from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import Field


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Adam(Strict):
    """Adam. Source: 1412.6980."""

    kind: Literal["adam"] = "adam"
    rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="learning rate")
    beta: float = Field(0.9, description="decay of the moment")


class Muon(Strict):
    """Muon."""

    kind: Literal["muon"] = "muon"
    rate: Annotated[float, Field(gt=0)] = Field(2e-2, description="learning rate")
    momentum: float = Field(0.95, description="decay of the momentum")


class Distance(Strict):
    """A distance."""

    kind: Literal["l1", "l2"] = "l1"
    weight: float = Field(1.0, description="weight in the sum")


class Source(Strict):
    """A source that must be named."""

    kind: Literal["folder"]
    url: str = Field(description="where it is")


class Digits(Strict):
    """The digits."""

    kind: Literal["digits"]


class Section(Strict):
    """Sizes. A longer explanation follows

    here, and is not shown.
    """

    width: Annotated[int, Field(gt=0, le=4096)] = Field(description="channels")
    depths: tuple[Annotated[int, Field(gt=0)], ...] = Field((1, 2), description="layers of each")
    pair: tuple[int, float] = Field((1, 0.5), description="one of each")
    limit: Annotated[int, Field(ge=1)] | None = Field(None, description="bound, if any")
    distance: Distance = Distance()


class Settings(Strict):
    """Settings to try the loader on."""

    name: Annotated[str, Field(pattern="^[a-z0-9]+$")] = Field("x", description="its name")
    flag: bool = Field(False, description="a truth value")
    stage: Literal[0, 1, 2] = Field(1, description="a choice")
    weights: dict[str, float] = Field({}, description="by name")
    size: Section
    optimiser: Annotated[Adam | Muon, Field(discriminator="kind")] = Adam()
    source: Annotated[Source | Digits, Field(discriminator="kind")]
    extra: Section | None = None


@pytest.fixture
def schema() -> type[BaseModel]:
    return Settings
