"""What of the watching task needs no Ray; the rest is seen in launch/test_run_evaluations.py."""

from ray.train import Checkpoint

from system.evaluation.task import url_of


def test_a_checkpoint_of_this_machine_is_its_path(tmp_path):
    assert url_of(Checkpoint.from_directory(str(tmp_path))) == str(tmp_path)
