"""Pillow's resized pixels, by a compiled kernel where there can be one, else by Pillow itself.

The kernel computes only the part of the resized image that is kept, in the place where it is
wanted, several times as fast. It is trusted only where it gives Pillow's pixels on a few probes.
Pillow before 13 resized rows before columns; since then a picture whose height shrinks by more than
twice the pixels that its width does is resized columns first, which shows in the rounding. The
probes tell which of the two rules the installed Pillow follows.
"""

import ctypes
import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from typing import Protocol
from typing import runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL import __version__ as pillow_version

from data_pipeline.images.decode import from_pillow
from data_pipeline.images.decode import to_pillow
from data_pipeline.images.kernel import KernelError
from data_pipeline.images.kernel import build_kernel
from system.foundation.philox import generator

_FILTERS = {"box": Image.Resampling.BOX, "bicubic": Image.Resampling.BICUBIC}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fit:
    """An image resized to height x width, of which the part from row `top`, column `left` is kept.

    How much is kept is the size of the array that it is written into.
    """

    filter: Literal["box", "bicubic"]
    height: int
    width: int
    top: int = 0
    left: int = 0


@runtime_checkable
class Resampler(Protocol):
    """Writes the part of a resized image that is kept."""

    def resample(
        self,
        image: UInt8[np.ndarray, "H W C"],
        fit: Fit,
        target: UInt8[np.ndarray, "h w C"],
        is_mirrored: bool,
    ) -> None:
        """Fill `target`, whose rows are contiguous; left and right are swapped if mirrored."""


@functools.cache
def resampler() -> Resampler:
    """The fastest resampler that this machine has; says once why where that is Pillow."""
    try:
        return CompiledResampler(build_kernel())
    except (KernelError, OSError) as problem:
        _log.warning(
            "images are resized by Pillow, to the same pixels but several times slower: %s. "
            "Install a C compiler or name one in CC, and give XDG_CACHE_HOME a folder of your own.",
            problem,
        )
        return PillowResampler()


class PillowResampler:
    """Resizes the whole image and cuts."""

    def resample(
        self,
        image: UInt8[np.ndarray, "H W C"],
        fit: Fit,
        target: UInt8[np.ndarray, "h w C"],
        is_mirrored: bool,
    ) -> None:
        """As the protocol says."""
        whole = to_pillow(image).resize((fit.width, fit.height), _FILTERS[fit.filter])
        bottom, right = fit.top + target.shape[0], fit.left + target.shape[1]
        kept = from_pillow(whole.crop((fit.left, fit.top, right, bottom)))
        target[...] = kept[:, ::-1] if is_mirrored else kept


class _Fit(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int)
        for name in ("is_cubic", "height", "width", "top", "left", "is_down_first", "is_mirrored")
    )


class CompiledResampler:
    """Calls the kernel, without holding the interpreter's lock."""

    def __init__(self, library: Path) -> None:
        """Raises OSError where it cannot be loaded, KernelError where it differs from Pillow."""
        self._call = ctypes.CDLL(str(library)).resample
        number = ctypes.c_int
        picture = (ctypes.c_void_p, ctypes.c_ssize_t, number, number)
        self._call.argtypes = (ctypes.POINTER(_Fit), *picture, number, *picture)
        for self._is_down_first in (_never, _where_height_shrinks_more):
            if self._agrees_with_pillow():
                return
        raise KernelError(f"{library} does not give the pixels of Pillow {pillow_version}")

    def resample(
        self,
        image: UInt8[np.ndarray, "H W C"],
        fit: Fit,
        target: UInt8[np.ndarray, "h w C"],
        is_mirrored: bool,
    ) -> None:
        """As the protocol says."""
        height, width, channels = image.shape
        if image.strides[1:] != (channels, 1):
            image = np.ascontiguousarray(image)
        assert target.strides[1:] == (channels, 1)
        assert target.flags.writeable
        rows, columns = target.shape[:2]
        assert 0 <= fit.top <= fit.height - rows
        assert 0 <= fit.left <= fit.width - columns
        order = self._is_down_first(height, width, fit)
        wanted = _Fit(
            fit.filter == "bicubic", fit.height, fit.width, fit.top, fit.left, order, is_mirrored
        )
        source = (image.ctypes.data, image.strides[0], height, width)
        place = (target.ctypes.data, target.strides[0], rows, columns)
        if not self._call(wanted, *source, channels, *place):
            raise MemoryError(f"no memory to resize {height}x{width} pixels")

    def _agrees_with_pillow(self) -> bool:
        return all(self._agrees_on(number, *case) for number, case in enumerate(_PROBES))

    def _agrees_on(self, number: int, height: int, width: int, fit: Fit) -> bool:
        draws = generator(0, "resample probe", number)
        image = draws.integers(0, 256, (height, width, 3), np.uint8)
        ours, pillows = np.empty((2, fit.height, fit.width, 3), np.uint8)
        self.resample(image, fit, ours, is_mirrored=False)
        PillowResampler().resample(image, fit, pillows, is_mirrored=False)
        return np.array_equal(ours, pillows)


def _never(height: int, width: int, fit: Fit) -> bool:
    return False


def _where_height_shrinks_more(height: int, width: int, fit: Fit) -> bool:
    return height - fit.height > max(0, 2 * (width - fit.width))


_PROBES: tuple[tuple[int, int, Fit], ...] = (
    (75, 101, Fit("bicubic", 51, 68)),
    (33, 21, Fit("bicubic", 64, 41)),
    (64, 43, Fit("box", 32, 21)),
    (80, 40, Fit("bicubic", 40, 20)),
    (81, 40, Fit("bicubic", 40, 20)),
    (30, 40, Fit("bicubic", 29, 47)),
    (90, 41, Fit("box", 45, 20)),
)
