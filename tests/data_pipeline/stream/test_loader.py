import itertools

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from hypothesis import settings
from PIL import Image

from data_pipeline.images.crop import mirrored
from data_pipeline.order.exclusion import Exclusion
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import ImageFolder
from data_pipeline.stream.loader import open_stream
from data_pipeline.stream.split import read_split
from system.foundation.cursor import Cursor
from system.foundation.errors import DataError
from system.foundation.nouns import Batch
from system.foundation.world import World

GLOBAL_BATCH = 120


def stream(manifest, data, **options):
    defaults = {
        "seed": 5,
        "world": World(),
        "global_batch": GLOBAL_BATCH,
        "micro_batch": GLOBAL_BATCH,
        "images_seen": 0,
    }
    return open_stream(manifest, data, **(defaults | options))


def joined(batches):
    return Batch(
        torch.cat([batch.image for batch in batches]),
        torch.cat([batch.label for batch in batches]),
        torch.cat([batch.position for batch in batches]),
        tuple(itertools.chain.from_iterable(batch.key for batch in batches)),
    )


def global_batches(manifest, data, count, *, size=1, cuts=1, **options):
    """The first global batches of all ranks together, and the cursor behind the last."""
    micro = GLOBAL_BATCH // size // cuts
    ranks = [
        stream(manifest, data, world=World(rank, size), micro_batch=micro, **options)
        for rank in range(size)
    ]
    whole = []
    for _ in range(count):
        steps = [[next(rank) for _ in range(cuts)] for rank in ranks]
        assert len({step[-1][1] for step in steps}) == 1
        whole.append(joined([batch for step in steps for batch, _ in step]))
    return joined(whole), steps[0][-1][1]


def assert_same(one, other):
    assert one.key == other.key
    assert torch.equal(one.position, other.position)
    assert torch.equal(one.label, other.label)
    assert torch.equal(one.image, other.image)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_the_cut_never_changes_the_global_batch(digits, digits_data, data):
    settings_ = digits_data(flip=True, window_shards=data.draw(st.integers(1, 20)))
    options = {
        "images_seen": data.draw(st.integers(0, 5000)),
        "seed": data.draw(st.integers(0, 2**31)),
    }
    size = data.draw(st.sampled_from([2, 3, 5, 8]))
    share = GLOBAL_BATCH // size
    cuts = data.draw(st.sampled_from([n for n in range(1, share + 1) if share % n == 0]))
    expected, cursor = global_batches(digits, settings_, 2, **options)
    assert cursor.images_seen == options["images_seen"] + 2 * GLOBAL_BATCH
    cut, cut_cursor = global_batches(digits, settings_, 2, size=size, cuts=cuts, **options)
    assert_same(cut, expected)
    assert cut_cursor == cursor


@pytest.mark.parametrize("workers", [1, 2])
def test_decoding_processes_never_change_it(photos, photo_data, workers):
    for size in (1, 3):
        expected, _ = global_batches(photos, photo_data(), 2, size=size, cuts=2)
        parallel, _ = global_batches(photos, photo_data(workers=workers), 2, size=size, cuts=2)
        assert_same(parallel, expected)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_every_key_exactly_once_per_epoch(digits, digits_data, size):
    assert digits.samples % GLOBAL_BATCH, "the epoch's edge lies within a batch"
    count = -(-2 * digits.samples // GLOBAL_BATCH)
    seen, _ = global_batches(digits, digits_data(), count, size=size, cuts=1)
    assert seen.position.tolist() == list(range(count * GLOBAL_BATCH))
    keys = sorted(key for shard in digits.shards for key in shard.keys)
    first, second = seen.key[: digits.samples], seen.key[digits.samples : 2 * digits.samples]
    assert sorted(first) == sorted(second) == keys
    assert first != second


@pytest.mark.parametrize(("stop", "size"), [(1, 3), (4, 1), (12, 5)])
def test_resuming_at_any_size_continues_the_same_stream(digits, digits_data, stop, size):
    data = digits_data(flip=True)
    whole, _ = global_batches(digits, data, stop + 2)
    _, cursor = global_batches(digits, data, stop, size=2, cuts=3)
    rest, _ = global_batches(
        digits, data, 2, size=size, images_seen=cursor.images_seen, seed=cursor.seed
    )
    assert whole.key[stop * GLOBAL_BATCH :] == rest.key
    assert torch.equal(whole.image[stop * GLOBAL_BATCH :], rest.image)


def test_a_cursor_moves_when_a_global_batch_is_whole(digits, digits_data):
    batches = stream(digits, digits_data(), micro_batch=40, images_seen=1000)
    places = [cursor.images_seen for _, cursor in itertools.islice(batches, 6)]
    assert places == [1000, 1000, 1120, 1120, 1120, 1240]
    assert next(batches)[1] == Cursor(1240, 5, digits.digest)


@pytest.mark.parametrize("size", [1, 3])
def test_batches_that_are_left_out_never_come_and_the_others_stay_as_they_were(
    digits, digits_data, size
):
    whole, _ = global_batches(digits, digits_data(), 5)
    left_out = Exclusion(((130, 131), (2 * GLOBAL_BATCH, 3 * GLOBAL_BATCH)))
    found, cursor = global_batches(digits, digits_data(), 3, size=size, exclusion=left_out)
    kept = [*range(GLOBAL_BATCH), *range(3 * GLOBAL_BATCH, 5 * GLOBAL_BATCH)]
    assert found.position.tolist() == kept
    assert found.key == tuple(whole.key[position] for position in kept)
    assert torch.equal(found.image, whole.image[kept])
    assert cursor.images_seen == 5 * GLOBAL_BATCH


@pytest.mark.parametrize("flip", [False, True])
def test_a_batch_holds_the_pixels_of_its_keys(digits, digits_data, flip):
    data = digits_data(flip=flip)
    batch, _ = next(stream(digits, data, images_seen=777))
    split = read_split(digits, data)
    rows = [split.keys.index(key) for key in batch.key]
    expected = split.image[rows].float() / 127.5 - 1
    if flip:
        turned = torch.from_numpy(mirrored(5, batch.position.tolist()))
        expected[turned] = expected[turned].flip(-1)
        assert 20 < turned.sum() < 100
    assert batch.image.dtype == torch.float32
    assert batch.label.dtype == batch.position.dtype == torch.int64
    assert torch.equal(batch.image, expected)
    assert torch.equal(batch.label, split.label[rows])
    assert batch.image.min() == -1
    assert batch.image.max() == 1


@pytest.fixture
def damaged(digits_copy):
    """The digits with one sample's bytes changed: the manifest, the key and its first position."""
    manifest = read_manifest(str(digits_copy)).split("train")
    shard = manifest.shards[3]
    path = digits_copy / shard.name
    content = bytearray(path.read_bytes())
    content[int(shard.offsets[20]) + 30] ^= 0xFF
    path.write_bytes(bytes(content))
    return manifest, shard.keys[20]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("size", [1, 3])
def test_a_bad_sample_is_told_and_replaced_by_the_next(damaged, digits, digits_data, workers, size):
    manifest, key = damaged
    count = -(-manifest.samples // GLOBAL_BATCH)
    intact, _ = global_batches(digits, digits_data(), count + 1)
    told = []
    seen, _ = global_batches(
        manifest,
        digits_data(max_bad_fraction=0.01, workers=workers),
        count,
        size=size,
        on_bad_sample=told.append,
    )
    place = intact.key.index(key)
    expected = list(intact.key[: count * GLOBAL_BATCH])
    for position in [n for n, each in enumerate(expected) if each == key]:
        expected[position] = intact.key[position + 1]
    assert list(seen.key) == expected
    assert torch.equal(seen.image[place], intact.image[place + 1])
    assert seen.label[place] == intact.label[place + 1]
    assert seen.position[place] == place
    assert told[0][:2] == (key, "bytes differ from those packed")
    assert told[0][3:] == (place, intact.key[place + 1])
    assert len(told) == intact.key[: count * GLOBAL_BATCH].count(key)


def test_bad_samples_are_logged_when_nobody_listens(damaged, digits_data, caplog):
    manifest, key = damaged
    batches = stream(manifest, digits_data(max_bad_fraction=0.01))
    while not batches.account.bad:
        next(batches)
    assert f"bad sample {key} at position" in caplog.text
    assert batches.account.images % GLOBAL_BATCH == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_bad_samples_stop_the_run(damaged, digits_data, workers):
    manifest, key = damaged
    batches = stream(manifest, digits_data(workers=workers))
    with pytest.raises(DataError) as caught:
        list(itertools.islice(batches, 13))
    for part in (key, manifest.url, "train-000003.tar bytes ", "bytes differ", "max_bad_fraction"):
        assert part in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_few_early_bad_samples_may_pass(damaged, digits_data):
    manifest, key = damaged
    stream_ = stream(manifest, digits_data(max_bad_fraction=1.5 / manifest.samples))
    seen = itertools.chain.from_iterable(next(stream_)[0].key for _ in range(12))
    assert key not in set(seen)


def test_nothing_but_bad_samples(digits_copy, digits_data):
    manifest = read_manifest(str(digits_copy)).split("held_out")
    for shard in manifest.shards:
        path = digits_copy / shard.name
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DataError, match=r"not one of .* samples can be used"):
        next(stream(manifest, digits_data(max_bad_fraction=0.999)))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_vanished_stops_the_run(digits_copy, digits_data, workers):
    manifest = read_manifest(str(digits_copy)).split("train")
    batches = stream(manifest, digits_data(workers=workers))
    for path in digits_copy.glob("train-*.tar"):
        path.unlink()
    with pytest.raises(DataError, match="this shard is gone"):
        next(batches)


def test_decoders_that_fell_back_are_counted(photo_recipe, tmp_path, photographs, photo_data):
    for name in "abc":
        (tmp_path / "in" / name).mkdir(parents=True)
        picture = Image.fromarray(photographs[0][:50, :50])
        picture.convert("CMYK").save(tmp_path / "in" / name / f"{name}.jpg")
    recipe = photo_recipe(tmp_path / "out", source=ImageFolder(url=str(tmp_path / "in")))
    batches = stream(pack(recipe).manifest, photo_data(), global_batch=3, micro_batch=3)
    next(batches)
    assert batches.account.counted["simplejpeg: CMYK is left to Pillow"] == 3


def test_other_data_is_refused_before_anything_starts(digits, digits_data):
    with pytest.raises(DataError, match="other data than the recipe"):
        stream(digits, digits_data(classes=1000))


def test_a_manifest_of_both_splits_is_not_a_stream(digits_url, digits_data):
    with pytest.raises(AssertionError, match="one split"):
        stream(read_manifest(digits_url), digits_data())
