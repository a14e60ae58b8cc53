import numpy as np
import pytest

from data_pipeline.decoding.assembly import POISON
from data_pipeline.decoding.assembly import Assembler
from data_pipeline.decoding.image_reader import ImageReader
from data_pipeline.shards.columns import digest_of
from system.foundation.errors import DataError


def filled(assembler, start, rows, poison=()):
    pixels, labels = np.zeros((rows, 8, 8, 1), np.uint8), np.zeros(rows, np.int64)
    return assembler.fill(start, pixels, labels, poison), pixels, labels


def test_rows_hold_what_the_order_says(digits, digits_data):
    assembler = Assembler(digits, digits_data(), 5)
    told, pixels, labels = filled(assembler, 40, 20)
    samples = assembler.order.samples(40, 60)
    expected, bad = ImageReader(digits, digits_data()).read_many(samples)
    assert not bad
    assert np.array_equal(pixels, expected)
    assert np.array_equal(labels, digits.labels[samples])
    assert told.keys == [digits.key(sample) for sample in samples.tolist()]


def test_mirroring_belongs_to_the_position(digits, digits_data):
    plain = filled(Assembler(digits, digits_data(), 5), 0, 40)[1]
    flipped = filled(Assembler(digits, digits_data(flip=True), 5), 0, 40)[1]
    turned = [not np.array_equal(one, other) for one, other in zip(plain, flipped, strict=True)]
    assert 5 < sum(turned) < 35
    assert np.array_equal(flipped[turned], plain[turned][:, :, ::-1])
    part = filled(Assembler(digits, digits_data(flip=True), 5), 13, 9)[1]
    assert np.array_equal(part, flipped[13:22])


def test_poisonous_positions_are_bad_and_replaced_by_the_next(digits, digits_data):
    assembler = Assembler(digits, digits_data(), 5)
    clean, pixels, labels = filled(assembler, 0, 12)
    told, replaced, others = filled(assembler, 0, 10, poison=(3, 4, 9))
    assert [(each.key, each.reason, each.position, each.replaced_by) for each in told.bad] == [
        (clean.keys[position], POISON, position, clean.keys[later])
        for position, later in [(3, 5), (4, 5), (9, 10)]
    ]
    source = [0, 1, 2, 5, 5, 5, 6, 7, 8, 10]
    assert told.keys == [clean.keys[position] for position in source]
    assert np.array_equal(replaced, pixels[source])
    assert np.array_equal(others, labels[source])


def test_nothing_but_poison(digits, digits_data):
    assembler = Assembler(digits, digits_data(), 5)
    with pytest.raises(DataError, match=r"not one of \d+ samples can be used"):
        filled(assembler, 0, 1, poison=range(2 * digits.samples))


def test_digests_are_told_apart_by_epoch(digits, digits_data):
    assembler, length = Assembler(digits, digits_data(), 5), digits.samples
    told, _, _ = filled(assembler, length - 3, 10)
    assert told.digests == [(0, digest_of(told.keys[:3])), (1, digest_of(told.keys[3:]))]
    within, _, _ = filled(assembler, 5 * length, 4)
    assert within.digests == [(5, digest_of(within.keys))]
