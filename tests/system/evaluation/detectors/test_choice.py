import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file

from system.evaluation.detectors.choice import AnyDetector
from system.evaluation.detectors.choice import DigitsChoice
from system.evaluation.detectors.choice import digits_choice
from system.evaluation.detectors.choice import inception_choice
from system.evaluation.detectors.choice import open_detector
from system.evaluation.detectors.digits import Training
from system.evaluation.detectors.digits import digits_detector
from system.evaluation.detectors.digits import digits_url
from system.foundation.errors import BadInput
from system.foundation.errors import DataError

QUICK = Training(epochs=1, width=8, features=16)


@pytest.fixture(scope="module")
def stored(train, tmp_path_factory):
    """A detector trained for a moment, and where it is stored."""
    folder = str(tmp_path_factory.mktemp("detectors"))
    made = digits_detector(train, classes=10, data_digest="data", folder=folder, training=QUICK)
    return made, digits_url(folder, "data", QUICK)


def test_a_record_opens_the_stored_digits_detector(stored, train):
    made, url = stored
    choice = DigitsChoice.model_validate_json(digits_choice(url).model_dump_json())
    assert (choice.name, choice.digest, choice.resize) == (made.name, made.digest, made.resize)
    opened = open_detector(choice)
    assert torch.equal(opened.look(train.image[:9]).logits, made.look(train.image[:9]).logits)
    assert open_detector(choice) is opened  # once in a process


def test_weights_replaced_since_they_were_chosen_are_refused(stored, tmp_path):
    made, _ = stored
    file = tmp_path / "other.safetensors"
    save_file(made.network.state_dict(), file)
    choice = digits_choice(str(file))
    changed = {name: value + 1 for name, value in made.network.state_dict().items()}
    save_file(changed, file)
    with pytest.raises(DataError, match=f"expected {choice.digest}"):
        open_detector(choice)


def test_no_file_is_said_at_once(tmp_path):
    with pytest.raises(DataError, match="no file"):
        digits_choice(str(tmp_path / "absent.safetensors"))


def test_other_weights_are_refused(tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(DataError, match="other weights"):
        digits_choice(str(file))


def test_a_record_opens_the_inception_network(inception, inception_file):
    choice = inception_choice(inception_file, "pil_bicubic", expected=None)
    read = TypeAdapter(AnyDetector).validate_json(choice.model_dump_json())
    opened = open_detector(read)
    assert opened.digest == choice.digest == inception.digest
    assert opened.resize == choice.resize == "pil_bicubic"
    assert opened.name == choice.name != inception.name  # which has another rule
    assert torch.equal(opened.network.fc.weight, inception.network.fc.weight)


def test_random_inception_weights_are_not_taken_for_the_published(inception_file):
    with pytest.raises(BadInput, match="expected 95,628,359"):
        inception_choice(inception_file, "tf1_bilinear")
