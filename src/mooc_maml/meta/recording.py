"""Meta-gradients recorded as CUDA graphs: of which shapes, and for which models."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mooc_maml.common.progress import say
from mooc_maml.common.randomness import generator
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.store import EpisodeStore, sample_tasks
from mooc_maml.meta.gru.profile import envelope
from mooc_maml.meta.replay import CUDAGraph, Graph, Replays
from mooc_maml.meta.variants import variant_of
from mooc_maml.ranking.query_ranks import own_groups
from mooc_maml.runtime.processes import ProcessGroup
from mooc_maml.settings.params import Params

DRAWN = 64  # meta-batches that the shapes are worked out from


def recorded(
    task_model: Any,
    store: EpisodeStore,
    params: Params,
    process_group: ProcessGroup,
    new_graph: Callable[[], Graph] | None = None,
) -> Any:
    """The task model for meta-gradients that are recorded; itself, with a word, if they cannot be.

    Args:
        task_model: of the backbone.
        store: the episodes; meta-batches like those of training tell the shapes.
        params: the settings.
        process_group: the processes that share the tasks.
        new_graph: makes an empty graph; None: CUDA graphs of the model's device.
    """
    record, variant = getattr(task_model, "recording", None), variant_of(params)
    result = task_model
    fits = variant.is_recorded and not variant.one_task_alone and not params.meta.dropout
    if record is not None and fits:
        drawn = list(_drawn(task_model, store, params, process_group))
        if not drawn:  # no task is this process's, whatever is drawn
            return task_model
        profiles = tuple(envelope(part) for part in zip(*drawn, strict=True))
        graphs = Replays(new_graph or partial(CUDAGraph, task_model.device))
        result = record(graphs, profiles)
    if getattr(result, "replays", None) is None:
        say(
            "hardware.cuda_graphs: not with these settings (it takes model.backbone gru, "
            "no courses left out, no meta.pointer, no meta.dropout, and a meta.variant that adapts "
            "several learners together by plain steps); without",
            error=True,
        )
    return result


def _drawn(
    task_model: Any, store: EpisodeStore, params: Params, process_group: ProcessGroup
) -> Iterator[tuple[Examples, Examples]]:
    """Support (as adapted on) and query of the groups of some meta-batches, from draws apart."""
    shown, at_most = variant_of(params).shown, params.hardware.tasks_at_once
    for number in range(DRAWN):
        rng = generator(params.seed, "meta-shapes", number)
        tasks = sample_tasks(store, params.meta_batch_size, rng)
        support, query = store.support("train", tasks), store.query("train", tasks)
        for group in own_groups(task_model.device, support, query, process_group, at_most):
            yield shown(support.take(group)), query.take(group)
