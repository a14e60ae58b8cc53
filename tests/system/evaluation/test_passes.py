from system.evaluation.passes import PASS
from system.evaluation.passes import passes


def test_passes_have_one_size_and_begin_at_its_multiples():
    found = [*passes(range(PASS + 3, 3 * PASS + 1))]
    assert [whole.start for whole, _ in found] == [PASS, 2 * PASS, 3 * PASS]
    assert {len(whole) for whole, _ in found} == {PASS}
    asked = [number for whole, part in found for number in whole[part]]
    assert asked == [*range(PASS + 3, 3 * PASS + 1)]


def test_nothing_is_no_pass():
    assert [*passes(range(0))] == []
