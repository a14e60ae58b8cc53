"""How a linear probe is fitted: the two ways there are, as records that a protocol holds.

Both leave the test images alone: what each has to choose, it chooses on a share of the training
images that is held back, and then fits all of them once more.
"""

from typing import Annotated
from typing import Literal

from pydantic import Field

from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

Share = Annotated[float, Field(gt=0, lt=1)]


class LogisticRegression(Record):
    """Solved, not trained: convex, so that nothing depends on a learning rate or an order."""

    kind: Literal["logistic_regression"] = "logistic_regression"
    penalties: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = Field(
        (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
        description="weights of half the squared norm, from strong to weak; one is chosen",
    )
    held_back: Share = Field(0.2, description="share of the training images to choose by")


class StochasticDescent(Record):
    """Trained as MAE's linear probe: batch norm, warm-up and cosine, no weight decay."""

    kind: Literal["sgd"] = "sgd"
    optimiser: Literal["lars", "momentum"] = Field(
        "momentum", description="lars is MAE's, for batches of many thousands"
    )
    rates: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = Field(
        (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        description="learning rates for a batch of 256, from small to large; one is chosen",
    )
    epochs: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = Field(
        (90,), description="lengths of training; one is chosen together with the rate"
    )
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        1 / 9, description="share of the epochs in which the rate rises; MAE's is 10 of 90"
    )
    batch: PositiveInt = Field(256, description="images of an update")
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    held_back: Share = Field(0.2, description="share of the training images to choose by")


Classifier = Annotated[LogisticRegression | StochasticDescent, Field(discriminator="kind")]
