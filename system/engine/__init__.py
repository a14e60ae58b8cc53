"""What turns a loss into an update, and an update into something that can be restored."""

import os

import torch

# DeepSpeed looks for an accelerator when it is imported, and warns where it finds none.
os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
