"""A small self-attentive recommender: the Transformer's answer to the same question as the GRU.

Source: Kang & McAuley, "Self-Attentive Sequential Recommendation" (SASRec), ICDM 2018. Unlike
there, rows are padded on the right and positions count from the row's first course, so that the
pairs of one session can share a row.
"""

import math

import torch
from torch import Tensor, nn

from mooc_maml.models.embedding import make_room, unset_embedding


class SASRec(nn.Module):
    """Scores every course as the next one of a session.

    Course ids run from 1 to C; 0 is padding, on the right. Attention looks back only, so neither
    padding nor a later course enters the state of a course before it.

    Args:
        num_courses: C.
        dim: D, size of a course's embedding and of every state; a multiple of `heads`.
        heads: attention heads.
        blocks: attention and feed-forward, how many times.
        dropout: share of values set to zero where `forward` is given a generator.
        max_length: the longest row.
        generator: draws the initial weights; no global random state is used. None: the weights are
            zero, for a model that is about to load them.
    """

    def __init__(
        self,
        num_courses: int,
        dim: int,
        heads: int,
        blocks: int,
        dropout: float,
        max_length: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.settings: dict[str, int | float] = {
            "num_courses": num_courses,
            "dim": dim,
            "heads": heads,
            "blocks": blocks,
            "dropout": dropout,
            "max_length": max_length,
        }
        if dim % heads != 0:
            raise ValueError(f"dim {dim}: expected a multiple of heads, {heads}")
        self.dropout = dropout
        with torch.device("meta"):  # no numbers yet, so that none come from global random state
            self.embedding = unset_embedding(num_courses + 1, dim)
            self.position = unset_embedding(max_length, dim, padding=None)
            self.blocks = nn.ModuleList(_Block(dim, heads) for _ in range(blocks))
            self.norm = nn.LayerNorm(dim)
        make_room(self)
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        """Xavier for matrices, N(0, 1/D) for embeddings, whose scores then start around N(0, 1)."""
        if generator is None:
            for weight in self.parameters():
                nn.init.zeros_(weight)
            return
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                deviation = module.embedding_dim**-0.5
                nn.init.normal_(module.weight, std=deviation, generator=generator)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        self.embedding.weight[0].zero_()

    def hidden(self, courses: Tensor, dropout_generator: torch.Generator | None = None) -> Tensor:
        """States after each course.

        Args:
            courses: int64 [rows, time], 0 = padding on the right.
            dropout_generator: a CPU generator, in training; None: no dropout.

        Returns:
            float [rows, time, D]; state t has seen courses 0..t of its row and nothing else.

        Raises:
            ValueError: rows are longer than `max_length`.
        """
        time, longest = courses.shape[1], self.position.num_embeddings
        if time > longest:
            raise ValueError(f"rows of {time} courses; this model was made for {longest} at most")
        dropout = _Dropout(self.dropout, dropout_generator)
        # SASRec multiplies by the root of D, so that a course starts out heavier than its position
        x = self.embedding(courses) * math.sqrt(self.embedding.embedding_dim)
        x = dropout(x + self.position.weight[:time])
        later = torch.ones(time, time, dtype=torch.bool, device=courses.device).triu(1)
        for block in self.blocks:
            x = block(x, later, dropout)
        states: Tensor = self.norm(x)
        return states

    def forward(
        self,
        courses: Tensor,
        row: Tensor,
        position: Tensor,
        dropout_generator: torch.Generator | None = None,
    ) -> Tensor:
        """Scores of pairs that share rows, through the same embeddings that courses enter by.

        Args:
            courses: int64 [rows, time], 0 = padding.
            row: int64 [pairs], the row of each pair's prefix.
            position: int64 [pairs], index of the prefix's last course in that row.
            dropout_generator: a CPU generator, in training; None: no dropout.

        Returns:
            float [pairs, C]; column j is course j + 1.
        """
        read = self.hidden(courses, dropout_generator)[row, position]  # [pairs, D]
        return read @ self.embedding.weight[1:].T


class _Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        # No biases, as in the paper: a key's would cancel in the softmax and never learn.
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed_in = nn.Linear(dim, dim)
        self.feed_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, later: Tensor, dropout: "_Dropout") -> Tensor:
        """x [rows, time, D]; later [time, time], true where a key lies after the query."""
        x = x + dropout(self._attend(self.attention_norm(x), later))
        fed = torch.relu(self.feed_in(self.feed_norm(x)))
        return x + dropout(self.feed_out(dropout(fed)))

    def _attend(self, x: Tensor, later: Tensor) -> Tensor:
        """Written out: torch's fused kernels have no forward-mode and no second derivative."""
        maps = (self.query, self.key, self.value)
        query, key, value = (self._by_head(each(x)) for each in maps)  # [rows, heads, time, D/h]
        logits = query @ key.mT / math.sqrt(query.shape[-1])
        weights = logits.masked_fill(later, -math.inf).softmax(-1)
        return (weights @ value).transpose(1, 2).flatten(2)

    def _by_head(self, x: Tensor) -> Tensor:
        """[rows, time, D] -> [rows, heads, time, D / heads]."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class _Dropout:
    """Sets a share of values to zero and scales up the rest; without a generator does nothing."""

    def __init__(self, share: float, generator: torch.Generator | None) -> None:
        self.kept, self.generator = 1 - share, generator

    def __call__(self, x: Tensor) -> Tensor:
        """Any shape, on any device."""
        if self.generator is None or self.kept == 1:
            return x
        drawn = torch.rand(x.shape, generator=self.generator)
        return x * (drawn < self.kept).to(x) / self.kept
