"""What the command `jobs/sample.py` is asked, and how it answers: drawn images, as files.

Images are drawn in units that stay until all are there, so the same command goes on where it was
stopped. The bytes of its files are the same for any batch, any number of workers, any interruption.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated
from typing import Literal

import torch
from jaxtyping import Int
from pydantic import Field
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from data_pipeline.shards.manifest import read_manifest
from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.crew import Crew
from system.evaluation.crews.features import features_of
from system.evaluation.crews.request import FeatureRequest
from system.evaluation.crews.store import UnitStore
from system.evaluation.drawing import grid
from system.evaluation.drawing import to_png
from system.evaluation.labels import labels_of
from system.evaluation.measured import Chosen
from system.evaluation.measured import changed
from system.evaluation.measured import device_of
from system.evaluation.protocol import Drawing
from system.evaluation.rounding import Rule
from system.evaluation.sample_files import write_adm_npz
from system.evaluation.sample_files import write_pngs
from system.evaluation.sources.drawn import DrawnImages
from system.evaluation.sources.drawn import drawn_images
from system.evaluation.subject import Subject
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_subject
from system.foundation import storage
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import IN_FLIGHT
from system.foundation.settings.evaluation import InFlight
from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.evaluation import SamplerChanges
from system.foundation.settings.record import PositiveInt

GRID_PICTURES = 100  # the grid shows the first of them; the npz holds all
GRID_COLUMNS = 10
NO_CLASS = -1  # the label, in the npz, of an image that was drawn for no class
WAYS: dict[str, Literal["random", "balanced", "train_frequency", "none"]] = {
    "random": "random",
    "balanced": "balanced",
    "train_frequency": "train_frequency",
    "none": "none",
}

Cluster = Callable[[], AbstractContextManager[object]]


class Sampling(SamplerChanges, Chosen):
    """Images to draw from a checkpoint."""

    out: str = Field("drawn", description="folder or url for samples.png and samples.npz")
    files: Literal["npz", "png"] = Field(
        "npz", description="npz: samples.npz in ADM's layout; png: a file each, in images/"
    )
    count: PositiveInt = Field(100, description="images to draw")
    labels: Annotated[str, Field(pattern=r"^(random|balanced|train_frequency|none|[0-9]+)$")] = (
        Field(
            "balanced",
            description="balanced: every class in turn; random: any, independently; "
            "train_frequency: as often as in the run's training split; none: no class; or one "
            "class by its number",
        )
    )
    rounding: Rule = Field(
        "half_to_even", description="from the decoder's pixels to 8 bits: see "
        "system/evaluation/rounding.py",
    )  # fmt: skip
    averaging_decay: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="which average of the weights, of those a run keeps; null: its first"
    )
    seed: int = Field(0, ge=0, description="image i is a function of seed and i")
    batch: PositiveInt = Field(
        256, description="images per unit of work: what an interruption costs; changes no picture"
    )
    batches_in_flight: InFlight = Field(1, description=IN_FLIGHT)
    workers: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Ray actors that draw, on the cluster at RAY_ADDRESS or a private one; 0: this "
        "process alone; changes no picture",
    )


def sample_to_folder(request: Sampling, *, cluster: Cluster = nullcontext) -> list[str]:
    """Draw and write `samples.png` and the images; their urls. `cluster` connects to a Ray.

    Raises BadInput, before anything is drawn, for what cannot be drawn: a class that the model does
    not know, a checkpoint without a flow. Raises NumericsError for images that are not finite.
    """
    source = _source(request)
    units = FeatureRequest(
        source=source,
        keep_images=True,
        device=device_of(request.device),
        batch=request.batch,
        batches_in_flight=request.batches_in_flight,
    )
    out = storage.absolute(request.out)
    unfinished = storage.join(out, "unfinished")
    with _Bar(source.count) as bar:
        drawn = features_of(units, unfinished, _Watched(request, cluster, bar))
    label = torch.tensor(source.label or [NO_CLASS] * source.count)
    shown = _first(drawn.images(), GRID_PICTURES)
    by_class = label[: len(shown)].argsort(stable=True)  # classes below each other
    picture = storage.join(request.out, "samples.png")
    storage.write_bytes(picture, to_png(grid(shown[by_class], columns=GRID_COLUMNS)))
    if request.files == "npz":
        place = write_adm_npz(storage.join(request.out, "samples.npz"), drawn.images(), label)
    else:
        place = write_pngs(storage.join(request.out, "images"), drawn.images(), label)
    drawn.forget()
    if not storage.list_names(unfinished):  # nor has another request begun there
        storage.remove(unfinished)
    return [picture, place]


@dataclass(frozen=True, slots=True)
class _Watched(Crew):
    """This process, or workers of a Ray that is joined, or started, where there is work for them;
    before a bar."""

    request: Sampling
    cluster: Cluster
    bar: "_Bar"

    def run(self, request: FeatureRequest, units: Sequence[range], store: UnitStore) -> None:
        """Compute these units into the store."""
        self.bar.advance(request.count - sum(map(len, units)))
        if self.request.workers == 0:
            AloneCrew(self.bar.advance).run(request, units, store)
            return
        with self.cluster():
            # Only once the cluster is known: Ray reads where it is when it is imported.
            from system.evaluation.crews.ray_crew import RayCrew

            gpus = 1.0 if request.device == "cuda" else 0.0
            crew = RayCrew(workers=self.request.workers, gpus=gpus, told=self.bar.advance)
            crew.run(request, units, store)


def _source(request: Sampling) -> DrawnImages:
    """What is to be drawn, checked."""
    checkpoint = find_checkpoint(request.checkpoint)
    subject = read_subject(checkpoint, decay=request.averaging_decay)
    drawing = Drawing(
        labels=WAYS.get(request.labels, "fixed"),
        seed=request.seed,
        sampler=_sampler(request, subject.recipe),
    )
    label = _labels(request, subject)
    return drawn_images(
        subject, checkpoint, drawing, label, count=request.count, rounding=request.rounding
    )


def _labels(request: Sampling, subject: Subject) -> Int[Tensor, "N"] | None:
    data = subject.recipe.data
    frequency = [1] * data.classes
    match request.labels:
        case "none":
            return None
        case "balanced" | "random" as mode:
            return labels_of(mode, request.count, request.seed, frequency)
        case "train_frequency" as mode:
            known = torch.from_numpy(read_manifest(data.shards).split("train").labels)
            frequency = torch.bincount(known, minlength=data.classes).tolist()
            return labels_of(mode, request.count, request.seed, frequency)
        case number:
            return torch.full((request.count,), int(number))


def _sampler(request: Sampling, recipe: Recipe) -> Sampler:
    """The sampler of the run's evaluation, or a plain one, with what the request says."""
    settings, own = recipe.evaluation, Sampler(guidance=0.0)
    if isinstance(settings, Sampler):
        own = Sampler(**settings.model_dump(include=set(Sampler.model_fields)))
    return changed(own, request.changes())


def _first(parts: Iterator[Tensor], count: int) -> Tensor:
    """The first rows of all parts."""
    found: list[Tensor] = []
    for part in parts:
        found.append(part[: count - sum(map(len, found))])
        if sum(map(len, found)) == count:
            break
    return torch.cat(found)


class _Bar:
    """How many images there are by now, on a terminal."""

    def __init__(self, count: int) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(console=self._console, disable=not self._console.is_terminal)
        self._task = self._progress.add_task(f"drawing {count:,} images", total=count)
        self._count, self._done = count, 0

    def advance(self, images: int) -> None:
        """So many more."""
        self._done += images
        self._progress.advance(self._task, images)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
        if isinstance(error, KeyboardInterrupt):
            self._console.print(
                f"{self._done} of {self._count} images are drawn; the same command goes on there"
            )
