import pytest
from pydantic import ValidationError

from system.evaluation.crews.request import FeatureRequest


def changed(record, **changes):
    return record.model_copy(update=changes)


def test_the_key_covers_what_decides_the_bits(make_request):
    request = make_request()
    source, (choice,) = request.source, request.detectors
    sampler = changed(source.drawing.sampler, temperature=0.9)
    others = [
        make_request(keep_images=True),
        make_request(device="cuda"),
        make_request(source=changed(source, count=299)),
        make_request(source=changed(source, digest="0" * 32)),
        make_request(source=changed(source, rounding="truncate")),
        make_request(source=changed(source, label=None)),
        make_request(source=changed(source, label=(1, *source.label[1:]))),
        make_request(source=changed(source, drawing=changed(source.drawing, seed=1))),
        make_request(source=changed(source, drawing=changed(source.drawing, sampler=sampler))),
        make_request(detectors=(changed(choice, digest="0" * 32),)),
    ]
    assert len({request.key, *(other.key for other in others)}) == len(others) + 1


def test_the_key_covers_neither_places_nor_the_cut(make_request):
    request = make_request()
    moved = make_request(
        source=changed(request.source, checkpoint="s3://elsewhere/1-1"),
        detectors=(changed(request.detectors[0], weights="s3://elsewhere/d.safetensors"),),
        batch=7,
        batches_in_flight=3,
    )
    assert moved.key == request.key
    assert FeatureRequest.model_validate_json(request.model_dump_json()).key == request.key


@pytest.mark.parametrize(
    ("batch", "lengths"),
    [
        (1, [64, 64, 64, 64, 44]),
        (64, [64, 64, 64, 64, 44]),
        (100, [128, 128, 44]),
        (10_000, [300]),
    ],
)
def test_units_are_whole_passes(make_request, batch, lengths):
    units = make_request(batch=batch).units()
    assert [len(unit) for unit in units] == lengths
    assert [number for unit in units for number in unit] == [*range(300)]


def test_what_is_finished_under_another_cut_is_not_cut_again(make_request):
    request = make_request(batch=128)
    assert request.units([range(64, 128), range(256, 300)]) == [range(64), range(128, 256)]
    assert request.units([range(128), range(64, 300)]) == []


def test_a_request_for_nothing_or_twice_the_same_is_refused(make_request):
    with pytest.raises(ValidationError, match="expected one of the two"):
        make_request(detectors=())
    choice = make_request().detectors[0]
    with pytest.raises(ValidationError, match="each name once"):
        make_request(detectors=(choice, choice))
