import gc

import pytest
import torch

from system.foundation.settings.engine import Engine
from system.foundation.settings.flow import Flow
from system.foundation.settings.objective import Objective
from system.foundation.settings.objective import PatchGan
from system.launch.plan.shadow import count
from system.launch.plan.shadow import shadow
from system.objectives.joint import JointModel
from tests.system.alignment.teachers import write_teacher


def aligned(teacher) -> Objective:
    alignment = {"kind": "features", "teacher": teacher, "places": ((1, 1),), "head_width": 8}
    return Objective.model_validate({"alignment": alignment})


def test_it_has_the_parameters_of_the_built_model_and_no_memory(make_recipe) -> None:
    recipe = make_recipe()
    found = shadow(recipe, "cpu").engine.module.state_dict()
    built = JointModel(recipe).state_dict()
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in built.items()
    }
    assert all(value.is_meta for value in found.values())


def test_operations_and_bytes_go_with_the_images(make_recipe) -> None:
    made = shadow(make_recipe(), "cpu")
    one, two, four = (count(made, images) for images in (1, 2, 4))
    assert two.flops == 2 * one.flops
    each = (four.live_bytes - two.live_bytes) / 2
    assert two.live_bytes - one.live_bytes == pytest.approx(each, rel=0.05)
    assert 0 < one.kept_bytes <= one.live_bytes
    assert one.course[0][1] == 0
    assert one.course[-1][1] == sum(w.numel() for w in made.engine.module.parameters())


def test_a_plain_transformer_has_the_operations_of_the_formula(make_recipe) -> None:
    width, tokens, layers = 16, 16, 4
    shape = Flow(width=width, depths=(2, 2), head_width=8, condition={"kind": "none"})
    made = shadow(make_recipe(flow=shape), "cpu")
    with_more = shape.model_copy(update={"depths": (2, 2, layers)})
    more = shadow(make_recipe(flow=with_more), "cpu")
    extra = count(more, 1).forward_flops["model"] - count(made, 1).forward_flops["model"]
    in_layers = layers * (2 * 12 * width**2 * tokens + 4 * tokens**2 * width)
    in_and_out = 2 * tokens * width * 3 * 3  # three numbers a token, once in and twice out
    assert extra == in_layers + in_and_out


def test_checkpointed_activations_are_fewer_bytes_and_more_operations(make_recipe) -> None:
    flow = Flow(width=16, depths=(4, 4), head_width=8)
    kept = count(shadow(make_recipe(flow=flow), "cpu"), 2)
    flow = flow.model_copy(update={"checkpoint_activations": True})
    fewer = count(shadow(make_recipe(flow=flow), "cpu"), 2)
    assert fewer.kept_bytes < kept.kept_bytes
    assert kept.flops < fewer.flops < 1.4 * kept.flops
    assert fewer.forward_flops == kept.forward_flops


def test_recomputed_layers_come_to_the_same_however_often_python_looks_for_cycles(make_recipe):
    flow = Flow(width=16, depths=(4, 4), head_width=8, checkpoint_activations=True)
    made = shadow(make_recipe(flow=flow), "cpu")
    count(made, 1)  # fills what is kept for good, such as the places of tokens
    first = count(made, 1)
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        assert count(made, 1) == first
    finally:
        gc.set_threshold(*before)


def test_a_discriminator_takes_part_twice_and_has_gradients(make_recipe) -> None:
    critic = PatchGan(width=8, layers=1)
    made = shadow(make_recipe(objective=Objective(adversarial=critic)), "cpu")
    counted = count(made, 1)
    assert counted.forward_flops["critic"] % 3 == 0  # a decoded image, then a real and a decoded
    learning = [made.engine.module, made.critic.module]
    assert counted.course[-1][1] == sum(w.numel() for net in learning for w in net.parameters())


def test_shared_passes_of_blocks_that_a_class_steers_are_counted(make_recipe, tmp_path) -> None:
    teacher = {"model": "vit_tiny_patch16_224", "weights": str(tmp_path / "no"), "width": 192}
    settings = aligned(teacher).alignment.model_dump() | {"strategy": "reverse"}
    flow = Flow(width=16, depths=(2, 2), head_width=8, condition={"kind": "adaptive_norm"})
    flops = {}
    for passes in ("separate", "shared"):
        objective = Objective.model_validate({"alignment": settings | {"passes": passes}})
        flops[passes] = count(shadow(make_recipe(flow=flow, objective=objective), "cpu"), 2).flops
    assert flops["shared"] < flops["separate"]


def test_a_teacher_counts_with_or_without_its_file(make_recipe, tmp_path) -> None:
    teacher, _ = write_teacher(str(tmp_path / "teacher.safetensors"))
    made = shadow(make_recipe(objective=aligned(teacher)), "cpu")
    assert made.teacher.size == 8
    assert count(made, 1).forward_flops["teacher"] > 0
    absent = teacher.model_copy(update={"weights": str(tmp_path / "none"), "width": 192})
    unread = shadow(make_recipe(objective=aligned(absent)), "cpu")
    assert unread.teacher.size == 224


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)]
)
def test_passes_are_in_the_recipes_precision(make_recipe, precision, dtype) -> None:
    made = shadow(make_recipe(engine=Engine(precision=precision)), "cuda")
    assert {weight.dtype for weight in made.engine.module.parameters()} == {dtype}
    assert count(made, 1).flops > 0
