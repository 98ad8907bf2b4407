"""The model card: what the trained model is for, what it is worth, and where not to use it."""

from mooc_maml.evaluation.control_names import CONTROLLED
from mooc_maml.evaluation.schema import METRICS, Difference
from mooc_maml.report.calibration import calibration_words
from mooc_maml.report.findings import interval
from mooc_maml.report.inputs import Inputs, ModelRow, label_of
from mooc_maml.report.words import between, count, percent, points

_METRIC = "NDCG@10"
_ALWAYS = ("few_shot", "zero_shot", "gru", "popularity", "oracle")


def model_card(inputs: Inputs) -> str:
    """The card in Markdown; every sentence on worth follows from the numbers.

    Source: Mitchell et al. 2019, "Model cards for model reporting".
    """
    parts = {
        "Purpose": _purpose(inputs),
        "Data": _data(inputs),
        "Metrics": _metrics(inputs),
        "What adaptation adds": _adaptation(inputs),
        "Against the strongest baseline": _baseline(inputs),
        "Limits": _limits(inputs),
        "Where not to use it": _not_here(inputs),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items())
    return f"# Model card: {inputs.method}\n\n{body}\n"


def _purpose(inputs: Inputs) -> str:
    pairs = count(inputs.params.episodes.support_size, "pair", "pairs")
    steps = " or ".join(map(str, inputs.steps))
    return (
        "Ranks the courses of a platform by which one a learner opens next. It is meta-trained to "
        f"adapt to a learner in {steps} gradient steps on {pairs} (courses so far, next course) of "
        "that learner. It is made to fill a list of suggestions."
    )


def _data(inputs: Inputs) -> str:
    found, episodes = inputs.maml, inputs.params.episodes
    split = (episodes.train_fraction, episodes.validation_fraction, episodes.test_fraction)
    text = (
        f"{inputs.source_label[:1].upper()}{inputs.source_label[1:]}, split by learner "
        f"{'/'.join(f'{100 * share:g}' for share in split)}, seed {inputs.params.seed}. Tested on "
        f"{count(found.learners, 'learner', 'learners')} whom no training saw, with "
        f"{count(found.queries, 'query', 'queries')}. `config.json` names the raw files by their "
        "SHA-256, and the code."
    )
    if inputs.synthetic:
        text += " **The data are synthetic: no figure here says anything of real learners.**"
    return text


def _metrics(inputs: Inputs) -> str:
    """The rows that decide, in the order of the report."""
    wanted = {*_ALWAYS, inputs.maml.strongest_baseline, _best(inputs)}
    rows = [row for row in inputs.rows() if row.name in wanted]
    head = f"| | {' | '.join(METRICS)} |\n|{' --- |' * (len(METRICS) + 1)}"
    lines = [f"| {row.label} | {' | '.join(_cells(row))} |" for row in rows]
    after = "Means over learners; in brackets 95 % intervals, from resampling learners."
    texts = [after, calibration_words(inputs, ("few_shot",))]
    return "\n\n".join(["\n".join([head, *lines]), *filter(None, texts)])


def _cells(row: ModelRow) -> list[str]:
    return [
        percent(own.value) + (f" ({interval(own)})" if own.has_interval else "")
        for own in (row.measures[metric] for metric in METRICS)
    ]


def _best(inputs: Inputs) -> str:
    """The best on validation of those that are models: the oracle cannot be asked."""
    return next((row.name for row in inputs.rows() if row.name != "oracle"), "few_shot")


def _adaptation(inputs: Inputs) -> str:
    row = inputs.difference("few_shot", "zero_shot", _METRIC)
    if row is None:
        return "No paired test of few-shot against zero-shot was made."
    verdict = {
        1: "Adaptation helps.",
        0: "Whether adaptation helps cannot be told from chance.",
        -1: "Adaptation does harm: use the model without it.",
    }[row.sign]
    return " ".join([verdict, f"It changes {_METRIC} by {_size(row)}.", *_controls(inputs)])


def _controls(inputs: Inputs) -> list[str]:
    """What a gain is no proof of, where a negative control fails."""
    own = next(x for x in CONTROLLED if x.few_shot == "few_shot")
    texts = {
        "shuffled": "A part of the change comes without knowing which course followed which: "
        "adapted on shuffled pairs, it is above zero-shot too.",
        "exchanged": "A part of the change is no knowledge of the learner: adapted on another "
        "learner's pairs, it is above zero-shot too.",
    }
    failed = [texts[x] for x in texts if inputs.controls.helps.get(own.prefix + x)]
    asked = any(own.prefix + x in inputs.controls.helps for x in texts)
    held = ["Adapted on wrong pairs it gains nothing, as it must."] if asked else []
    return failed or held


def _baseline(inputs: Inputs) -> str:
    best = inputs.maml.strongest_baseline
    row = inputs.difference("few_shot", best, _METRIC)
    if row is None:
        return f"The strongest baseline is {label_of(best)}; no paired test was made with it."
    label = label_of(best)
    verdict = {
        1: f"Ahead of {label}.",
        0: f"No difference from {label} beyond chance; that is the simpler choice.",
        -1: f"Behind {label}: where only the list counts, use that.",
    }[row.sign]
    return f"{verdict} Few-shot differs from it by {_size(row)} in {_METRIC}."


def _size(row: Difference) -> str:
    return (
        f"{points(row.difference)} (95 % interval {between(row.low, row.high)}; "
        f"p = {row.p_holm:.2g} after Holm's correction)"
    )


def _limits(inputs: Inputs) -> str:
    params = inputs.params
    lines = [
        f"One split and one seed ({params.seed}): another run may order close models otherwise.",
        "It knows the courses of its training only; a new course is never suggested.",
        "It learns from what was opened, and not from what was of use: it repeats the habits, and "
        "the gaps, of the learners it saw.",
        f"Every figure counts a learner's {params.episodes.position} "
        f"{params.episodes.support_size + params.episodes.query_size} pairs; who opened fewer "
        "courses was not tested.",
    ]
    if not inputs.maml.seen_courses.prefix_left_out:
        lines.append("Courses that a learner opened before are ranked as any other.")
    return _listed(lines)


def _not_here(inputs: Inputs) -> str:
    lines = [
        "To judge, admit, grade or exclude learners: it says what is opened next, and nothing of "
        "ability.",
        "To withhold courses from anyone: what is low in a list is unlikely, and not unsuitable.",
        "On a platform other than that of its training data, or long after them, without a new "
        "training and test.",
    ]
    if inputs.synthetic:
        lines.insert(0, "For real learners: train it on the platform's own data first.")
    return _listed(lines)


def _listed(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
