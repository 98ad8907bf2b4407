"""The study's recommender: course embeddings, a GRU over the session, a linear head to all courses.

Source: Hidasi et al. 2016, "Session-based recommendations with recurrent neural networks", in the
study's shape (embedding 64, one layer of 128, cross-entropy over all courses).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mooc_maml.models.embedding import make_room, unset_embedding
from mooc_maml.models.model_file import read_module, write_module


class _Pointer(nn.Module):
    """Weights of courses opened before: three, or five of one that is mixed with the head."""

    def __init__(self, mixes: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(5 if mixes else 3))


class GRURecommender(nn.Module):
    """Scores every course as the next one of a session.

    Course ids run from 1 to C; 0 is padding, whose embedding is zero and never learns. Since rows
    are padded on the right, padding never enters the state of a course before it.

    Args:
        num_courses: C.
        embedding_dim: E, size of a course's embedding.
        hidden_dim: H, size of the state.
        layers: GRU layers.
        dropout: share of embedding values set to zero where `hidden` is given a generator.
        pointer: where the weights of a pointer to courses opened before begin, which a meta-model
            may have and which the scores of this module leave out; None: there is none.
        pointer_mixes: whether the pointer is mixed with the head, not added to its scores.
        generator: draws the initial weights; torch's default distributions, without global state.
            None: the weights are zero, for a model that is about to load them.
    """

    def __init__(
        self,
        num_courses: int,
        embedding_dim: int,
        hidden_dim: int,
        layers: int = 1,
        dropout: float = 0.0,
        pointer: float | None = None,
        pointer_mixes: bool = False,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.settings: dict[str, int | float] = {
            "num_courses": num_courses,
            "embedding_dim": embedding_dim,
            "hidden_dim": hidden_dim,
            "layers": layers,
            "dropout": dropout,
        }
        if pointer is not None:
            self.settings["pointer"] = pointer
        if pointer_mixes:
            self.settings["pointer_mixes"] = True
        with torch.device("meta"):  # no numbers yet, so that none come from global random state
            self.embedding = unset_embedding(num_courses + 1, embedding_dim)
            self.gru = nn.GRU(embedding_dim, hidden_dim, layers, batch_first=True)
            self.head = nn.Linear(hidden_dim, num_courses)
            if pointer is not None:
                self.pointer = _Pointer(pointer_mixes)
        make_room(self)
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        """Draw N(0, 1) for embeddings, U(-1/√H, 1/√H) for the rest: what torch's own modules do."""
        if generator is None:
            for weight in self.parameters():
                nn.init.zeros_(weight)
            return
        nn.init.normal_(self.embedding.weight, generator=generator)
        self.embedding.weight[0].zero_()
        bound = 1 / math.sqrt(self.gru.hidden_size)
        for weight in [*self.gru.parameters(), *self.head.parameters()]:
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        start = self.settings.get("pointer")
        if start is not None:
            mixes = self.settings.get("pointer_mixes", False)
            begin = [0.0, 0.0, start, -start, 0.0] if mixes else [start, start, -start]
            self.pointer.bias.copy_(torch.tensor(begin))

    def hidden(self, courses: Tensor, dropout_generator: torch.Generator | None = None) -> Tensor:
        """States after each course.

        Args:
            courses: int64 [..., time], 0 = padding on the right.
            dropout_generator: a CPU generator, in training; None: no dropout.

        Returns:
            float [..., time, H]; state t has seen courses 0..t of its row and nothing else.
        """
        embedded = self.embedding(courses.reshape(-1, courses.shape[-1]))  # [rows, time, E]
        if dropout_generator is not None and self.settings["dropout"] > 0:
            kept = 1 - self.settings["dropout"]
            drawn = torch.rand(embedded.shape, generator=dropout_generator)
            embedded = embedded * (drawn < kept).to(embedded) / kept
        states: Tensor = self.gru(embedded)[0]
        return states.view(*courses.shape, -1)

    def scores(self, hidden: Tensor) -> Tensor:
        """Unnormalised log-probabilities: float [..., H] -> [..., C]; column j is course j + 1."""
        return functional.linear(hidden, self.head.weight, self.head.bias)

    def forward(
        self,
        courses: Tensor,
        row: Tensor,
        position: Tensor,
        dropout_generator: torch.Generator | None = None,
    ) -> Tensor:
        """Scores of pairs that share rows.

        Args:
            courses: int64 [rows, time], 0 = padding.
            row: int64 [pairs], the row of each pair's prefix.
            position: int64 [pairs], index of the prefix's last course in that row.
            dropout_generator: a CPU generator, in training; None: no dropout.

        Returns:
            float [pairs, C].
        """
        return self.scores(self.hidden(courses, dropout_generator)[row, position])


def write_model(
    path: Path,
    model: GRURecommender,
    run: Mapping[str, Any] | None = None,
    learned: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the model, further settings `run` and what else was learned; see `write_module`."""
    write_module(path, model, run, learned)


def read_model(path: Path, num_courses: int | None = None) -> GRURecommender:
    """Read a model that `write_model` wrote; see `read_module`.

    Raises:
        UserError: the file is missing, is damaged, or its weights do not fit.
    """
    return read_module(path, GRURecommender, num_courses)
