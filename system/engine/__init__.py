"""What turns a loss into an update, and an update into something that can be restored."""

import os

import torch

# DeepSpeed looks for an accelerator when it is imported, and warns where it finds none. Set anew in
# every process: a driver without a GPU hands its environment on to workers that have one.
os.environ["DS_ACCELERATOR"] = "cuda" if torch.cuda.is_available() else "cpu"
