import json
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from system.alignment.weights import create
from system.alignment.weights import fill
from system.alignment.weights import from_hub
from system.alignment.weights import read_weights
from system.alignment.weights import write_weights
from system.foundation.errors import BadInput
from system.foundation.settings.objective import Teacher
from tests.system.alignment.teachers import NAME
from tests.system.alignment.teachers import SHAPE


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tensors = {"one": torch.arange(6.0).reshape(2, 3).T, "two": torch.zeros(1)}
    url = f"file://{tmp_path}/deep/there.safetensors"
    write_weights(url, tensors, {"model": NAME, "model_args": json.dumps(SHAPE)})
    found = read_weights(Teacher(model=NAME), url)
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)
    assert found.arguments == SHAPE


def test_torchs_files_are_read_too(tmp_path: Path) -> None:
    torch.save({"one": torch.ones(2)}, tmp_path / "there.pth")
    found = read_weights(Teacher(model=NAME), str(tmp_path / "there.pth"))
    assert torch.equal(found.tensors["one"], torch.ones(2))
    assert found.arguments == {}


def test_an_absent_file_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as raised:
        read_weights(Teacher(), f"{tmp_path}/absent.pth")
    said = str(raised.value)
    for part in (
        f"objective.alignment.teacher.weights: no file at {tmp_path}/absent.pth",
        "vit_base_patch14_dinov2",
        "dinov2_vitb14_pretrain.pth",
        "https://huggingface.co/timm/vit_base_patch14_dinov2.lvd142m",
    ):
        assert part in said


@pytest.mark.parametrize("name", ["there.pth", "there.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, b"<html>not found</html>"])
def test_a_file_of_something_else_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=rf"{name} is no file of weights"):
        read_weights(Teacher(), str(tmp_path / name))


def test_a_torch_file_without_names_is_refused(tmp_path: Path) -> None:
    torch.save(torch.ones(2), tmp_path / "there.pth")
    with pytest.raises(BadInput, match="it holds a Tensor"):
        read_weights(Teacher(), str(tmp_path / "there.pth"))


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    url = f"{tmp_path}/there.safetensors"
    write_weights(url, {"one": torch.ones(1)}, {"model": NAME, "model_args": "{}"})
    with pytest.raises(BadInput, match=f"holds a {NAME}, but .* is vit_base_patch14_dinov2"):
        read_weights(Teacher(), url)


def test_unknown_models_are_named_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="the nearest is vit_base_patch14_dinov2"):
        create("vit_base_patch14_dino_v2", {})
    with pytest.raises(BadInput, match="does not know"):
        from_hub("vit_base_patch14_dino_v2", {})


def test_a_model_without_published_weights_says_so() -> None:
    name = "vit_base_patch16_gap_224"
    assert not timm.get_pretrained_cfg(name).has_weights  # so that nothing is asked of a network
    with pytest.raises(BadInput, match=f"timm's hub gave no weights of {name}"):
        from_hub(name, {"depth": 1, "embed_dim": 16, "num_heads": 1})


def saved(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> str:
    url = tmp_path / "there.safetensors"
    url.write_bytes(safetensors.torch.save(tensors))
    return str(url)


def test_the_classifier_stays_out_and_all_else_goes_in(tmp_path: Path) -> None:
    source = timm.create_model(NAME, num_classes=10, **SHAPE)
    model = create(NAME, SHAPE)
    fill(model, read_weights(Teacher(model=NAME), saved(tmp_path, source.state_dict())))
    expected = source.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert "head.weight" not in model.state_dict()


def test_weights_that_are_missing_are_never_drawn(tmp_path: Path) -> None:
    weights = timm.create_model(NAME, num_classes=0, **SHAPE).state_dict()
    del weights["blocks.1.norm1.weight"]
    file = read_weights(Teacher(model=NAME), saved(tmp_path, weights))
    with pytest.raises(BadInput, match=r"lacks blocks\.1\.norm1\.weight \(1 of"):
        fill(create(NAME, SHAPE), file)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    weights = timm.create_model(NAME, num_classes=0, **(SHAPE | {"embed_dim": 32})).state_dict()
    file = read_weights(Teacher(model=NAME), saved(tmp_path, weights))
    with pytest.raises(BadInput, match=r"do not fit .*size mismatch"):
        fill(create(NAME, SHAPE), file)


def test_dinov2s_own_file_is_translated(tmp_path: Path) -> None:
    """Meta's names: as timm's, and a mask token more."""
    shape = {"img_size": 28, "embed_dim": 16, "depth": 2, "num_heads": 2}
    model = create("vit_small_patch14_dinov2", shape)
    theirs = model.state_dict() | {"mask_token": torch.zeros(1, 16)}
    torch.save(theirs, tmp_path / "dinov2.pth")
    other = create("vit_small_patch14_dinov2", shape)
    teacher = Teacher(model="vit_small_patch14_dinov2")
    fill(other, read_weights(teacher, str(tmp_path / "dinov2.pth")))
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
