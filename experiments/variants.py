"""Every way to adapt, at full length: what it is worth on the test learners, and what it costs.

    python -m experiments.variants --pairs data/pairs --folder /tmp/variants --json FILE

All begin with the trained baseline of the backbone, the GRU or, with `--backbone transformer`,
SASRec in the shape of `model.transformer`; with `--cold`, with random weights. Each is given the
same budget: every alpha is tried for `--tries` meta-updates with the first beta, then every other
beta with the alpha that was best; with what was best on the validation learners it is trained from
the start until validation has gone `--patience` evaluations without a new best, or to the bound.
Then the test learners are read once: before adaptation and after it, with 95 % intervals over
learners, and few-shot beside its own zero-shot and the baseline. "tuned" is the second meta-model
of params.yaml, whose alpha and beta are chosen alike. Seconds are of the CPU, of updates alone;
memory is the peak of the whole process meanwhile.

Settings are those of params.yaml, but for `--set`. The file is written after each way to adapt,
and what stands there is not done again. `--share 0.1` keeps a tenth of the training learners, for
the baseline too.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from experiments.command_line import add_folders, at_least, new_parser
from experiments.made_from import MADE_FROM, keep_settings
from experiments.settings_by_key import with_changes
from experiments.tried import changes
from experiments.variant_run import NAMES, Budget, Place, of_budget, row_of, with_intervals
from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.baselines.sasrec import SASRecBaseline
from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import read_json, write_json
from mooc_maml.common.randomness import generator
from mooc_maml.episodes.build import build_episodes
from mooc_maml.episodes.session_steps import read_steps
from mooc_maml.episodes.store import SPLITS, EpisodeStore
from mooc_maml.ranking.query_ranks import learner_metrics, query_ranks
from mooc_maml.ranking.seen import seen_filter
from mooc_maml.report.manifest import git_tree
from mooc_maml.report.measured import Row, machine
from mooc_maml.runtime.hardware import setup
from mooc_maml.settings.params import Params, load_params, parse_params

BASELINES: dict[str, type[GRUBaseline | SASRecBaseline]] = {  # with whose weights each begins
    "gru": GRUBaseline,
    "transformer": SASRecBaseline,
}


def main() -> None:
    """Do what the file does not have yet, one after the other."""
    arguments = _arguments()
    params = _params(arguments)
    device = setup(params.hardware)
    store, share = build_episodes(read_steps(arguments.pairs), params)[0], arguments.share
    store = fewer_learners(store, share, params.seed)
    folder = arguments.folder if share == 1 else arguments.folder / f"share_{share:g}"
    keep_settings(folder, arguments.pairs, params)
    baseline = _baseline(folder, store, params, device)
    ranks = query_ranks(
        seen_filter(store, params).without(baseline.scores),
        store,
        "test",
        tasks_at_once=params.hardware.tasks_at_once,
        device=device,
    )
    of_baseline, start = learner_metrics(ranks), None if arguments.cold else baseline.model
    place = Place(store, params, device, start, of_baseline, _budget(arguments), _print)
    content = _begun(arguments, place, read_json(folder / MADE_FROM))
    for name in arguments.variants:
        if name not in {row["variant"] for row in content["rows"]}:
            content["rows"].append(row_of(name, place))
            content["rows"].sort(key=lambda row: NAMES.index(row["variant"]))
            write_json(arguments.json, content)
            print(f"{name}: done", flush=True)


def _begun(arguments: argparse.Namespace, place: Place, made_from: Row) -> Row:
    """What the file has, or all of it but rows.

    Raises:
        UserError: its rows were made with other settings, pairs, or another budget.
    """
    asked = {
        "backbone": arguments.backbone,
        "start": "random" if arguments.cold else BASELINES[arguments.backbone].name,
        "share": arguments.share,
        "settings": arguments.set,
        "budget": of_budget(place.budget),
        "made_from": made_from,
    }
    path: Path = arguments.json
    if path.exists():
        content: Row = read_json(path)
        if differing := [key for key in asked if content.get(key) != asked[key]]:
            raise UserError(
                f"{path}: its rows are made with other {', '.join(differing)} than those of now; "
                "name another --json, or go back to what is written there"
            )
        return content
    store = place.store
    return {
        **asked,
        "machine": machine(place.base.hardware.threads, place.device),
        "measured_by": {"src": git_tree(Path(__file__).parents[1] / "src")},
        "learners": {
            "training": int((store.learner_split == SPLITS["train"]).sum()),
            "training_with_episodes": len(store.task_ranges.start),
            **{name: len(store.episodes[name]) for name in ("validation", "test")},
        },
        "baseline_name": BASELINES[arguments.backbone].name,
        "baseline": with_intervals(place.baseline, place.base.seed),
        "rows": [],
    }


def fewer_learners(store: EpisodeStore, share: float, seed: int) -> EpisodeStore:
    """The store without some training learners; of a smaller share all are in a larger one too."""
    if share == 1:
        return store
    known = np.flatnonzero(store.learner_split == SPLITS["train"])
    order = generator(seed, "variants fewer learners").permutation(known)
    split = store.learner_split.copy()
    split[order[round(share * len(known)) :]] = -1
    train = store.episodes["train"]
    kept = train[split[train[:, 0]] == SPLITS["train"]]
    return replace(store, learner_split=split, episodes={**store.episodes, "train": kept})


def _params(arguments: argparse.Namespace) -> Params:
    """Those of params.yaml with `--set`; SASRec in the shape that is meta-trained."""
    load_params("params.yaml")
    content: Any = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    content["model"]["backbone"] = arguments.backbone
    content = with_changes(content, changes(" ".join(arguments.set)))
    content["baselines"]["sasrec"] |= content["model"]["transformer"]
    return parse_params(content)


def _baseline(
    folder: Path, store: EpisodeStore, params: Params, device: torch.device
) -> GRUBaseline | SASRecBaseline:
    """The baseline of the backbone, from its file if it is there."""
    kind = BASELINES[params.model.backbone]
    path = folder / f"{kind.name}.pth"
    if not path.exists():
        kind.train(store, params, device, _print).write(path)
    return kind.read(path, store.num_courses, device)


def _budget(arguments: argparse.Namespace) -> Budget:
    own = arguments
    sizes = tuple(own.alphas), tuple(own.betas)
    return Budget(*sizes, own.tries, own.updates, own.interval, own.patience)


def _print(line: str) -> None:
    print(line, flush=True)


def _arguments() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_folders(parser)
    parser.add_argument("--json", type=Path, required=True, help="file to write the rows to")
    parser.add_argument("--backbone", choices=list(BASELINES), default="gru", help="the backbone")
    parser.add_argument("--cold", action="store_true", help="begin with random weights")
    parser.add_argument(
        "--variants", nargs="+", choices=NAMES, default=list(NAMES), help="which of them"
    )
    parser.add_argument("--share", type=_share, default=1.0, help="of the training learners")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings other than the file's"
    )
    parser.add_argument(
        "--alphas", nargs="+", type=float, default=[0.01, 0.1, 0.3, 1.0], help="inner step sizes"
    )
    parser.add_argument(
        "--betas", nargs="+", type=float, default=[1e-4, 1e-3], help="outer step sizes"
    )
    for name, default, words in (
        ("tries", 10, "meta-updates of each try"),
        ("updates", 300, "meta-updates at most"),
        ("interval", 20, "meta-updates between evaluations"),
        ("patience", 3, "evaluations without a new best before it stops"),
    ):
        parser.add_argument(f"--{name}", type=at_least(1), default=default, help=words)
    return parser.parse_args()


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"found {text}; expected a number above 0, at most 1")
    return share


if __name__ == "__main__":
    main_guard(main)
