"""Tables in docs, made from what experiments/adaptation, variants and tuned_seeds measured.

    python -m experiments.tables

Writes an .md file for each of `MEASURED`, `AT_LENGTH` and `CURVES`, two that put the data sets of
`SETS` side by side, one for `VARIED`, one for `VARIANTS` and one for `TUNED_SEEDS`, beside their
JSON files. docs/evidence.md shows the sets side by side, the variants and the seeds, README of
experiments/measured the others: `make readme`, which runs this first, puts them there.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.adaptation import METRICS, tested
from experiments.command_line import new_parser
from experiments.tuned_seeds import seeds_table
from experiments.variant_tables import at_length, curve
from experiments.variant_tables import markdown as _markdown
from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import atomic_path, read_json
from mooc_maml.composites import registry
from mooc_maml.evaluation.control_names import WITHOUT_STEPS
from mooc_maml.evaluation.statistics import t_interval
from mooc_maml.report.inputs import label_of
from mooc_maml.report.measured import Row
from mooc_maml.report.words import percent
from mooc_maml.settings.composites_section import ADAPTED

FOLDER = Path("experiments/measured")
POSITIONS = ("first", "last")
GAIN = ("mixture", "gru_as_is")
CERTAIN = 0.01  # p below which a difference is set in bold
MEASURED = {  # table -> its JSON files; of several, each has its own tests
    "adaptation_mooccubex": ("adaptation_mooccubex",),
    "adaptation_mooccubex_others": ("adaptation_mooccubex_others",),
    "adaptation_mooccubex_earlier": (
        "adaptation_mooccubex_earlier",
        "adaptation_mooccubex_earlier_seeds_3_4",
    ),
    "adaptation_kdd_cup": ("adaptation_kdd_cup",),
    "adaptation_kdd_cup_others": ("adaptation_kdd_cup_others",),
    "adaptation_mars": ("adaptation_mars",),
    "adaptation_mars_others": ("adaptation_mars_others",),
}
SETS = {  # data set -> its table in `MEASURED`
    "MOOCCubeX": "adaptation_mooccubex",
    "MOOCCubeX, earlier code": "adaptation_mooccubex_earlier",
    "KDD Cup": "adaptation_kdd_cup",
    "MARS": "adaptation_mars",
}
MODELS, LEADS, SPREADS = "adaptation_models", "adaptation_leads", "adaptation_vary"  # tables
VARIED = {  # data set -> its JSON files: ..._vary_split and ..._vary_training
    "KDD Cup": "adaptation_kdd_cup",
    "MARS": "adaptation_mars",
}
VARIANTS = "variants_kdd_cup"
AT_LENGTH = (  # tables of every way to adapt, each of its JSON file
    "variants_embedded_gru",
    "variants_embedded_transformer",
    "variants_kdd_cup_gru",
    "variants_kdd_cup_transformer",
    "variants_stepik_gru",
    "variants_stepik_transformer",
)
CURVES = {  # table -> a size, in words, and its JSON file
    "variants_training_learners": {
        "778 learners (10 %)": "variants_embedded_share_0.1",
        "2,335 learners (30 %)": "variants_embedded_share_0.3",
        "7,784 learners (all)": "variants_embedded_gru",
    },
    "variants_model_size": {
        "embedding 16, state 32": "variants_embedded_size_16",
        "embedding 32, state 64": "variants_embedded_size_32",
        "embedding 64, state 128": "variants_embedded_gru",
    },
}
TUNED_SEEDS = "tuned_seeds_synthetic"
OURS = {  # how few-shot is called here, and what else there is of the mixture
    "mixture": "mixture, few-shot",
    WITHOUT_STEPS: "mixture told of the support pairs, without steps",
    ADAPTED[1]: "mixture, zero-shot",
    "mixture_exchanged": "mixture, few-shot on another learner's pairs",
    "pool": "pool: the same parts, told, not meta-learned",
}
COMPARED = {  # in the order of the table
    "mixture_vs_pool": "few-shot − pool: what meta-learning is worth",
    "mixture_vs_strongest": "few-shot − strongest baseline on validation",
    "mixture_vs_mixture_zero_shot": "few-shot − its own zero-shot",
    "mixture_without_steps_vs_mixture_zero_shot": "of it, being told",
    "mixture_vs_mixture_without_steps": "of it, the gradient steps",
    "mixture_vs_gru": "few-shot − the document's GRU, ranked like the others",
    "mixture_vs_gru_as_is": "few-shot − the document's GRU as it is",
    "mixture_vs_mixture_exchanged": "few-shot − the same on another learner's pairs",
}
SHOWN = tuple(COMPARED)[:5]  # where data sets stand side by side


def tables(root: Path) -> dict[str, str]:
    """Name of each .md file -> its text.

    Args:
        root: the folder of the JSON files.

    Raises:
        UserError: one is missing, or those of one table tested different models.
    """
    found = {}
    measured = {
        name: [read_json(root / f"{source}.json") for source in sources]
        for name, sources in MEASURED.items()
    }
    for name, files in measured.items():
        runs = runs_of(files)
        parts = [means(runs), *(differences(content, runs) for content in files)]
        found[name] = "\n".join(part for part in parts if part)
    sets = {label: measured[name] for label, name in SETS.items()}
    found[MODELS], found[LEADS] = models(sets), leads(sets)
    found[SPREADS] = spreads(root, VARIED)
    found[VARIANTS] = variants(read_json(root / f"{VARIANTS}.json")["rows"])
    found |= {name: at_length(read_json(root / f"{name}.json")) for name in AT_LENGTH}
    for name, points in CURVES.items():
        found[name] = curve([(x, read_json(root / f"{stem}.json")) for x, stem in points.items()])
    found[TUNED_SEEDS] = seeds_table(read_json(root / f"{TUNED_SEEDS}.json"))
    return found


def means(runs: Sequence[Row]) -> str:
    """Test metrics of each model, means over runs; baselines by validation, the best first."""
    at = {position: _at(runs, position) for position in POSITIONS}
    learners, number = [run["learners"] for run in runs], len(runs) // 2
    validation = {
        model: [_mean(at[position], "validation", model, METRICS[-1]) for position in POSITIONS]
        for model in runs[0]["validation"]
    }
    names = [name for name in OURS if name in runs[0]["test"]]
    names += sorted(validation, key=lambda model: -sum(validation[model]))
    names += [name for name in runs[0]["test"] if name not in names]
    lines = [["", f"validation {METRICS[-1]}", *_under_positions(METRICS)]]
    for model in names:
        own = " / ".join(percent(x) for x in validation.get(model, ()))
        cells = [percent(x) for x in _tested(at, model)]
        lines.append([_called(model), own, *cells])
    if "mixture" in names:
        gains = [
            _percent_more(few, gru)
            for few, gru in zip(*(_tested(at, x) for x in GAIN), strict=True)
        ]
        lines.append([f"few-shot beyond {_called(GAIN[1])}", "", *gains])
    of = f"{'means over ' * (number > 1)}{_seeds(number)}"
    about = f"{_span(learners)} test learners, {of}; on validation first / last pairs."
    return f"{about}\n\n{_markdown(lines)}"


def models(sets: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """NDCG@10 of each model on the test learners of each data set, means over its runs.

    Args:
        sets: data set -> the content of its JSON files.
    """
    runs = {label: runs_of(files) for label, files in sets.items()}
    there = {model for own in runs.values() for model in own[0]["test"]}
    names = [name for name in dict.fromkeys((*OURS, *registry.MODELS, GAIN[1])) if name in there]
    lines = [[f"test {METRICS[-1]}", *(f"{x}: {at}" for x in runs for at in POSITIONS)]]
    for model in names:
        cells = [
            percent(_mean(_at(own, position), "test", model, METRICS[-1]))
            if model in own[0]["test"]
            else ""
            for own in runs.values()
            for position in POSITIONS
        ]
        lines.append([_called(model), *cells])
    return _markdown(lines)


def leads(sets: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """By how much few-shot is ahead, in points of NDCG@10 over learners; a file has its own rows.

    Args:
        sets: data set -> the content of its JSON files.
    """
    words = [COMPARED[name] for name in SHOWN]
    gains = [f"{metric} beyond {_called(GAIN[1])}" for metric in METRICS[:2]]
    lines = [["data set", "pairs", *words, *gains]]
    for label, files in sets.items():
        for content in files:
            pooled, runs = content["over_seeds"], content["runs"]
            about = f"{label}, {pooled[POSITIONS[0]]['learners']:,} learners"
            about += f", {_seeds(len(runs) // 2)}"
            for position in POSITIONS:
                found, own = pooled[position]["comparisons"], _at(runs, position)
                cells = [
                    _difference(next(row for row in found[name] if row["metric"] == METRICS[-1]))
                    if name in found
                    else ""
                    for name in SHOWN
                ]
                gain = [
                    _percent_more(*(_mean(own, "test", model, metric) for model in GAIN))
                    for metric in METRICS[:2]
                ]
                first = about if position == POSITIONS[0] else ""
                lines.append([first, position, *cells, *gain])
    return _markdown(lines)


def differences(content: Mapping[str, Any], all_runs: Sequence[Row]) -> str:
    """The mixture beside the others, every learner once; empty if nothing was tested.

    Args:
        content: of one JSON file.
        all_runs: those of other files too, for the spread over seeds.
    """
    pooled, runs = content["over_seeds"], content["runs"]
    if not pooled[POSITIONS[0]]["comparisons"]:
        return ""
    own, seeds = len(runs) // 2, len(all_runs) // 2
    lines = [["points", "pairs", *METRICS]]
    if seeds > 1:
        lines[0].append(f"NDCG@10, {seeds} seeds")
    for name, words in COMPARED.items():
        for position in POSITIONS:
            found = pooled[position]["comparisons"].get(name)
            if found is not None:
                of = {row["metric"]: row for row in found}
                label = words if position == POSITIONS[0] else ""
                lines.append([label, position, *(_difference(of[metric]) for metric in METRICS)])
                if seeds > 1:
                    lines[-1].append(_by_seeds(_ahead_by(_at(all_runs, position), name)))
    number = sum(len(rows) for rows in pooled[POSITIONS[0]]["comparisons"].values())
    each = f", each counted once, by the mean over those of the {own} seeds that test it"
    spread = " Last column: mean over seeds and t-interval, though seeds share test learners."
    about = (
        f"Differences in points over {pooled[POSITIONS[0]]['learners']:,} learners"
        f"{each * (own > 1)}; in brackets 95 % intervals, in bold p < {CERTAIN:g} after Holm's "
        f"correction over the {number} comparisons of a position.{spread * (seeds > 1)} Strongest "
        f"on validation: {_strongest(runs)}."
    )
    return f"{about}\n\n{_markdown(lines)}"


def variants(rows: Sequence[Row]) -> str:
    """Validation metrics of every way to adapt, before and after adaptation; first the GRU."""
    lines = [["", "cost of an update", f"zero-shot {' / '.join(METRICS)}", "few-shot"]]
    for row in rows:
        cost = f"{row['cost']:.2f}" if "cost" in row else ""
        shown = [
            " / ".join(percent(row[f"{mode} {metric}"]) for metric in METRICS)
            if f"{mode} {METRICS[0]}" in row
            else ""
            for mode in ("zero", "few")
        ]
        name = "the GRU that all begin with" if row["variant"] == "gru" else row["variant"]
        lines.append([name, cost, *shown])
    return _markdown(lines)


def spreads(root: Path, varied_sets: Mapping[str, str]) -> str:
    """How much the split, and initialisation and sampling, move NDCG@10 of the mixture, in points.

    Args:
        root: the folder of the JSON files.
        varied_sets: as `VARIED`.

    Raises:
        UserError: a file is missing.
    """
    compared = ("mixture_vs_mixture_zero_shot", "mixture_vs_strongest", "mixture_vs_gru_as_is")
    head = ["NDCG@10", "pairs", "varied", "few-shot, mean ± t-interval"]
    lines = [[*head, *(f"SD of {COMPARED[name]}" for name in compared)]]
    for label, stem in varied_sets.items():
        drawn = ("split", "training")
        runs = {varied: read_json(root / f"{stem}_vary_{varied}.json")["runs"] for varied in drawn}
        for position in POSITIONS:
            for varied in drawn:
                own = _at(runs[varied], position)
                few = _by_seeds(_values(own, "mixture"), "")
                spread = [f"{100 * _ahead_by(own, name).std(ddof=1):.2f}" for name in compared]
                lines.append([label, position, f"{varied}, {len(own)} times", few, *spread])
    return _markdown(lines)


def runs_of(files: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The runs of several JSON files.

    Raises:
        UserError: they tested different models, so that there are no means over them.
    """
    runs = [run for content in files for run in content["runs"]]
    for run in runs:
        if differing := set(run["test"]) ^ set(runs[0]["test"]):
            raise UserError(
                f"seed {run['seed']}, {run['position']} pairs: {', '.join(sorted(differing))} not "
                "in all runs of a table; expected the same models in each"
            )
    return runs


def _at(runs: Sequence[Row], position: str) -> list[Row]:
    return [run for run in runs if run["position"] == position]


def _tested(at: Mapping[str, Sequence[Row]], model: str) -> list[float]:
    """Test metrics of a model, means over runs: those of the first pairs, then of the last."""
    return [_mean(at[position], "test", model, x) for position in POSITIONS for x in METRICS]


def _ahead_by(runs: Sequence[Row], comparison: str) -> NDArray[np.float64]:
    """Difference of two models' NDCG@10 in each run."""
    one, other = comparison.split("_vs_")
    return _values(runs, one) - _values(runs, other)


def _values(runs: Sequence[Row], model: str) -> NDArray[np.float64]:
    return np.array([tested(run, model)[METRICS[-1]] for run in runs])


def _mean(runs: Sequence[Row], part: str, model: str, metric: str) -> float:
    return float(np.mean([run[part][model][metric] for run in runs]))


def _strongest(runs: Sequence[Row]) -> str:
    """Which baseline it was, at each position, and how often."""
    found = []
    for position in POSITIONS:
        names = Counter(run["strongest_baseline"] for run in _at(runs, position)).most_common()
        found.append(f"{position}, {', '.join(f'{_called(x)} ({n})' for x, n in names)}")
    return "; ".join(found)


def _difference(row: Row) -> str:
    text = f"{_signed(row['difference'])} ({_signed(row['low'], '')} to {_signed(row['high'], '')})"
    return f"**{text}**" if row["p_holm"] < CERTAIN else text


def _by_seeds(values: NDArray[np.float64], sign: str = "+") -> str:
    found = t_interval(values)
    return f"{_signed(found.mean, sign)} ± {100 * (found.high - found.mean):.2f}"


def _signed(value: float, sign: str = "+", decimals: int = 2) -> str:
    """In points, or percent: 0.0123 -> +1.23; there is no -0."""
    return f"{round(100 * value, decimals) + 0.0:{sign}.{decimals}f}".replace("-", "−")


def _percent_more(value: float, base: float) -> str:
    return _signed(value / base - 1, "+", 0) + " %"


def _called(model: str) -> str:
    if model in OURS:
        return OURS[model]
    return "the document's GRU as it is" if model == GAIN[1] else label_of(model)


def _seeds(number: int) -> str:
    return "one seed" if number == 1 else f"{number} seeds"


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _under_positions(names: Sequence[str]) -> Iterator[str]:
    for position in POSITIONS:
        yield from (f"{position}: {name}" if name == names[0] else name for name in names)


def main() -> None:
    """Write every table beside the JSON files."""
    new_parser(__doc__).parse_args()
    for name, text in tables(FOLDER).items():
        with atomic_path(FOLDER / f"{name}.md") as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main_guard(main)
