"""ILSVRC2012 in small, laid out as distributed, and the tree that unpacking it gives."""

import io
import tarfile
from pathlib import Path

import numpy as np
from scipy.io import savemat

WNIDS = ("n01440764", "n01443537", "n01514668")
# The kit's ids are in an order of their own, and its table has ancestors as well.
KIT = {1: "n01514668", 2: "n01440764", 3: "n01443537", 4: "n00001740"}
ANCESTOR = 4
TRUTH = (2, 1, 1, 3)


def tar_of(members: dict[str, bytes], *, kind: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of these files."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=kind) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def train_members(images: list[bytes]) -> dict[str, dict[str, bytes]]:
    """The content of each class: images dealt out in turn."""
    return {
        wnid: {
            f"{wnid}_{index}.JPEG": image
            for index, image in enumerate(images)
            if index % len(WNIDS) == label
        }
        for label, wnid in enumerate(WNIDS)
    }


def write_train(folder: Path, images: list[bytes]) -> Path:
    """The archive of training images; its classes are not in sorted order."""
    path = folder / "ILSVRC2012_img_train.tar"
    members = train_members(images)
    path.write_bytes(tar_of({f"{wnid}.tar": tar_of(members[wnid]) for wnid in reversed(members)}))
    return path


def write_tree(folder: Path, images: list[bytes]) -> Path:
    """What unpacking the archive of training images gives."""
    for wnid, members in train_members(images).items():
        (folder / "train" / wnid).mkdir(parents=True)
        for name, content in members.items():
            (folder / "train" / wnid / name).write_bytes(content)
    return folder / "train"


def write_validation(folder: Path, images: list[bytes]) -> Path:
    """The archive of validation images, in the order of no one."""
    path = folder / "ILSVRC2012_img_val.tar"
    named = {f"ILSVRC2012_val_{n:08d}.JPEG": image for n, image in enumerate(images, start=1)}
    path.write_bytes(tar_of(dict(reversed(named.items()))))
    return path


def write_devkit(folder: Path, truth: tuple[int, ...] = TRUTH) -> Path:
    """The development kit with its two files that matter."""
    path = folder / "ILSVRC2012_devkit_t12.tar.gz"
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(i, wnid, f"words of {wnid}", int(i == ANCESTOR)) for i, wnid in KIT.items()]
    meta = io.BytesIO()
    savemat(meta, {"synsets": np.array(rows, dtype=kind).reshape(-1, 1)})
    lines = "".join(f"{each}\n" for each in truth)
    root = "ILSVRC2012_devkit_t12"
    files = {
        f"{root}/readme.txt": b"as distributed",
        f"{root}/data/meta.mat": meta.getvalue(),
        f"{root}/data/ILSVRC2012_validation_ground_truth.txt": lines.encode(),
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path
