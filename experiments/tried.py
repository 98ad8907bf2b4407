"""Try settings of meta-training on the validation learners, and keep what came out.

    python -m experiments.tried --json FILE "inner_lr=0.1 inner_lr_bias=10" "meta.dropout=0.3"

Each argument is a trial: settings by their dotted keys that are other than in params.yaml, a warm
start taken for granted. With --updates 0 there is no meta-training: what the start gives, adapted.
Where `experiments.search` looks for the best by itself, this writes down what somebody chose to
try, failures too. With --share 0.5 half of the training learners are meta-trained on. The test
learners stay unread. Episodes and GRU are those of `dvc repro`.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from experiments.command_line import add_json, at_least, new_parser
from experiments.settings_by_key import with_changes
from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import read_json, write_json
from mooc_maml.common.randomness import generator
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.meta.model import MetaModel
from mooc_maml.meta.run import check_settings, warm_start
from mooc_maml.meta.train import MODES, MetaTrainer, meta_train
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.runtime.hardware import setup
from mooc_maml.settings.params import load_params, parse_params

EPISODES, GRU = Path("data/episodes"), Path("models/baselines/gru.pth")
SHOWN = ("NDCG@10", "HR@10")


def main(
    trials: list[str], updates: int, interval: int, path: Path | None, share: float = 1.0
) -> None:
    """Print each evaluation; append each trial to the file."""
    load_params("params.yaml")
    content: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    store = with_share(read_checked(EPISODES), share, content["seed"])
    learners = len(store.task_ranges.start)
    for trial in trials:
        own = {"meta.warm_start": True} | changes(trial)
        length = {"num_meta_iterations": max(updates, 1), "eval_interval": interval}
        found = tried(with_changes(content, {**length, **own}), store, updates)
        entry = {"settings": own, "training_learners": learners, "updates": updates, **found}
        if path is not None:
            earlier = read_json(path) if path.exists() else {"trials": []}
            write_json(path, {"trials": [*earlier["trials"], entry]})


def with_share(store: EpisodeStore, share: float, seed: int) -> EpisodeStore:
    """The same with a drawn share of the training learners; a smaller share is part of a larger."""
    train = store.episodes["train"]
    learners = np.unique(train[:, 0])
    drawn = generator(seed, "tried share").permutation(learners)[: round(share * len(learners))]
    kept = train[np.isin(train[:, 0], drawn)]
    return replace(store, episodes=store.episodes | {"train": kept})


def changes(trial: str) -> dict[str, Any]:
    """ "inner_lr=0.1 meta.dropout=0.3" -> {"inner_lr": 0.1, "meta.dropout": 0.3}.

    Raises:
        UserError: a part is no key=value.
    """
    found = {}
    for part in trial.split():
        key, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"{trial}: expected key=value, separated by spaces, found {part}")
        found[key] = yaml.safe_load(value)
    return found


def tried(content: dict[str, Any], store: EpisodeStore, updates: int) -> dict[str, Any]:
    """Evaluations of the validation learners, and seconds of this process."""
    params = parse_params(content)
    check_settings(params)
    device = setup(params.hardware)
    trainer = MetaTrainer(store, params, device, start=warm_start(params, GRU, store.num_courses))
    began, told = time.process_time(), _told(trainer, store)

    def show(evaluation: dict[str, Any]) -> None:
        words = ", ".join(f"{mode} {evaluation[mode]['NDCG@10']:.4f}" for mode in MODES)
        print(f"{evaluation['iteration']}: NDCG@10 {words}", flush=True)

    if updates:
        for _ in meta_train(trainer, show):
            pass
    else:
        show(trainer.evaluate())
    rows = [
        {"iteration": x["iteration"], **{m: {k: x[m][k] for k in SHOWN} for m in MODES}}
        for x in trainer.progress.validation
    ]
    return {**told, "evaluations": rows, "cpu_seconds": round(time.process_time() - began, 1)}


def _told(trainer: MetaTrainer, store: EpisodeStore) -> dict[str, Any]:
    """With a pointer, what the start gives that is told of the support pairs and takes no step."""
    params, task_model = trainer.params, trainer.task_model
    if params.meta.pointer is None:
        return {}
    score = MetaModel(task_model, trainer.weights, params).scores(0, told=True)
    at_once, device = params.hardware.tasks_at_once, task_model.device
    ranks = query_ranks(score, store, "validation", tasks_at_once=at_once, device=device)
    found = summary(ranks)
    return {"told_without_steps": {name: found[name] for name in SHOWN}}


def _from_command_line() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("trials", nargs="+", help="settings, key=value, separated by spaces")
    parser.add_argument("--updates", type=at_least(0), default=200, help="meta-updates")
    share = "of the training learners that are meta-trained on"
    parser.add_argument("--share", type=float, default=1.0, help=share)
    parser.add_argument("--interval", type=at_least(1), default=50, help="between evaluations")
    add_json(parser)
    own = parser.parse_args()
    torch.set_num_threads(1)
    main(own.trials, own.updates, own.interval, own.json, own.share)


if __name__ == "__main__":
    main_guard(_from_command_line)
