"""Training, keeping and reading the models of a table, whichever table it is."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from mooc_maml.baselines.base import NO_PARTS, Baseline, Log, Parts, Resumable
from mooc_maml.common.errors import UserError
from mooc_maml.common.progress import following, say
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.runtime.processes import ALONE, ProcessGroup
from mooc_maml.runtime.run_state import RunState
from mooc_maml.runtime.saved_state import SavedState
from mooc_maml.settings.params import Params

Table = Mapping[str, type[Baseline]]


# About how long training takes, in seconds, on the embedded data; of others not listed, one.
_SECONDS = {
    "gru": 40,
    "gru_with_history": 50,
    "gru_tuned": 400,
    "gru_tuned_with_history": 500,
    "sasrec": 400,
    "sasrec_with_history": 500,
    "gru_fine_tuned": 12,
    "gru_further": 100,
    "blend": 5,
    "pool": 25,
    "mixture": 45,
}


def model_path(folder: Path, kind: type[Baseline]) -> Path:
    """Where a trained model lies in the folder of its stage."""
    return folder / (kind.name + kind.ending)


def train_models(
    table: Table,
    names: Collection[str],
    store: EpisodeStore,
    params: Params,
    device: torch.device,
    log: Log,
    state_of: Callable[[str], SavedState] | None = None,
    parts: Parts = NO_PARTS,
) -> Iterator[tuple[str, Baseline]]:
    """Train the models of these names, in the order of the table; yields each when it is ready.

    Args:
        table: name -> class; one that is made of others stands after them.
        names: which are trained.
        store: the episodes.
        params: the settings.
        device: where they are trained.
        log: takes lines of progress.
        state_of: name -> where a long training is kept, to go on from; None: it is not kept.
        parts: models trained before, for those that are made of them.

    Raises:
        UserError: a loss is no longer finite, or saved states are damaged.
    """
    trained = dict(parts)
    for name, kind in table.items():
        if name not in names:
            continue
        if state_of is not None and issubclass(kind, Resumable):
            trained[name] = kind.resume(store, params, device, log, state_of(name), trained)
        else:
            trained[name] = kind.train(store, params, device, log, trained)
        yield name, trained[name]


def shared_out(table: Table, names: Collection[str]) -> list[list[str]]:
    """Models that have to be trained one after the other, each with those it is made of.

    What is in different lists can be trained at the same time.

    Args:
        table: name -> class.
        names: which are trained.
    """
    found: list[list[str]] = []
    for name in (name for name in table if name in names):
        before = [own for own in found if set(own) & set(table[name].made_of)]
        found = [own for own in found if own not in before] + [[*chain(*before), name]]
    return found


def _own(table: Table, names: Collection[str], process_group: ProcessGroup) -> list[str]:
    """Those that this process trains, in the order of the table."""
    lists = shared_out(table, names)
    mine = process_group.share([sum(_SECONDS.get(x, 1) for x in own) for own in lists])
    chosen = {name for number in mine for name in lists[number]}
    return [name for name in table if name in chosen]


def train_and_test(
    table: Table,
    names: Collection[str],
    store: EpisodeStore,
    params: Params,
    device: torch.device,
    run: RunState,
    parts: Parts = NO_PARTS,
    process_group: ProcessGroup = ALONE,
) -> tuple[dict[str, dict[str, float]], dict[str, list[dict[str, Any]]]]:
    """Train these models, keep each in the run's folder, and rank the test queries with it.

    Args:
        table, names, store, params, device, parts: see `train_models`.
        run: keeps the trained models, and the states of those that train for long.
        process_group: the processes that share the models; each model is one's alone, so that it
            is the same however many there are. All get the metrics of all, the models being kept.

    Raises:
        UserError: see `train_models`; or another process has kept its models elsewhere.

    Returns:
        Name -> test metrics; and name -> what its training was like, empty where there is nothing.
    """
    seen, at_once = seen_filter(store, params), params.hardware.tasks_at_once
    metrics: dict[str, dict[str, float]] = {}
    training: dict[str, list[dict[str, Any]]] = {}
    own = _own(table, names, process_group)
    models = train_models(table, own, store, params, device, say, run.part, parts)
    plan = [(name, None) for name in own]
    with nullcontext() if process_group.rank else following(run.stage, plan):
        for name, model in models:
            model.write(model_path(run.kept, table[name]))
            score = seen.without(model.scores)
            metrics[name] = summary(
                query_ranks(score, store, "test", tasks_at_once=at_once, device=device)
            )
            training[name] = model.history
    for of_others in process_group.gather([metrics, training]):
        metrics, training = metrics | of_others[0], training | of_others[1]
    order = [name for name in table if name in names]
    for path in (model_path(run.kept, table[name]) for name in order):
        if not path.exists():
            raise UserError(
                f"{path}: was trained by another process and does not lie here; let all machines "
                "work in one shared folder"
            )
    return {name: metrics[name] for name in order}, {name: training[name] for name in order}


def read_table(
    table: Table,
    folder: Path,
    names: Collection[str],
    num_courses: int,
    device: torch.device,
    parts: Parts = NO_PARTS,
) -> dict[str, Baseline]:
    """The trained models of these names, in the order of the table.

    Raises:
        UserError: one is missing, is damaged, or ranks another number of courses.
    """
    found: dict[str, Baseline] = {}
    for name, kind in table.items():
        if name in names:
            path = model_path(folder, kind)
            found[name] = kind.read(path, num_courses, device, {**parts, **found})
    return found
