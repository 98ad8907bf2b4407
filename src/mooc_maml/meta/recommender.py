"""The task model of any recommender that is an ordinary module: a backbone needs no more."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.dense import DenseTaskModel, DenseWeights
from mooc_maml.meta.inner import Weights
from mooc_maml.meta.losses import Pairs, pairs_of, recommender_loss
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter


def _module_of(name: str) -> str:
    """feed.out.weight -> feed.out."""
    return name.rpartition(".")[0] or name


class RecommenderTaskModel(DenseTaskModel):
    """Cross-entropy of the next course under any module, with dense weights of each task's own.

    Args:
        module: see `recommender_loss`; its `settings` tell `num_courses`. Not to be used elsewhere.
        device: of the weights.
        dtype: of the weights.
        seen: courses left out of the ranking, and so of every loss; `scores` gives them theirs.
        layer_of: name of a weight -> the layer that it counts to in `relative_changes`.
    """

    def __init__(
        self,
        module: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        seen: SeenFilter = NONE_LEFT_OUT,
        layer_of: Callable[[str], str] = _module_of,
    ) -> None:
        self.device, self.dtype, self.seen, self.layer_of = device, dtype, seen, layer_of
        self.reads_support = False
        self.num_courses: int = module.settings["num_courses"]  # type: ignore[index, assignment]
        module = module.to(device, dtype)
        super().__init__(recommender_loss(module))

        def scores(weights: Weights, courses: Tensor, row: Tensor, position: Tensor) -> Tensor:
            found: Tensor = functional_call(module, weights, (courses, row, position))
            return found

        self._scores = vmap(scores)

    def prepare(self, examples: Examples, support: Examples | None = None) -> Pairs:
        """On the device, with the courses marked that the loss leaves out."""
        left_out = self.seen.courses_out_of_loss(examples, support)
        if left_out is not None:
            left_out = left_out.to(self.device)
        return pairs_of(examples.to(self.device), self.dtype, self.num_courses, left_out)

    def prepare_scores(self, examples: Examples, support: Examples) -> Pairs:
        """On the device; nothing else is an input."""
        return pairs_of(examples.to(self.device), self.dtype, self.num_courses, None)

    @torch.no_grad()
    def scores(self, fast: DenseWeights, examples: Pairs) -> Tensor:
        """Logits [tasks, pairs, C] of every pair, each task with its own weights."""
        found: Tensor = self._scores(fast.values, *examples[:3])
        return found

    def relative_changes(self, weights: Weights, fast: DenseWeights) -> dict[str, Tensor]:
        """See `TaskModel`."""
        moved: dict[str, Tensor] = {}
        whole: dict[str, Tensor] = {}
        for name, values in fast.values.items():
            layer, start = self.layer_of(name), weights[name].double()
            change = (values.double() - start).square().flatten(1).sum(1)
            size = start.square().sum()
            moved[layer] = moved[layer] + change if layer in moved else change
            whole[layer] = whole[layer] + size if layer in whole else size
        return {layer: (change / whole[layer]).sqrt() for layer, change in moved.items()}
