"""Bytes of the tensors that are alive, followed through every operation: now, and at most.

    with LiveBytes() as live:
        work()
    live.peak

Real tensors on any device, and ones without numbers (on `meta`, or fake) whose sizes are as true.
A storage counts once, whatever views there are of it, from the operation that makes it until it is
let go. What libraries take below torch's operations (workspaces, a context) is not seen.
"""

import weakref
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts what operations inside of it make and let go."""

    def __init__(self, device: str | None = None) -> None:
        """`device` is the type of device that counts; None for every one."""
        super().__init__()
        self._device = device
        self.now = 0
        self.peak = 0
        self._sizes: dict[int, int] = {}
        self._before: list[torch.UntypedStorage] = []  # held, so that no other takes its place
        self._left_out: set[int] = set()

    def __torch_dispatch__(
        self,
        operation: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        self.watch(result)
        # An operation may make a larger storage of one that is known.
        self._grow([each for each in args if isinstance(each, Tensor)])
        return result

    def watch(self, tensors: Any) -> None:
        """Count these tensors from now on, where they are not counted yet."""
        for leaf in tree_leaves(tensors):
            if isinstance(leaf, Tensor) and leaf.layout == torch.strided and self._counts(leaf):
                self._count(leaf.untyped_storage())

    def leave_out(self, tensors: Iterable[Tensor]) -> None:
        """Never count these: they were there before."""
        self._before += [each.untyped_storage() for each in tensors]
        self._left_out |= {storage._cdata for storage in self._before}

    def _counts(self, tensor: Tensor) -> bool:
        return self._device in (None, tensor.device.type)

    def start_over(self) -> None:
        """Let the peak be what is alive now."""
        self.peak = self.now

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._sizes or key in self._left_out:
            return
        self._sizes[key] = storage.nbytes()
        self._add(self._sizes[key])
        weakref.finalize(storage, self._forget, key)

    def _grow(self, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            if tensor.layout != torch.strided:
                continue
            storage = tensor.untyped_storage()
            known = self._sizes.get(storage._cdata)
            if known is not None and known != storage.nbytes():
                self._sizes[storage._cdata] = storage.nbytes()
                self._add(storage.nbytes() - known)

    def _add(self, count: int) -> None:
        self.now += count
        self.peak = max(self.peak, self.now)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)
