"""All training pairs in updates of like size, each session in one pass of a sequence model."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore

_BATCHES_IN_POOL = 32  # sessions are sorted by length only among so many batches drawn at random


class SessionBatches:
    """Cuts all training pairs into updates of about `batch_size` pairs, with sessions kept whole.

    A whole session needs one pass of the GRU for all its pairs. A session with more pairs than an
    update is cut into pieces of `batch_size` pairs. An update holds fewer than 2 x batch_size.
    """

    def __init__(self, store: EpisodeStore, batch_size: int) -> None:
        self.store, self.batch_size = store, batch_size
        pairs = store.pairs_of("train")
        session, position = store.pair_session[pairs], store.pair_position[pairs]
        order = np.lexsort([position, session])
        self.pairs, session = pairs[order], session[order]
        opening = np.flatnonzero(np.diff(session, prepend=-1))
        nth = np.arange(len(session)) - np.repeat(opening, np.diff(opening, append=len(session)))
        # A piece of a session: where its pairs begin, how many they are, its longest prefix.
        self.begin = np.flatnonzero(nth % batch_size == 0)
        self.size = np.diff(self.begin, append=len(session))
        self.length = store.pair_position[self.pairs[self.begin + self.size - 1]]

    def __len__(self) -> int:
        """Training pairs."""
        return len(self.pairs)

    def pair_rows(self, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Every training pair once, in updates [pairs]; those of like length together."""
        order = rng.permutation(len(self.begin))
        before = np.cumsum(self.size[order]) - self.size[order]
        pool = before // (self.batch_size * _BATCHES_IN_POOL)
        order = order[np.lexsort([self.length[order], pool])]
        before = np.cumsum(self.size[order]) - self.size[order]
        ends = np.flatnonzero(np.diff(before // self.batch_size)) + 1
        batches = np.split(order, ends)
        for number in rng.permutation(len(batches)):
            pieces = zip(self.begin[batches[number]], self.size[batches[number]], strict=True)
            yield np.concatenate([self.pairs[begin : begin + size] for begin, size in pieces])

    def examples(self, rng: np.random.Generator, start: int = 0) -> Iterator[Examples]:
        """The same, each update from number `start` on assembled as a single task [1, pairs]."""
        for rows in islice(self.pair_rows(rng), start, None):
            yield self.store.batch(rows[None])
