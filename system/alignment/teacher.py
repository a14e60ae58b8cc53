"""A frozen vision encoder: images to one feature vector for each of the flow's tokens.

Any timm model with a feature map will do: DINOv2, CLIP, MAE, and convolutional ones. Images are
resized (bicubic, with antialiasing) and normalised as the model was trained; of its last layer the
patch tokens are taken after its last norm, without class and register tokens (DINOv2's
`x_norm_patchtokens`), and its grid is brought to the flow's: averaged over areas where it is finer,
interpolated where it is coarser.

The teacher lives outside of every engine, as the perceptual trunk does: it is neither trained,
sharded nor saved.

Source: REPA, arXiv 2410.06940, and its code's preprocessing.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.alignment.vision_model import build
from system.alignment.vision_model import channels_of
from system.alignment.vision_model import per_channel
from system.alignment.weights import KEY
from system.alignment.weights import WeightsFile
from system.alignment.weights import read_weights
from system.foundation.errors import BadInput
from system.foundation.settings import objective as settings


class Teacher(nn.Module):
    """The teacher of a recipe for images of `image_channels`, on a grid of `side` by `side`.

    It computes in `dtype`. `file` has its weights where they are read already, or where none are
    needed (`weights.blank`). Raises BadInput where its weights are absent or of another model,
    where `width` is not what its tokens have, or where it cannot look at such images.
    """

    def __init__(
        self,
        teacher: settings.Teacher,
        *,
        side: int,
        image_channels: int,
        dtype: torch.dtype = torch.float32,
        file: WeightsFile | None = None,
    ) -> None:
        from timm.data import resolve_model_data_config

        super().__init__()
        self.side = side
        self.dtype = dtype
        self.model, self.size = _build(teacher, file)
        self.model.to(dtype)
        config = resolve_model_data_config(self.model)
        self.channels = channels_of(self.model)
        if image_channels not in (1, self.channels):
            raise BadInput(
                f"{KEY}: {teacher.model} looks at {self.channels} channel, but data.image_channels "
                f"is {image_channels}; give the weights of a teacher for colour"
            )
        self.resampling = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
        for name in ("mean", "std"):
            values = per_channel(config[name], self.channels)
            self.register_buffer(name, values, persistent=False)
        self.requires_grad_(False).eval()
        self._check(teacher)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B T F"]:
        """Tokens of images in [-1, 1], float32, in raster order; they carry no gradient."""
        found = self._map(image)
        grid = found.shape[-1]
        if grid > self.side:
            found = functional.adaptive_avg_pool2d(found, self.side)
        elif grid < self.side:
            found = functional.interpolate(found, size=self.side, mode="bilinear")
        return rearrange(found, "b f h w -> b (h w) f")

    def _map(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F h w"]:
        """The model's last feature map, normed, in float32."""
        shown = image.float().expand(-1, self.channels, -1, -1)
        if shown.shape[-1] != self.size:
            resized = functional.interpolate(
                shown, size=self.size, mode=self.resampling, antialias=True
            )
            shown = resized.clamp(-1, 1)  # as of pixels: bicubic weights overshoot
        shown = (0.5 * shown + 0.5 - self.mean) / self.std
        (found,) = self.model.forward_intermediates(
            shown.to(self.dtype),
            indices=1,
            norm=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return found.float()

    def _check(self, teacher: settings.Teacher) -> None:
        """One grey image through it, to find out now what would fail later."""
        if not hasattr(self.model, "forward_intermediates"):
            raise BadInput(
                f"{KEY}.model: timm's {teacher.model} gives no feature map; expected a model with "
                "patch tokens, such as vit_base_patch14_dinov2"
            )
        with torch.no_grad():
            width = self._map(torch.zeros(1, 1, self.size, self.size)).shape[1]
        if width != teacher.width:
            raise BadInput(
                f"{KEY}.width is {teacher.width}, but the tokens of {teacher.model} have {width} "
                f"numbers; set {KEY}.width={width}"
            )


def _build(teacher: settings.Teacher, file: WeightsFile | None) -> tuple[nn.Module, int]:
    """The model with its weights, and the side of the images that it looks at."""
    if file is None and teacher.weights is not None:
        file = read_weights(teacher, teacher.weights)
    return build(teacher.model, teacher.image_size, file)
