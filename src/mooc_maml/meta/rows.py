"""Rows of several tasks that grow: what sums of outer products are made of."""

import torch
from torch import Tensor


class Rows:
    """Rows [tasks, r, d] of several tasks, to which more can be appended.

    The rows lie at the front of a larger buffer, so that appending copies only what is new; an
    older `Rows` goes on seeing its own front part. If somebody else has appended there since, or
    the buffer is full, the rows move to a new one first.
    """

    def __init__(self, *blocks: Tensor) -> None:
        self.blocks = blocks
        self._buffer: Tensor | None = None
        self._filled = [0]  # rows of the buffer in use, shared by all who look at it

    @property
    def tensor(self) -> Tensor:
        """All rows: [tasks, r, d]."""
        return self.blocks[0] if len(self.blocks) == 1 else torch.cat(self.blocks, 1)

    def appended(self, more: "Rows", scale: float | None = None) -> "Rows":
        """These rows, then `more`, times `scale` if given."""
        if not more.blocks:
            return self
        rank = sum(block.shape[1] for block in self.blocks)
        new_rank = rank + sum(block.shape[1] for block in more.blocks)
        result = Rows()
        result._buffer, result._filled = self._buffer, self._filled
        buffer = self._buffer
        if buffer is None or self._filled[0] != rank or new_rank > buffer.shape[1]:
            like = more.blocks[0]
            room = new_rank + 9 * (new_rank - rank)  # untouched memory costs nothing on a CPU
            buffer = like.new_empty(like.shape[0], room, *like.shape[2:])
            result._buffer, result._filled = buffer, [rank]
            if rank:
                buffer[:, :rank] = self.tensor
        for block in more.blocks:
            place = buffer[:, rank : rank + block.shape[1]]
            if scale is None:
                place.copy_(block)
            else:
                torch.mul(block, scale, out=place)
            rank += block.shape[1]
        result._filled[0] = rank
        result.blocks = (buffer[:, :rank],)
        return result
