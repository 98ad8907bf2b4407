"""The study's GRU baseline: one model for all, trained on all pairs of all training learners."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mooc_maml.baselines.base import Log
from mooc_maml.episode_store import EpisodeStore
from mooc_maml.errors import UserError
from mooc_maml.evaluation import query_ranks, summary, without_support
from mooc_maml.examples import Examples
from mooc_maml.hardware import dtype
from mooc_maml.models.gru import GRURecommender, read_model, write_model
from mooc_maml.params import Params
from mooc_maml.randomness import generator, torch_generator

_BATCHES_IN_POOL = 32  # sessions are sorted by length only among so many batches drawn at random


class GRUBaseline:
    """A trained recommender, applied to every learner as it is.

    Args:
        model: on the device that it is to run on.
        history: one entry an epoch: epoch (from 1), train_loss (mean cross-entropy, nats),
            validation (metrics over the query pairs of the validation episodes).
    """

    def __init__(self, model: GRURecommender, history: list[dict[str, Any]]) -> None:
        self.model, self.history = model, history

    @classmethod
    def train(cls, store: EpisodeStore, params: Params, device: torch.device, log: Log) -> Self:
        """Train with Adam; keep the epoch that is best by the validation metric (first of equals).

        Raises:
            UserError: the loss is no longer finite.
        """
        start = torch_generator(params.seed, "baseline-gru-weights")
        model = GRURecommender(store.num_courses, **params.model.model_dump(), generator=start)
        model.to(device, dtype(params.hardware))
        optimiser = torch.optim.Adam(model.parameters(), lr=params.baselines.learning_rate)
        batches = SessionBatches(store, params.baselines.batch_size)
        metric = params.evaluation.validation_metric
        history: list[dict[str, Any]] = []
        best, best_weights = -math.inf, model.state_dict()
        for epoch in range(1, params.baselines.epochs + 1):
            started = time.perf_counter()
            loss = _train_epoch(model, optimiser, batches, params.seed, epoch)
            validation = _validate(model, store, params.hardware.tasks_at_once, device)
            history.append({"epoch": epoch, "train_loss": loss, "validation": validation})
            if validation[metric] > best:
                best = validation[metric]
                best_weights = {k: weight.clone() for k, weight in model.state_dict().items()}
            log(
                f"gru: epoch {epoch}/{params.baselines.epochs}, train loss {loss:.4f}, validation "
                f"{metric} {validation[metric]:.4f}, {time.perf_counter() - started:.1f} s"
            )
        model.load_state_dict(best_weights)
        return cls(model, history)

    @torch.no_grad()
    def scores(self, examples: Examples) -> Tensor:
        """Scores of every pair: float [tasks, pairs, C]."""
        return self.model.pair_scores(examples)

    def write(self, path: Path) -> None:
        """Write weights and settings."""
        write_model(path, self.model)

    @classmethod
    def read(cls, path: Path, num_courses: int, device: torch.device) -> Self:
        """Read weights and settings; the history stays in the results.

        Raises:
            UserError: the file is missing, is damaged, or ranks another number of courses.
        """
        return cls(read_model(path, num_courses).to(device), [])


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

    def examples(self, rng: np.random.Generator) -> Iterator[Examples]:
        """The same, each update assembled as a single task [1, pairs]."""
        for rows in self.pair_rows(rng):
            yield self.store.batch(rows[None])


def _train_epoch(
    model: GRURecommender,
    optimiser: torch.optim.Optimizer,
    batches: SessionBatches,
    seed: int,
    epoch: int,
) -> float:
    """One pass over all training pairs; the mean cross-entropy of the pairs as they were met."""
    device = model.head.weight.device
    dropout = torch_generator(seed, "baseline-gru-dropout", epoch)
    total, pairs = 0.0, 0
    for examples in batches.examples(generator(seed, "baseline-gru", epoch)):
        batch = examples.to(device)
        scores = model(batch.courses[0], batch.row[0], batch.position[0], dropout)
        loss = functional.cross_entropy(scores, batch.label[0] - 1)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        total, pairs = total + loss.item() * len(scores), pairs + len(scores)
        if not math.isfinite(total):
            raise UserError(
                f"the GRU baseline's loss is {loss.item()} in epoch {epoch}; "
                "lower baselines.learning_rate"
            )
    return total / pairs


def _validate(
    model: GRURecommender, store: EpisodeStore, tasks_at_once: int, device: torch.device
) -> dict[str, float]:
    score = without_support(model.pair_scores)
    return summary(
        query_ranks(score, store, "validation", tasks_at_once=tasks_at_once, device=device)
    )
