import json
from pathlib import Path
from typing import Any

import pytest
import torch

from system.engine.checkpoints import read_averaged
from system.evaluation.sampling import Sampling
from system.evaluation.sampling import sample_to_folder
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_subject
from system.foundation.config import resolve
from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.errors import RecipeError
from system.interop.adoption import Adopted
from system.interop.adoption import write_checkpoint
from system.interop.hub import write_hub
from system.interop.ml_starflow import to_ml_starflow
from system.interop.ml_tarflow import to_ml_tarflow
from system.interop.requests import Export
from system.interop.requests import Import
from system.interop.requests import export_weights
from system.interop.requests import import_weights
from system.interop.weights_file import read_tensors
from system.interop.weights_file import write_tensors
from tests.golden.cases import STARFLOWS
from tests.golden.cases import TARFLOWS
from tests.system.interop.conftest import weights_of

ROOT = Path(__file__).parents[3]
TARFLOW, STARFLOW = TARFLOWS[0], STARFLOWS[0]
TOLD = {"use_softplus": True, "soft_clip": 4.0, "seq_order": "L2R"}


@pytest.fixture
def tarflow(tmp_path: Path) -> str:
    """A file as ml-tarflow saves it."""
    url = str(tmp_path / "tarflow.pth")
    write_tensors(url, TARFLOW.fill(to_ml_tarflow(TARFLOW.flow()), torch.float32))
    return url


@pytest.fixture
def starflow(tmp_path: Path) -> str:
    """A file as ml-starflow saves it, in bf16."""
    url = str(tmp_path / "starflow.pth")
    write_tensors(url, STARFLOW.fill(to_ml_starflow(STARFLOW.flow()), torch.bfloat16))
    return url


def taken(tmp_path: Path, **keys: Any) -> tuple[str, list[str]]:
    out = str(tmp_path / "taken")
    return out, import_weights(Import(out=out, **keys))


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) for name in found
    )


def test_a_tarflow_comes_in_is_drawn_from_and_goes_out(tmp_path: Path, tarflow: str) -> None:
    out, said = taken(tmp_path, source=tarflow, channels=3, noise=0.05)
    assert "16 tokens of 12" in said[0]
    assert said[1] == f"start a run: flow.weights={out}"
    sample_to_folder(Sampling(checkpoint=out, out=str(tmp_path / "drawn"), count=2))
    assert (tmp_path / "drawn" / "samples.png").exists()
    back = str(tmp_path / "back.pth")
    _, arguments = export_weights(Export(format="ml_tarflow", checkpoint=out, out=back))
    assert "img_size=8, patch_size=2" in arguments
    assert same(read_tensors(back), read_tensors(tarflow))


def test_a_starflow_comes_in_on_its_autoencoder_and_goes_out(tmp_path: Path, starflow: str) -> None:
    recipe = resolve(ROOT / "configs" / "simflow_digits.yaml", []).recipe
    shape = {"width": 8, "multipliers": [1, 1], "blocks_per_level": 1, "latent_channels": 4}
    kl = str(tmp_path / "kl")
    whole = recipe.model_copy(
        update={
            "autoencoder": type(recipe.autoencoder)(
                **shape, posterior={"kind": "learned", "min_log_std": -15, "max_log_std": 10}
            )
        }
    )
    write_checkpoint(Adopted(whole, weights_of(whole), 0), str(tmp_path / "first"), origin={})
    export_weights(Export(format="autoencoder_kl", checkpoint=str(tmp_path / "first"), out=kl))
    out, _ = taken(
        tmp_path,
        format="ml_starflow",
        source=starflow,
        channels=4,
        autoencoder=kl,
        **{"noise": 0.3} | TOLD,
    )
    subject = read_subject(out)
    assert subject.recipe.autoencoder.posterior.added_noise == 0.3
    assert subject.recipe.data.image_channels == 1
    sample_to_folder(Sampling(checkpoint=out, out=str(tmp_path / "drawn"), count=2))
    back = str(tmp_path / "back.safetensors")
    _, arguments = export_weights(Export(format="ml_starflow", checkpoint=out, out=back))
    assert "txt_dim=7" in arguments
    expected = {name: value.float() for name, value in read_tensors(starflow).items()}
    assert same(read_tensors(back), expected)


def test_an_autoencoder_comes_in_alone(tmp_path: Path, run: str) -> None:
    kl = str(tmp_path / "kl")
    assert export_weights(Export(format="autoencoder_kl", checkpoint=run, out=kl)) == [kl]
    out, said = taken(tmp_path, format="autoencoder_kl", source=kl, size=16)
    assert "images of 16 x 16 x 1" in said[0]
    assert said[1] == f"start a run: autoencoder.weights={out}"
    assert not read_subject(out).has_flow


def test_an_autoencoder_alone_has_no_flow_to_draw_or_export(tmp_path: Path, run: str) -> None:
    kl = str(tmp_path / "kl")
    export_weights(Export(format="autoencoder_kl", checkpoint=run, out=kl))
    out, _ = taken(tmp_path, format="autoencoder_kl", source=kl, size=16)
    with pytest.raises(BadInput, match=r"trained no flow \(objective.route=autoencoder_only\)"):
        sample_to_folder(Sampling(checkpoint=out, out=str(tmp_path / "drawn"), count=2))
    with pytest.raises(BadInput, match="there is none to export"):
        export_weights(Export(format="ml_starflow", checkpoint=out, out=str(tmp_path / "x.pth")))


@pytest.mark.parametrize("form", ["hub", "autoencoder_kl"])
def test_nothing_is_exported_into_a_run(run: str, form: str) -> None:
    """What reads a run would take the export for it, and never see a later checkpoint."""
    for out in (run, find_checkpoint(run)):
        with pytest.raises(BadInput, match="expected one of its own"):
            export_weights(Export(format=form, checkpoint=run, out=out))
    assert find_checkpoint(run) != run


def test_released_weights_come_in_as_they_were(tmp_path: Path, run: str) -> None:
    hub = str(tmp_path / "hub")
    assert export_weights(Export(checkpoint=run, out=hub, license="mit")) == [
        f"{hub}/{name}" for name in ("model.safetensors", "README.md", "config.json")
    ]
    out, _ = taken(tmp_path, format="hub", source=hub)
    recipe, weights, images_seen = read_averaged(out)
    first = read_averaged(find_checkpoint(run))
    assert (recipe, images_seen) == (first[0], first[2])
    assert same(weights, first[1])
    state = json.loads(Path(out, "state.json").read_text())
    assert state["origin"] == {"format": "hub", "source": hub, "origin": None}
    again = str(tmp_path / "again")
    export_weights(Export(checkpoint=out, out=again))
    assert "| images seen | 640 |" in Path(again, "README.md").read_text()


def test_a_release_of_a_release_says_whose_the_weights_were(tmp_path: Path, tarflow: str) -> None:
    """Its images were seen since then, and not since the release."""
    out, _ = taken(tmp_path, source=tarflow, channels=3, noise=0.05)
    for turn in ("one", "two"):
        hub = str(tmp_path / f"hub-{turn}")
        export_weights(Export(checkpoint=out, out=hub))
        card = Path(hub, "README.md").read_text()
        assert "| images seen | 0 since they were taken over from ml_tarflow |" in card
        out = str(tmp_path / f"taken-{turn}")
        import_weights(Import(format="hub", source=hub, out=out))


def test_a_recipe_may_say_the_rest(tmp_path: Path, tarflow: str) -> None:
    digits = str(ROOT / "configs" / "simflow_digits.yaml")
    out, _ = taken(tmp_path, source=tarflow, channels=3, noise=0.05, recipe=digits)
    recipe = read_subject(out).recipe
    assert recipe.run.name == "digits"
    assert recipe.evaluation.kind == "digits"
    assert recipe.data.classes == 5


def test_another_format_is_told_by_what_it_looks_like(
    tmp_path: Path, tarflow: str, starflow: str, run: str
) -> None:
    with pytest.raises(CheckpointError, match="they look like ml_starflow") as caught:
        taken(tmp_path, source=starflow, channels=4)
    assert str(caught.value).startswith(f"source={starflow}")
    with pytest.raises(CheckpointError, match="all in all, they look like ml_tarflow"):
        taken(tmp_path, format="ml_starflow", source=tarflow, channels=3, **TOLD)
    ours = f"{find_checkpoint(run)}/averaged.safetensors"
    with pytest.raises(CheckpointError, match="they look like latent_flows"):
        taken(tmp_path, source=ours, channels=3)


def test_files_and_folders_that_are_not_there_are_named(tmp_path: Path, run: str) -> None:
    with pytest.raises(CheckpointError, match="there is no such file"):
        taken(tmp_path, source=str(tmp_path / "none.pth"), channels=3)
    with pytest.raises(CheckpointError, match=r"is a folder; ml_tarflow keeps its weights"):
        taken(tmp_path, source=run, channels=3)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        taken(tmp_path, format="hub", source=str(tmp_path / "none"))
    with pytest.raises(CheckpointError, match="no AutoencoderKL at"):
        taken(tmp_path, format="autoencoder_kl", source=str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["format=ml_starflow"], "needs seq_order, soft_clip, use_softplus"),
        (["seq_order=L2R"], "seq_order says nothing of format ml_tarflow"),
        (["format=hub", "channels=3"], "channels says nothing of format hub"),
    ],
)
def test_keys_belong_to_their_format(settings: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        resolve(None, settings, Import)


def test_only_cards_name_licences() -> None:
    with pytest.raises(RecipeError, match="license is for format hub"):
        resolve(None, ["format=ml_tarflow", "license=mit"], Export)


def test_pixels_have_no_autoencoder_to_export(tmp_path: Path, tarflow: str) -> None:
    out, _ = taken(tmp_path, source=tarflow, channels=3, noise=0.05)
    with pytest.raises(BadInput, match="no autoencoder to export"):
        export_weights(Export(format="autoencoder_kl", checkpoint=out, out=str(tmp_path / "kl")))


def test_a_flow_of_another_form_is_not_exported(tmp_path: Path, run: str) -> None:
    with pytest.raises(CheckpointError, match=r"flow\.condition\.kind=adaptive_norm"):
        export_weights(Export(format="ml_tarflow", checkpoint=run, out=str(tmp_path / "x.pth")))
    assert write_hub(run, str(tmp_path / "hub"))
