import io
import tarfile

import pytest
from scipy.io import savemat

from data_pipeline.sources.class_map import alphabetical
from data_pipeline.sources.ground_truth import read_devkit
from data_pipeline.sources.ground_truth import read_ground_truth
from system.foundation.errors import DataError
from tests.data_pipeline.archives import KIT
from tests.data_pipeline.archives import TRUTH
from tests.data_pipeline.archives import WNIDS
from tests.data_pipeline.archives import write_devkit

CLASSES = alphabetical(WNIDS, "train")


def stems(count):
    return [f"ILSVRC2012_val_{number:08d}" for number in range(1, count + 1)]


def test_ids_of_the_kit_are_not_labels(tmp_path):
    truth = read_devkit(str(write_devkit(tmp_path)))
    labels = [truth.label(stem, CLASSES) for stem in stems(4)]
    assert labels == [sorted(WNIDS).index(KIT[each]) for each in TRUTH] == [0, 2, 2, 1]
    assert labels != [each - 1 for each in TRUTH]
    assert truth.wnids == WNIDS  # ancestors are no classes
    with pytest.raises(DataError, match=r"4 lines, none for ILSVRC2012_val_00000005"):
        truth.label("ILSVRC2012_val_00000005", CLASSES)
    with pytest.raises(DataError, match="none for ILSVRC2012_val_"):
        truth.label("ILSVRC2012_val_", CLASSES)
    with pytest.raises(DataError, match="no class 'n01440764'"):
        truth.label("ILSVRC2012_val_00000001", alphabetical(["n01443537"], "train"))


def test_kits_that_are_none(tmp_path):
    with pytest.raises(DataError, match="has 4, expected one of the 3 ids"):
        read_devkit(str(write_devkit(tmp_path, truth=(1, 4))))
    path = tmp_path / "kit.tar.gz"
    path.write_bytes(b"not a tar")
    with pytest.raises(DataError, match="damaged archive"):
        read_devkit(str(path))
    for content, message in [
        ({}, r"no data/meta\.mat"),
        ({"data/meta.mat": b"?"}, "no data/ILSVRC2012_validation_ground_truth"),
        ({"data/meta.mat": b"?", "data/ILSVRC2012_validation_ground_truth.txt": b"1"}, "synsets"),
        ({"data/meta.mat": mat(), "data/ILSVRC2012_validation_ground_truth.txt": b"1"}, "synsets"),
    ]:
        with tarfile.open(path, "w:gz") as tar:
            for name, data in content.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        with pytest.raises(DataError, match=message):
            read_devkit(str(path))


def mat():
    target = io.BytesIO()
    savemat(target, {"other": 1})
    return target.getvalue()


def test_a_wordnet_id_on_each_line(tmp_path):
    (tmp_path / "truth.txt").write_text("n01514668\nn01440764\n")
    truth = read_ground_truth(str(tmp_path / "truth.txt"))
    assert [truth.label(stem, CLASSES) for stem in stems(2)] == [2, 0]
    assert truth.wnids == ("n01440764", "n01514668")


def test_a_name_and_a_label_on_each_line(tmp_path):
    (tmp_path / "truth.txt").write_text(
        "val/ILSVRC2012_val_00000002.JPEG 1\nILSVRC2012_val_00000001 7\n"
    )
    truth = read_ground_truth(str(tmp_path / "truth.txt"))
    assert truth.label("ILSVRC2012_val_00000002", CLASSES) == 1
    with pytest.raises(DataError, match=r"label 7 for .*, expected a label from 0 to 2"):
        truth.label("ILSVRC2012_val_00000001", CLASSES)
    with pytest.raises(DataError, match="no line for ILSVRC2012_val_00000003"):
        truth.label("ILSVRC2012_val_00000003", CLASSES)


def test_bare_ids_are_refused_with_the_reason(tmp_path):
    (tmp_path / "truth.txt").write_text("490\n361\n")
    with pytest.raises(DataError, match=r"only the kit says which is which: give source\.devkit="):
        read_ground_truth(str(tmp_path / "truth.txt"))


@pytest.mark.parametrize("text", ["", "a b c\n", "a 1\na 2\n", "a 1\nb x\n"])
def test_other_text(tmp_path, text):
    (tmp_path / "truth.txt").write_text(text)
    with pytest.raises(DataError, match="lines that are neither"):
        read_ground_truth(str(tmp_path / "truth.txt"))
