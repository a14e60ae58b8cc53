import json
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform
from torch.nn import functional

from system.alignment.teacher import Teacher
from system.alignment.weights import write_weights
from system.foundation.errors import BadInput
from system.foundation.settings import objective as settings

Make = Callable[..., tuple[settings.Teacher, torch.nn.Module]]


def image(side: int = 8, channels: int = 1, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, channels, side, side, generator=generator) * 2 - 1


def test_tokens_are_the_models_normed_patch_tokens(make_teacher: Make) -> None:
    chosen, model = make_teacher()
    teacher = Teacher(chosen, side=4, image_channels=1)
    shown = image()  # mean and spread of 0.5 leave [-1, 1] as it is
    whole = model.forward_features(shown)
    torch.testing.assert_close(teacher(shown), whole[:, 1:], rtol=0, atol=1e-5)
    assert teacher(shown).shape == (2, 16, 16)


def test_it_is_frozen_and_gives_no_gradient_in_every_mode(make_teacher: Make) -> None:
    teacher = Teacher(make_teacher()[0], side=4, image_channels=1)
    assert not teacher.training
    assert not any(weight.requires_grad for weight in teacher.parameters())
    expected = teacher(image())
    assert not teacher(image().requires_grad_()).requires_grad
    with torch.inference_mode():
        assert torch.equal(teacher(image()), expected)
    # Tokens may be saved for a backward pass, unlike those of inference mode.
    student = torch.zeros_like(expected, requires_grad=True)
    (student * expected).sum().backward()
    assert torch.equal(student.grad, expected)


@pytest.mark.parametrize("side", [1, 2, 8])
def test_the_grid_is_brought_to_the_flows(make_teacher: Make, side: int) -> None:
    chosen, model = make_teacher()
    tokens = Teacher(chosen, side=side, image_channels=1)(image())
    grid = model.forward_features(image())[:, 1:].transpose(1, 2).reshape(2, 16, 4, 4)
    if side < 4:
        expected = functional.avg_pool2d(grid, 4 // side)
    else:
        expected = functional.interpolate(grid, size=side, mode="bilinear", align_corners=False)
    torch.testing.assert_close(tokens, expected.flatten(2).transpose(1, 2), rtol=0, atol=1e-5)


def test_grey_images_are_shown_to_a_colour_model_as_three_channels(make_teacher: Make) -> None:
    teacher = Teacher(make_teacher(channels=3)[0], side=4, image_channels=1)
    assert torch.equal(teacher(image()), teacher(image().repeat(1, 3, 1, 1)))


def test_a_grey_model_refuses_colour(make_teacher: Make) -> None:
    with pytest.raises(BadInput, match=r"looks at 1 channel, but data\.image_channels is 3"):
        Teacher(make_teacher()[0], side=4, image_channels=3)


def test_images_of_another_size_are_resized_as_timm_resizes_pictures() -> None:
    """Against timm's own evaluation transform of 8-bit pictures, which rounds twice on the way."""
    torch.manual_seed(0)
    teacher = _of("vit_small_patch14_dinov2", img_size=28, embed_dim=16, depth=1, num_heads=1)
    transform = create_transform(
        input_size=(3, 28, 28),
        interpolation="bicubic",
        crop_pct=1.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    for side in (64, 20):  # smaller and larger
        smooth = 0.7 * functional.interpolate(image(6, 3), size=side, mode="bicubic")
        pixels = ((smooth + 1) * 127.5).round().to(torch.uint8)
        pictures = [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in pixels]
        given = seen_by(teacher, pixels.float() / 127.5 - 1)
        expected = torch.stack([transform(picture) for picture in pictures])
        torch.testing.assert_close(given, expected, rtol=0, atol=1.01 / 255 / 0.224)


def _of(name: str, **arguments: Any) -> Teacher:
    """A teacher of a shrunken timm model with random weights."""
    model = timm.create_model(name, num_classes=0, **arguments)
    url = f"memory://{name}.safetensors"
    write_weights(url, model.state_dict(), {"model": name, "model_args": json.dumps(arguments)})
    chosen = settings.Teacher(model=name, weights=url, width=model.num_features)
    return Teacher(chosen, side=2, image_channels=3)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vit_small_patch14_reg4_dinov2", {"img_size": 28, "embed_dim": 16, "num_heads": 1}),
        ("vit_base_patch16_clip_224", {"img_size": 32, "embed_dim": 16, "num_heads": 1}),
        ("vit_small_patch16_dinov3", {"img_size": 32, "embed_dim": 16, "num_heads": 1}),
        ("test_convnext", {}),
        ("test_resnet", {}),
    ],
)
def test_other_families_have_tokens_too(name: str, arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    if arguments:
        arguments = arguments | {"depth": 1}
    teacher = _of(name, **arguments)
    tokens = teacher(image(32, 3))
    assert tokens.shape == (2, 4, teacher.model.num_features)
    assert tokens.isfinite().all()
    if arguments:
        prefix = teacher.model.num_prefix_tokens
        assert prefix in (1, 5)
        whole = teacher.model.forward_features(seen_by(teacher, image(32, 3)))
        grid = int((whole.shape[1] - prefix) ** 0.5)
        expected = whole[:, prefix:].unflatten(1, (grid, grid)).permute(0, 3, 1, 2)
        expected = functional.interpolate(expected, size=2).flatten(2).transpose(1, 2)
        torch.testing.assert_close(tokens, expected, rtol=0, atol=1e-5)


def seen_by(teacher: Teacher, shown: torch.Tensor) -> torch.Tensor:
    """What the teacher's model is given."""
    given: list[torch.Tensor] = []
    hook = teacher.model.patch_embed.register_forward_hook(
        lambda _, seen, __: given.append(seen[0])
    )
    teacher(shown)
    hook.remove()
    return given[0]


def test_position_embeddings_follow_the_size(make_teacher: Make) -> None:
    chosen, model = make_teacher(image_size=16)
    teacher = Teacher(chosen, side=8, image_channels=1)
    assert teacher.model.pos_embed.shape == (1, 65, 16)
    grid = model.pos_embed[:, 1:].transpose(1, 2).reshape(1, 16, 4, 4)
    resampled = functional.interpolate(grid, size=8, mode="bicubic", antialias=True)
    expected = resampled.flatten(2).transpose(1, 2)
    torch.testing.assert_close(teacher.model.pos_embed[:, 1:], expected)
    assert teacher(image()).shape == (2, 64, 16)


def test_what_does_not_fit_is_said(make_teacher: Make) -> None:
    with pytest.raises(BadInput, match=r"teacher\.width is 768, .* have 16 numbers"):
        Teacher(make_teacher(width=768)[0], side=4, image_channels=1)
    with pytest.raises(BadInput, match="image_size 9 is not a multiple of 2"):
        Teacher(make_teacher(image_size=9)[0], side=4, image_channels=1)


def test_it_may_compute_in_bf16(make_teacher: Make) -> None:
    chosen, _ = make_teacher()
    exact = Teacher(chosen, side=4, image_channels=1)(image())
    teacher = Teacher(chosen, side=4, image_channels=1, dtype=torch.bfloat16)
    assert next(teacher.model.parameters()).dtype == torch.bfloat16
    assert teacher(image()).dtype == torch.float32
    # bf16 keeps eight bits.
    assert functional.cosine_similarity(teacher(image()), exact, dim=-1).min() > 0.999
