"""The joint model's layers under `torch.compile`, each by itself and in place.

Layers of a flow are alike, so that one compilation serves all of them, and a deep block compiles as
fast as a shallow one. Names, weights and hooks of the model stay as they are, so checkpoints and
DeepSpeed see no difference. What lies between the layers is cheap and stays eager; so does drawing,
which asks for one token at a time.
"""

import torch

from system.autoencoder.autoencoder import Autoencoder
from system.flow.block import Block
from system.flow.flow import Flow
from system.objectives.joint import JointModel

# Encoder, decoder, and each kind of layer with and without gradients share one cache in torch.
VARIANTS = 32


def compile_parts(model: JointModel, backend: str = "inductor") -> None:
    """Compile every layer of the flow, the encoder and the decoder, when they are first called.

    A part that does not compile as a whole raises then, rather than run slowly in pieces.
    """
    torch._dynamo.config.recompile_limit = max(VARIANTS, torch._dynamo.config.recompile_limit)
    compile_layers(model.flow, backend)
    if isinstance(model.autoencoder, Autoencoder):
        for part in (model.autoencoder.encoder, model.autoencoder.decoder):
            part.compile(backend=backend, fullgraph=True, dynamic=False)


def compile_layers(flow: Flow, backend: str = "inductor") -> None:
    """The same for the layers of a flow alone."""
    for block in flow.blocks:
        assert isinstance(block, Block)
        for layer in block.transformer.layers:
            layer.compile(backend=backend, fullgraph=True, dynamic=False)
