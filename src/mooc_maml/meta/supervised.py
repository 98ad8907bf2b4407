"""A second loss of a meta-update: that of ordinary training, without adaptation.

Meta-training reads those learners only that have K + Q pairs; this loss also reads the others.
"""

import numpy as np

from mooc_maml.common.ranges import ranges
from mooc_maml.episodes.store import SPLITS, EpisodeStore
from mooc_maml.meta.inner import TaskModel, Weights
from mooc_maml.meta.variant import model_weights
from mooc_maml.runtime.processes import ProcessGroup


def supervised_gradient(
    task_model: TaskModel,
    weights: Weights,
    store: EpisodeStore,
    learners: int,
    rng: np.random.Generator,
    process_group: ProcessGroup,
) -> Weights:
    """The gradient of the mean cross-entropy of all pairs of some training learners.

    The processes share the learners; all get the same result.

    Args:
        learners: how many are drawn, without replacement, of all training learners with pairs.
        rng: the same in every process.

    Returns:
        By name, for the model's weights; 0 for what else is meta-learned.
    """
    begin, number = store.learner_start[:-1], np.diff(store.learner_start)
    known = np.flatnonzero((store.learner_split == SPLITS["train"]) & (number > 0))
    drawn = rng.choice(known, min(learners, len(known)), replace=False)
    mine = drawn[process_group.share([float(n) for n in number[drawn]])]
    total = {name: x.new_zeros(x.shape) for name, x in weights.items()}
    if len(mine):
        pairs = ranges(begin[mine], number[mine])
        batch = store.batch(pairs.reshape(1, -1))
        prepared = task_model.prepare(batch, batch.pairs(0, 0))  # nobody is told of another
        fast = task_model.initial(model_weights(weights), prepared)
        found = task_model.gradient(fast, prepared)[1].sum_over_tasks()
        share = len(pairs) / int(number[drawn].sum())
        total |= {name: x * share for name, x in found.items()}
    return dict(zip(total, process_group.sum(*total.values()), strict=True))
