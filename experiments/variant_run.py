"""One way to adapt on one data set: alpha and beta chosen, trained till it stops, tested once."""

import copy
import ctypes.util
import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from mooc_maml.common.early_stopping import is_out_of_patience, place_of_best
from mooc_maml.common.errors import UserError
from mooc_maml.common.randomness import generator
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.comparison import LearnerMetrics, paired
from mooc_maml.evaluation.statistics import bootstrap_mean
from mooc_maml.meta.backbones import backbone_of
from mooc_maml.meta.run import check_settings
from mooc_maml.meta.train import MODES, MetaTrainer, meta_train
from mooc_maml.meta.variants import VARIANTS
from mooc_maml.ranking.query_ranks import learner_metrics, query_ranks
from mooc_maml.report.measured import Row
from mooc_maml.settings.params import Params, parse_params

FIRST_ORDER, TUNED = "maml, first-order", "tuned"
NAMES = (FIRST_ORDER, *VARIANTS, TUNED)
_PEAK = Path("/proc/self/clear_refs")  # Linux: a 5 makes the peak of memory begin again


@dataclass(frozen=True)
class Budget:
    """What every way to adapt is given alike.

    Attributes:
        alphas: inner step sizes tried, with the first outer one.
        betas: outer step sizes tried, with the inner one that was best.
        tries: meta-updates of each try, all from the same start.
        updates: upper bound of the training with what was chosen, from that start too.
        interval: meta-updates between evaluations.
        patience: of them without a new best before it stops.
    """

    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    tries: int
    updates: int
    interval: int
    patience: int


@dataclass(frozen=True)
class Place:
    """Where all of them are trained and tested.

    Attributes:
        store: the episodes.
        base: settings; alpha, beta, variant and lengths are another's in each run.
        device: to run on.
        start: the trained baseline that all begin with; None: random weights.
        baseline: test metrics by learner of the baseline that they are compared with.
        budget: of each.
        log: takes a line for each try and each evaluation.
    """

    store: EpisodeStore
    base: Params
    device: torch.device
    start: nn.Module | None
    baseline: LearnerMetrics
    budget: Budget
    log: Callable[[str], None]

    def trainer(self, params: Params) -> "TimedTrainer":
        """A run that has not begun, with a copy of the start, since updates change it in place."""
        backbone, start = backbone_of(params), copy.deepcopy(self.start)
        start = None if start is None else backbone.begun_with(start, params)
        return TimedTrainer(self.store, params, self.device, start=start)


class TimedTrainer(MetaTrainer):
    """A meta-training run that counts the CPU seconds of its updates alone."""

    seconds = 0.0

    def step(self) -> float:
        """See `MetaTrainer`."""
        began = time.process_time()
        loss = super().step()
        self.seconds += time.process_time() - began
        return loss


def row_of(name: str, place: Place) -> Row:
    """One way to adapt, of `NAMES`; where it makes no sense for the backbone, why not."""
    budget = place.budget
    try:
        check_settings(settings(name, place.base, budget, budget.alphas[0], budget.betas[0]))
    except UserError as error:
        return {"variant": name, "left_out": str(error)}
    _forget_peak()
    alpha, beta, tries = chosen(name, place)
    trainer = place.trainer(settings(name, place.base, budget, alpha, beta))
    for _ in meta_train(trainer, lambda found: place.log(f"{name}: {_shots(found)}")):
        pass
    evaluations = trainer.progress.validation
    values = _few_shot(trainer)
    updates = trainer.progress.iteration
    return {
        "variant": name,
        "alpha": alpha,
        "beta": beta,
        "tries": tries,
        "updates": updates,
        "best_at": evaluations[place_of_best(values)]["iteration"],
        "stopped_early": is_out_of_patience(values, budget.patience),
        "seconds_an_update": trainer.seconds / updates,
        "peak_mb": _peak_mb(),
        "evaluations": evaluations,
        **_tested(trainer, place),
    }


def settings(name: str, base: Params, budget: Budget, alpha: float, beta: float) -> Params:
    """Those of a run; MAML++ gives up what it has at first at the same share of the run as there.

    Raises:
        UserError: a value is not allowed.
    """
    own = (base.of_tuned if name == TUNED else base).model_dump()
    share = budget.updates / own["num_meta_iterations"]
    own |= {
        "inner_lr": alpha,
        "outer_lr": beta,
        "num_meta_iterations": budget.updates,
        "eval_interval": budget.interval,
        "early_stopping_patience": budget.patience,
    }
    own["meta"]["warm_start"] = False  # the start is given
    own["model"]["backbone"] = base.model.backbone
    if name == FIRST_ORDER:
        own["use_second_order"] = False
    elif name != TUNED:
        own["meta"] |= {"variant": name}
    for key in ("first_order_updates", "multi_step_updates"):
        own["meta"][key] = round(share * own["meta"][key])
    return parse_params(own | {"tuned": {}})


def chosen(name: str, place: Place) -> tuple[float, float, list[Row]]:
    """The best alpha with the first beta, then the best beta with that alpha; and all tries."""
    tries: list[Row] = []
    budget = place.budget

    def best(pairs: list[tuple[float, float]]) -> tuple[float, float]:
        for alpha, beta in pairs:
            if not any((x["alpha"], x["beta"]) == (alpha, beta) for x in tries):
                value = _tried(settings(name, place.base, budget, alpha, beta), place)
                tries.append({"alpha": alpha, "beta": beta, "few_shot": value})
                place.log(f"{name}: alpha {alpha:g}, beta {beta:g}: {value}")
        there = [x for x in tries if (x["alpha"], x["beta"]) in pairs]
        values = [-1.0 if x["few_shot"] is None else x["few_shot"] for x in there]
        found = there[place_of_best(values)]
        return found["alpha"], found["beta"]

    alpha, _ = best([(alpha, budget.betas[0]) for alpha in budget.alphas])
    return *best([(alpha, beta) for beta in budget.betas]), tries


def _tried(params: Params, place: Place) -> float | None:
    """Few-shot on the validation learners after the meta-updates of a try; None: it diverged."""
    trainer = place.trainer(params)
    try:
        for _ in range(place.budget.tries):
            trainer.step()
    except UserError:
        return None
    trainer.evaluate()
    return _few_shot(trainer)[-1]


def _few_shot(trainer: MetaTrainer) -> list[float]:
    metric = trainer.params.evaluation.validation_metric
    return [evaluation["few_shot"][metric] for evaluation in trainer.progress.validation]


def _tested(trainer: MetaTrainer, place: Place) -> Row:
    """Test metrics of the weights that were best on validation, and few-shot beside others."""
    seed, values = place.base.seed, dict[str, LearnerMetrics]()
    for mode in MODES:
        score = trainer.scores(trainer.best, None if mode == "few_shot" else 0)
        ranks = query_ranks(
            trainer.seen.without(score),
            place.store,
            "test",
            tasks_at_once=place.base.hardware.tasks_at_once,
            device=place.device,
        )
        values[mode] = learner_metrics(ranks)
    few = values["few_shot"]
    return {
        "test": {mode: with_intervals(found, seed) for mode, found in values.items()},
        "few_shot_vs_zero_shot": paired(few, values["zero_shot"], seed),
        "few_shot_vs_baseline": paired(few, place.baseline, seed),
    }


def with_intervals(values: LearnerMetrics, seed: int) -> Row:
    """Metric -> mean over learners and the ends of its 95 % interval."""
    found = {}
    for metric, own in values.items():
        interval = bootstrap_mean(own, generator(seed, f"variants {metric}"))
        low, high = interval.ends
        found[metric] = {"mean": interval.mean, "low": low, "high": high}
    return found


def _shots(found: Row) -> str:
    shots = " -> ".join(f"{found[mode]['NDCG@10']:.4f}" for mode in MODES)
    return f"{found['iteration']} updates, NDCG@10 {shots}"


def _forget_peak() -> None:
    """Give back what is free, else the peak would be that of whatever ran before."""
    gc.collect()
    libc = ctypes.util.find_library("c")
    if libc is not None and hasattr(library := ctypes.CDLL(libc), "malloc_trim"):
        library.malloc_trim(0)
    if _PEAK.exists():
        _PEAK.write_text("5", encoding="ascii")


def _peak_mb() -> float | None:
    """The most memory (10^6 bytes) that was held since; None where the system does not tell."""
    if not _PEAK.exists():
        return None
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(x for x in status.splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def of_budget(budget: Budget) -> Row:
    """As JSON has it."""
    return {key: list(x) if isinstance(x, tuple) else x for key, x in asdict(budget).items()}
