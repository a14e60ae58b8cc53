import subprocess
import sys

from system.foundation.philox import generator

WORDS = [14158914791933929344, 590963773793659694]


def test_a_position_is_reached_without_drawing_those_before_it() -> None:
    one_by_one = [generator(3, "order", position).random() for position in range(5)]
    assert generator(3, "order", 4).random() == one_by_one[4]
    assert len(set(one_by_one)) == 5


def test_draws_are_the_recorded_ones() -> None:
    # Changing these numbers changes the order of every run's images.
    words = generator(0, "order/shards", 7).bit_generator.random_raw(2)
    assert words.tolist() == WORDS


def test_decoding_processes_need_no_torch() -> None:
    program = "import sys, system.foundation.philox; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
