import pytest
import torch

from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.crew import Worker
from system.evaluation.crews.store import UnitStore
from system.evaluation.sources.any_source import open_source
from system.foundation.errors import NumericsError


def test_a_unit_is_what_the_detector_makes_of_its_images(make_request, detector):
    request = make_request(keep_images=True)
    found = Worker(request).compute(range(64, 128))
    image = open_source(request.source).images(range(64, 128))
    assert torch.equal(found["images"], image)
    seen = detector.look(image)
    assert torch.equal(found["digits-cnn/features"], seen.features)
    assert torch.equal(found["digits-cnn/logits"], seen.logits)
    assert torch.equal(found["digits-cnn/spatial"], seen.spatial)


def test_threads_of_the_caller_are_left_alone_and_change_nothing(make_request):
    request, before = make_request(), torch.get_num_threads()
    one = Worker(request).compute(range(64))
    torch.set_num_threads(2)
    try:
        two = Worker(request).compute(range(64))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for name, array in one.items():
        assert torch.equal(two[name], array), name


def test_features_that_are_not_finite_are_counted_and_refused(make_request):
    worker = Worker(make_request())
    network = worker.detectors[0].network
    weight = network.head.weight.clone()
    try:
        network.head.weight[0, 0] = torch.nan
        with pytest.raises(NumericsError, match=r"logits of digits-cnn .* 64 of 64 images"):
            worker.compute(range(64))
    finally:
        network.head.weight.copy_(weight)


def test_alone_it_computes_the_units_it_is_given(make_request, tmp_path):
    store = UnitStore(str(tmp_path))
    AloneCrew().run(make_request(), [range(64, 128), range(256, 300)], store)
    assert store.finished() == [range(64, 128), range(256, 300)]
    AloneCrew().run(make_request(source=gone(make_request().source)), [], store)  # opens nothing


def test_other_bits_the_second_time_are_an_alarm(make_request, tmp_path, caplog):
    request, store = make_request(), UnitStore(str(tmp_path))
    AloneCrew().run(request, [range(64)], store)
    AloneCrew().run(request, [range(64)], store)
    assert not caplog.records
    other = make_request(source=request.source.model_copy(update={"rounding": "truncate"}))
    AloneCrew().run(other, [range(64)], store)
    assert "images 0 to 63 were computed a second time with other bits" in caplog.text


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits_each_time(make_request):
    units = [Worker(make_request(device="cuda", keep_images=True)) for _ in range(2)]
    first, second = (worker.compute(range(64, 192)) for worker in units)
    part = units[0].compute(range(128, 192))
    for name, array in first.items():
        assert torch.equal(second[name], array), name
        assert torch.equal(part[name], array[64:]), name


def gone(source):
    return source.model_copy(update={"checkpoint": "/nowhere"})
