"""A set of images to be measured, in an order of its own.

Each source is described by a record of plain values that carries the digest of its content, so that
every worker opens the same set, and what was computed of it is found again.
"""

from abc import ABC
from abc import abstractmethod

from jaxtyping import UInt8
from torch import Tensor


class Source(ABC):
    """An opened set of images."""

    @abstractmethod
    def images(self, index: range) -> UInt8[Tensor, "N C H W"]:
        """The images of these numbers: a function of the source and each number alone.

        Raises NumericsError or DataError for an image that is not what it should be; none is left
        out or made again.
        """
