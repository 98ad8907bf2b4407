"""Does a gradient step add to being told? The GRU with history, adapted, on validation learners.

    python -m experiments.history_adapted --json FILE

Its weights are those of the baseline `gru_with_history` of `dvc repro`, without meta-training. Each
query is told of the support pairs by its input, and the weights have taken steps on them besides:
rates, the output bias's rate and steps are those listed here. The test learners stay unread.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from experiments.command_line import add_json, new_parser
from mooc_maml.baselines.gru_with_history import GRUWithHistory
from mooc_maml.baselines.histories import with_history
from mooc_maml.common.errors import main_guard
from mooc_maml.common.files import write_json
from mooc_maml.episodes.examples import Examples
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.episodes.shown_steps import shown_steps
from mooc_maml.meta.backbone import weights_of
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.meta.inner import adapt
from mooc_maml.ranking.query_ranks import ScoreFunction, query_ranks, summary
from mooc_maml.settings.params import load_params

EPISODES, MODELS = Path("data/episodes"), Path("models/baselines")
TRIED = (  # rate, of the output bias, steps
    (0.01, 0.01, 0),
    (0.01, 0.01, 5),
    (0.1, 0.1, 5),
    (0.1, 3.0, 5),
    (0.1, 10.0, 5),
    (0.1, 10.0, 10),
    (0.03, 10.0, 10),
)


def main(json: Path | None) -> None:
    """Print NDCG@10 of each; write all metrics."""
    store, device = read_checked(EPISODES), torch.device("cpu")
    at_once = load_params("params.yaml").hardware.tasks_at_once
    path = MODELS / "gru_with_history.pth"
    baseline = GRUWithHistory.read(path, store.num_courses, device)
    rows = []
    for rate, bias_rate, steps in TRIED:
        score = told_and_adapted(baseline, rate, bias_rate, steps)
        ranks = query_ranks(score, store, "validation", tasks_at_once=at_once, device=device)
        found = {"rate": rate, "bias_rate": bias_rate, "steps": steps, **summary(ranks)}
        print(f"{steps} steps of {rate:g}, {bias_rate:g}: NDCG@10 {found['NDCG@10']:.4f}")
        rows.append(found)
    if json is not None:
        write_json(json, {"rows": rows})


def told_and_adapted(
    baseline: GRUWithHistory, rate: float, bias_rate: float, steps: int
) -> ScoreFunction:
    """A scorer of queries told of the support pairs, after steps on all that these show."""
    weights, settings = weights_of(baseline.model), baseline.model.settings
    task_model = GRUTaskModel(torch.device("cpu"), torch.float32)
    rates = {n: x.new_tensor(bias_rate if n == "head.bias" else rate) for n, x in weights.items()}

    def score(support: Examples, query: Examples) -> Tensor:
        separator, longest = int(settings["num_courses"]), int(settings["max_length"])
        whole = with_history(support, query, separator, longest)
        shown = task_model.prepare(shown_steps(support))
        fast, _ = adapt(task_model, weights, shown, steps, [rates])
        return task_model.scores(fast, task_model.prepare(whole))[..., :-1]

    return score


def _arguments() -> argparse.Namespace:
    parser = new_parser(__doc__)
    add_json(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main_guard(lambda: main(_arguments().json))
