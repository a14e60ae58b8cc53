import io
import json
import re
import shutil

import fsspec
import numpy as np
import pytest
import webdataset
from PIL import Image

from data_pipeline.images.crop import centre_crop
from data_pipeline.images.decode import decode
from data_pipeline.pack.pack import pack
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.pack.recipe import Square
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import Ilsvrc2012
from data_pipeline.sources.source import ImageFolder
from data_pipeline.sources.source import Parquet
from data_pipeline.sources.source import Photographs
from data_pipeline.sources.source import open_source
from system.foundation import storage
from system.foundation.errors import DataError
from tests.data_pipeline.archives import write_train
from tests.data_pipeline.archives import write_tree
from tests.data_pipeline.tables import NAMES
from tests.data_pipeline.tables import write_table


def stored(manifest, sample):
    """The bytes of a sample's image."""
    shard, row = manifest.locate(sample)
    place = storage.join(manifest.url, shard.name)
    return storage.read_range(place, int(shard.offsets[row]), int(shard.lengths[row]))


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_bytes_every_time(digits_url, digits_recipe, tmp_path):
    pack(digits_recipe(tmp_path / "again"))
    pack(digits_recipe("memory://again"))
    files = contents(tmp_path / "again")
    assert files == {
        path.rsplit("/", 1)[-1]: content
        for path, content in fsspec.filesystem("memory").cat("/again/*").items()
    }
    again, first = read_manifest(str(tmp_path / "again")), read_manifest(digits_url)
    assert again.digest == first.digest == read_manifest("memory://again").digest
    fsspec.filesystem("memory").rm("/again", recursive=True)


def test_bytes_of_a_folder_are_kept(photo_folder, photos):
    assert photos.samples == 24
    assert [shard.samples for shard in photos.shards] == [5, 5, 5, 5, 4]
    for sample in range(photos.samples):
        key = photos.key(sample)
        assert stored(photos, sample) == (photo_folder / f"{key}.JPEG").read_bytes()
        assert photos.class_names[photos.labels[sample]] == key.split("/")[0]


def test_shards_mix_the_classes(digits):
    for shard in digits.shards:
        assert len(set(shard.labels.tolist())) == 10


def test_plain_webdataset_reads_the_shards(digits_url, digits):
    names = f"{digits_url}/train-{{000000..{len(digits.shards) - 1:06d}}}.tar"
    samples = list(webdataset.WebDataset(names, shardshuffle=False).decode("l8"))
    assert [sample["__key__"] for sample in samples] == [
        digits.key(i) for i in range(digits.samples)
    ]
    assert [sample["cls"] for sample in samples] == digits.labels.tolist()
    assert samples[0]["png"].shape == (8, 8)


def test_over_the_same_pack_nothing_is_done(digits_copy, digits_recipe):
    before = {path: path.stat().st_mtime_ns for path in digits_copy.iterdir()}
    packed = pack(digits_recipe(digits_copy))
    assert "already packed" in packed.summary()
    assert packed.manifest.samples == 1797
    assert {path: path.stat().st_mtime_ns for path in digits_copy.iterdir()} == before


@pytest.mark.parametrize("gone", ["manifest.parquet", "pack_report.json"])
def test_what_was_interrupted_is_finished(digits_copy, digits_recipe, gone):
    before = contents(digits_copy)
    (digits_copy / gone).unlink()
    (digits_copy / "train-000002.tar").unlink()
    assert "1797 images packed, 0 left out" in pack(digits_recipe(digits_copy)).summary()
    assert contents(digits_copy) == before


def test_what_a_finished_pack_has_lost_is_restored_and_nothing_else(digits_copy, digits_recipe):
    before = contents(digits_copy)
    times = {path.name: path.stat().st_mtime_ns for path in digits_copy.iterdir()}
    (digits_copy / "train-000001.tar").write_bytes(b"short")
    (digits_copy / "train-000002.tar").unlink()
    packed = pack(digits_recipe(digits_copy))
    assert "2 missing or damaged shards restored" in packed.summary()
    assert contents(digits_copy) == before
    made = {p.name for p in digits_copy.iterdir() if p.stat().st_mtime_ns != times[p.name]}
    assert made == {"train-000001.tar", "train-000002.tar"}


def test_what_cannot_be_restored_as_it_was(photo_folder, photo_recipe, tmp_path):
    source = shutil.copytree(photo_folder, tmp_path / "source")
    source_recipe = ImageFolder(url=str(source))
    recipe = photo_recipe(tmp_path / "out", source=source_recipe, check="header")
    pack(recipe)
    for path in source.rglob("*.JPEG"):  # of the same size, so that no listing tells
        path.write_bytes(path.read_bytes()[:-2] + b"\0\0")
    (tmp_path / "out" / "train-000001.tar").unlink()
    with pytest.raises(DataError, match=r"train-000001\.tar: made again it has digest"):
        pack(recipe)
    assert not (tmp_path / "out" / "train-000001.tar").exists()


def test_over_another_pack_nothing_is_harmed(digits_copy, digits_recipe, photo_recipe):
    before = contents(digits_copy)
    with pytest.raises(DataError, match=r"another pack \(different: shard_samples\)"):
        pack(digits_recipe(digits_copy, shard_samples=7))
    with pytest.raises(DataError, match=r"another pack \(different: .*source"):
        pack(photo_recipe(digits_copy))
    (digits_copy / "pack.json").write_text("{")
    with pytest.raises(DataError, match=r"pack\.json: damaged"):
        pack(digits_recipe(digits_copy))
    (digits_copy / "pack.json").unlink()
    with pytest.raises(DataError, match=r"held_out-000000\.tar and 19 more files .* no pack\.json"):
        pack(digits_recipe(digits_copy))
    before.pop("pack.json")
    assert contents(digits_copy) == before


def test_a_source_that_changed_is_another_pack(photo_folder, photo_recipe, tmp_path):
    source = shutil.copytree(photo_folder, tmp_path / "source")
    recipe = photo_recipe(tmp_path / "out", source=ImageFolder(url=str(source)))
    pack(recipe)
    (source / "water" / "water_3.JPEG").unlink()
    with pytest.raises(DataError, match="different: the source's files"):
        pack(recipe)


def test_crops_are_stored_without_loss(photo_folder, photo_recipe, tmp_path):
    manifest = pack(photo_recipe(tmp_path / "out", store=Square(size=24))).manifest
    assert manifest.image_size == 24
    for sample in range(manifest.samples):
        original = (photo_folder / f"{manifest.key(sample)}.JPEG").read_bytes()
        expected = centre_crop(decode(original, 3).image, 24)
        assert np.array_equal(decode(stored(manifest, sample), 3).image, expected)


@pytest.fixture
def odd_folder(tmp_path, photographs, jpeg):
    """A source with one of every kind of trouble."""
    folder = tmp_path / "odd" / "cat"
    folder.mkdir(parents=True)
    picture = Image.fromarray(photographs[0][:40, :40])
    for index in range(8):
        (folder / f"good{index}.jpg").write_bytes(jpeg(photographs[0][index : index + 30, :30]))
    exif = Image.Exif()
    exif[0x0112] = 3
    picture.save(folder / "turned.jpg", exif=exif)
    picture.convert("CMYK").save(folder / "inks.jpg")
    picture.convert("P").save(folder / "palette.png")
    picture.save(folder / "misnamed.JPEG", format="PNG")
    Image.fromarray(photographs[0][:30, :30, 0].astype(np.uint16) * 257).save(folder / "deep.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.jpg").write_bytes(b"<html>")
    (folder / "half.jpg").write_bytes(jpeg(photographs[0])[:5000])
    (folder / "list.txt").write_text("ignored")
    return tmp_path / "odd"


def test_odd_images_are_handled_on_purpose_and_listed(odd_folder, photo_recipe, tmp_path):
    out = tmp_path / "out"
    recipe = photo_recipe(out, source=ImageFolder(url=str(odd_folder)), max_bad_fraction=0.5)
    packed = pack(recipe)
    report = json.loads((out / "pack_report.json").read_text())
    left_out = {entry["key"]: entry["reason"] for entry in report["left_out"]}
    assert left_out.keys() == {"cat/empty", "cat/page", "cat/half"}
    assert left_out["cat/empty"] == "zero bytes"
    assert left_out["cat/page"] == "not an image"
    notes = {(entry["key"], entry["reason"]) for entry in report["unusual"]}
    assert notes == {
        ("cat/turned", "rotated by EXIF, used as stored"),
        ("cat/inks", "mode CMYK"),
        ("cat/inks", "simplejpeg: CMYK is left to Pillow"),
        ("cat/palette", "mode P"),
        ("cat/deep", "mode I;16"),
        ("cat/misnamed", "named jpeg, but its bytes are png"),
    }
    assert report["counts"]["left_out"]["zero bytes"] == 1
    assert report["packed"] == packed.manifest.samples == 13
    assert report["ignored_files"] == ["cat/list.txt"]
    assert report["finished"]
    inks = next(entry for entry in report["unusual"] if entry["key"] == "cat/inks")
    assert (inks["place"], inks["split"]) == ("cat/inks.jpg", "train")


def test_a_shard_of_nothing_but_bad_images_is_not_written(odd_folder, photo_recipe, tmp_path):
    source = ImageFolder(url=str(odd_folder))
    recipe = photo_recipe(tmp_path / "out", source=source, max_bad_fraction=0.5, shard_samples=1)
    manifest = pack(recipe).manifest
    assert [shard.samples for shard in manifest.shards] == [1] * 13
    assert read_manifest(str(tmp_path / "out")).digest == manifest.digest


def test_a_header_check_looks_no_further(odd_folder, photo_recipe, tmp_path):
    source = ImageFolder(url=str(odd_folder))
    recipe = photo_recipe(tmp_path / "out", source=source, max_bad_fraction=0.5, check="header")
    assert pack(recipe).manifest.samples == 14  # the truncated one passes


def test_too_many_bad_images_stop_the_packer(odd_folder, photo_recipe, tmp_path):
    recipe = photo_recipe(tmp_path / "out", source=ImageFolder(url=str(odd_folder)))
    with pytest.raises(
        DataError, match="1 of 16 images cannot be used, more than max_bad_fraction"
    ):
        pack(recipe)
    assert not (tmp_path / "out" / "manifest.parquet").exists()


def test_a_refusal_leaves_its_report_until_the_pack_succeeds(odd_folder, photo_recipe, tmp_path):
    source, place = ImageFolder(url=str(odd_folder)), tmp_path / "out" / "pack_report.json"
    recipe = photo_recipe(tmp_path / "out", source=source, max_bad_fraction=0.1, shard_samples=4)
    with pytest.raises(DataError, match=re.escape(f"{place} names all that were found so far")):
        pack(recipe)
    report = json.loads(place.read_text())
    assert not report["finished"]
    assert len(report["left_out"]) == 2
    with pytest.raises(DataError, match=r"unfinished pack with other options \(different: check\)"):
        pack(recipe.model_copy(update={"check": "header"}))
    looser = {"max_bad_fraction": 0.5}
    assert pack(recipe.model_copy(update=looser)).manifest.samples == 13
    pack(recipe.model_copy(update=looser | {"out": str(tmp_path / "at_once")}))
    assert contents(tmp_path / "out") == contents(tmp_path / "at_once")
    before = contents(tmp_path / "out")
    assert "already packed" in pack(recipe).summary()  # under the bound of before
    assert contents(tmp_path / "out") == before


def test_a_source_of_nothing_but_bad_images(tmp_path, photo_recipe):
    (tmp_path / "in" / "cat").mkdir(parents=True)
    (tmp_path / "in" / "cat" / "a.jpg").write_bytes(b"")
    source = ImageFolder(url=str(tmp_path / "in"))
    with pytest.raises(DataError, match="1 of 1 images cannot be used"):
        pack(photo_recipe(tmp_path / "out", source=source, max_bad_fraction=0.999))


def test_digits_of_one_size_know_it(digits_url, photos):
    assert read_manifest(digits_url).image_size == 8
    assert photos.image_size is None


def test_pngs_of_digits_are_grey(digits):
    data = stored(digits, 0)
    assert Image.open(io.BytesIO(data)).mode == "L"


def test_the_first_of_two_images_with_one_key_is_kept_and_the_other_listed(
    tmp_path, jpeg, photographs
):
    (tmp_path / "in" / "cat").mkdir(parents=True)
    first, second = jpeg(photographs[0][:30, :30]), jpeg(photographs[1][:30, :30])
    (tmp_path / "in" / "cat" / "a.jpg").write_bytes(first)
    (tmp_path / "in" / "cat" / "a.png").write_bytes(second)
    recipe = PackRecipe(
        source=ImageFolder(url=str(tmp_path / "in")),
        out=str(tmp_path / "out"),
        max_bad_fraction=0.5,
    )
    packed = pack(recipe)
    assert stored(packed.manifest, 0) == first
    assert packed.report.left_out == [
        {
            "key": "cat/a",
            "place": "cat/a.png",
            "split": "train",
            "kept": "cat/a.jpg",
            "reason": "duplicate key",
        }
    ]
    again = recipe.model_copy(update={"max_bad_fraction": 0.0, "out": str(tmp_path / "other")})
    with pytest.raises(DataError, match=r"1 of 2 images .* cat/a \(duplicate key\)"):
        pack(again)


def test_archives_as_distributed_give_the_shards_of_the_unpacked_tree(tmp_path, photo_folder):
    images = [path.read_bytes() for path in sorted(photo_folder.rglob("*.JPEG"))]
    archive = Ilsvrc2012(train=str(write_train(tmp_path, images)))
    tree = ImageFolder(url=str(write_tree(tmp_path, images)))
    for name, source in [("archive", archive), ("tree", tree)]:
        pack(PackRecipe(source=source, out=str(tmp_path / name), shard_samples=7))
    tars = [
        {name: data for name, data in contents(tmp_path / out).items() if name.endswith(".tar")}
        for out in ("archive", "tree")
    ]
    assert tars[0] == tars[1]
    assert len(tars[0]) == 4
    digests = [read_manifest(str(tmp_path / out)).digest for out in ("archive", "tree")]
    assert digests[0] == digests[1]


def test_a_table_is_packed_with_the_names_of_its_classes(tmp_path, photo_folder):
    images = [path.read_bytes() for path in sorted(photo_folder.rglob("*.JPEG"))]
    write_table(tmp_path / "in" / "train-0.parquet", images[:20])
    write_table(tmp_path / "in" / "validation-0.parquet", images[20:])
    source = Parquet(url=str(tmp_path / "in"), held_out_files="validation-*")
    manifest = pack(PackRecipe(source=source, out=str(tmp_path / "out"), shard_samples=6)).manifest
    assert manifest.class_names == NAMES
    assert manifest.split("held_out").samples == 4
    assert {stored(manifest, sample) for sample in range(24)} == set(images)


def test_shards_by_weight(tmp_path, photo_recipe):
    recipe = photo_recipe(tmp_path / "out", shard_samples=None, shard_bytes=40_000)
    shards = pack(recipe).manifest.shards
    assert len(shards) > 2
    # The plan counts what samples weigh; the end of a tar is filled up beyond that.
    assert max(shard.bytes for shard in shards) <= 40_000 + 2 * 10_240


def test_a_bound_may_change_when_a_pack_is_taken_up_again(odd_folder, photo_recipe, tmp_path):
    recipe = photo_recipe(tmp_path / "out", source=ImageFolder(url=str(odd_folder)))
    with pytest.raises(DataError, match="raise max_bad_fraction and start again"):
        pack(recipe)
    packed = pack(recipe.model_copy(update={"max_bad_fraction": 0.5}))
    assert packed.manifest.samples == 13
    assert packed.manifest.options["max_bad_fraction"] == 0.5


def test_workers_and_memory_do_not_go_together(digits_recipe):
    with pytest.raises(DataError, match="memory is of one process"):
        pack(digits_recipe("memory://out", workers=2))


def test_a_source_with_splits_of_its_own_keeps_them(tmp_path):
    recipe = PackRecipe(source=Photographs(stride=48), out=str(tmp_path / "photographs"))
    manifest = pack(recipe).manifest
    assert manifest.image_size == 16
    source = open_source(recipe.source)
    expected = {entry.key: entry.split for entry in source.entries}
    found = {key: shard.split for shard in manifest.shards for key in shard.keys}
    assert found == expected
    with pytest.raises(DataError, match=r"photographs has splits of its own"):
        pack(recipe.model_copy(update={"held_out_fraction": 0.1, "out": str(tmp_path / "other")}))
