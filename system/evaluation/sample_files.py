"""Drawn images as files: an npz in ADM's layout, or a PNG for each; written as they come.

Equal images and labels are equal bytes: no file says when or where it was made.

Source: guided-diffusion's evaluator (Dhariwal & Nichol 2021, arXiv 2105.05233), its file format.
"""

import io
import zipfile
from collections.abc import Iterable
from typing import IO

import numpy as np
from einops import rearrange
from jaxtyping import Int
from torch import Tensor

from system.evaluation.drawing import to_png
from system.foundation import storage

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file knows


def write_adm_npz(url: str, parts: Iterable[Tensor], label: Int[Tensor, "N"]) -> str:
    """Write images (uint8 N C H W in parts) and labels in the layout that ADM's evaluator reads.

    `arr_0` is uint8 N H W 3, `arr_1` int64 N. Grey images are given three equal channels: that is
    what readers of this layout expect. No more than a part is in memory. Returns the url.
    """

    def write(file: io.BufferedIOBase) -> None:
        _to_zip(file, parts, label)

    storage.write_stream(url, write)
    return url


def write_pngs(folder: str, parts: Iterable[Tensor], label: Int[Tensor, "N"]) -> str:
    """Write each image (uint8 N C H W in parts) as a PNG: `000042-class-7.png`, or `000042.png`
    where it was drawn for no class (a negative label). Returns the folder."""
    number = 0
    for part in parts:
        for image in part:
            known = int(label[number])
            name = f"{number:06d}" + (f"-class-{known}" if known >= 0 else "")
            storage.write_bytes(storage.join(folder, f"{name}.png"), to_png(image))
            number += 1
    return folder


def _to_zip(file: io.BufferedIOBase, parts: Iterable[Tensor], label: Int[Tensor, "N"]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        written = 0
        with archive.open(_member("arr_0.npy"), "w", force_zip64=True) as member:
            for part in parts:
                pixels = rearrange(part.expand(-1, 3, -1, -1), "n c h w -> n h w c").contiguous()
                if not written:
                    _write_header(member, np.dtype(np.uint8), (len(label), *pixels.shape[1:]))
                member.write(pixels.numpy().data)
                written += len(part)
        assert written == len(label), f"{written} images, {len(label)} labels"
        with archive.open(_member("arr_1.npy"), "w") as member:
            np.save(member, label.numpy())


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, EPOCH)


def _write_header(
    file: IO[bytes] | io.BufferedIOBase, dtype: np.dtype, shape: tuple[int, ...]
) -> None:
    about = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, about)
