"""Make a bundle of what the pipeline trained and tested."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mooc_maml.baselines.base import Baseline
from mooc_maml.common.files import atomic_path, sha256, write_json
from mooc_maml.common.results import plain
from mooc_maml.common.tensor_files import ENDING
from mooc_maml.composites.registry import read_models
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.schema import METRICS, TestResult
from mooc_maml.evaluation.vocabulary import read_ids
from mooc_maml.meta.backbone import weights_of
from mooc_maml.meta.backbones import backbone_of
from mooc_maml.meta.model import model_path
from mooc_maml.meta.variants import variant_of
from mooc_maml.models.model_file import read_learned, read_settings
from mooc_maml.preprocess.account import PreprocessResult
from mooc_maml.recommend import bundle as form
from mooc_maml.recommend.meta_rows import META_ROWS
from mooc_maml.recommend.served import own_steps
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.settings.params import Params

_NOT_SERVED = ("random",)
_KEEP_SESSIONS = ("v_sknn",)  # sessions of single training learners can be read from their files
# That made what a bundle holds.
_STAGES = ("train_baselines", "train_composites", "meta_train", "meta_train_tuned", "test")


@dataclass(frozen=True)
class Run:
    """A run of the pipeline: its settings, its episodes, and what its stages wrote.

    Attributes:
        params: the settings.
        store: the episodes.
        pairs: folder of preprocess.
        models: folder of the folders of the trained models.
        tested: the results of stage test.
        preprocessed: the account of preprocess.
        titles: course id -> title; None: there are none.
    """

    params: Params
    store: EpisodeStore
    pairs: Path
    models: Path
    tested: TestResult
    preprocessed: PreprocessResult
    titles: Mapping[str, str] | None


def export_bundle(folder: Path, run: Run) -> form.BundleInfo:
    """Write the bundle; the same run, the same bytes.

    Args:
        folder: appears whole or not at all.
        run: what it is made of.

    Raises:
        UserError: a model is missing, is damaged, or fits neither data nor settings.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        models = [*_baselines(temporary, run), *_meta_rows(temporary, run)]
        metric = run.params.evaluation.validation_metric
        models.sort(key=lambda own: -own.validation[metric])
        own = _info(run, models, _files(temporary))
        write_json(temporary / form.JSON, plain(own))
    return own


def _baselines(folder: Path, run: Run) -> list[form.ModelInfo]:
    """Write baselines and composites; what the bundle says of them."""
    names = (*run.params.baselines.models, *run.params.composites.models)
    cpu, courses = torch.device("cpu"), run.store.num_courses
    models = read_models(run.models / "baselines", run.models / "composites", names, courses, cpu)
    keeping: set[str] = set(_KEEP_SESSIONS)
    found = []
    for name, model in models.items():
        made_of = _made_of(model)
        if name in _NOT_SERVED:
            continue
        if keeping.intersection(made_of):
            keeping.add(name)
        place = f"{form.WITH_LEARNERS}/" if name in keeping else ""
        file = f"{place}{name}{ENDING}"
        model.write(folder / file)
        kind = "informed" if model.reads_support else "plain"
        if own_steps(model):
            kind = "adapted"
        own: dict[str, Any] = {"label": model.label, "kind": kind, "file": file, "made_of": made_of}
        found.append(_model(run, name, own | {"carries_learners": name in keeping}))
    return found


def _made_of(model: Baseline) -> list[str]:
    parts: Mapping[str, Baseline] | None = getattr(model, "parts", None)
    return list(model.made_of if parts is None else parts)


def _meta_rows(folder: Path, run: Run) -> list[form.ModelInfo]:
    """Write the meta-trained models; what the bundle says of their rows."""
    found = []
    for row in META_ROWS:
        if row.name not in run.tested.models:
            continue
        file, params = f"{row.folder}{ENDING}", row.params_of(run.params)
        if not (folder / file).exists():
            _write_meta(folder / file, run.models / row.folder, params, run.store.num_courses)
        own: dict[str, Any] = {
            "label": row.label,
            "kind": "plain" if row.zero_shot else "adapted",
            "file": file,
            "made_of": [],
            "carries_learners": False,
            "adaptation": _adaptation(params, row.zero_shot),
        }
        found.append(_model(run, row.name, own))
    return found


def _write_meta(path: Path, folder: Path, params: Params, num_courses: int) -> None:
    """A meta-trained model in the bundle's format."""
    source, backbone = model_path(folder, params), backbone_of(params)
    module = backbone.read(source, num_courses)
    learned = read_learned(source, variant_of(params).learned(weights_of(module)))
    settings = {k: v for k, v in read_settings(source).items() if k not in ("model", "backbone")}
    backbone.write(path, module, settings, learned)


def _adaptation(params: Params, zero_shot: bool) -> form.Adaptation:
    whole = params.model_dump(mode="json")
    values = {name: x for name, x in whole.items() if name == "meta" or not isinstance(x, dict)}
    return form.Adaptation(
        backbone=params.model.backbone,
        variant=params.meta.variant,
        num_inner_steps=params.num_inner_steps,
        zero_shot=zero_shot,
        settings=values,
    )


def _model(run: Run, name: str, own: Mapping[str, Any]) -> form.ModelInfo:
    """With its metrics on the test learners and on the validation learners."""
    tested, validation = run.tested.models[name], run.tested.validation
    interval = run.tested.intervals_95[name]
    metrics = {
        metric: form.Estimate(mean=tested[metric], low=low, high=high)
        for metric, (low, high) in interval.items()
    }
    on_validation = next(found for found in validation if found.model == name)
    return form.ModelInfo.model_validate(
        {
            **own,
            "name": name,
            "metrics": metrics,
            "validation": {metric: on_validation[metric] for metric in METRICS},
        }
    )


def _files(folder: Path) -> dict[str, form.File]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): form.File(
            bytes=path.stat().st_size, sha256=sha256(path)
        )
        for path in paths
    }


def _info(run: Run, models: list[form.ModelInfo], files: dict[str, form.File]) -> form.BundleInfo:
    ids, titles = read_ids(run.pairs, "course"), run.titles
    return form.BundleInfo(
        format=form.FORMAT,
        made_by=f"mooc-maml {_version()}",
        data=_data(run),
        rules=_rules(run),
        settings=_settings(run.params),
        validation_metric=run.params.evaluation.validation_metric,
        default_model=next(own.name for own in models if not own.carries_learners),
        models=models,
        courses=ids,
        titles=None if titles is None else [titles.get(id) for id in ids],
        files=files,
    )


def _data(run: Run) -> form.DataInfo:
    return form.DataInfo(
        source=run.tested.data_source,
        synthetic=run.tested.synthetic,
        pairs_sha256=run.preprocessed.pairs_sha256,
        raw_sha256=run.preprocessed.raw_sha256,
        revision={stage: stage_fingerprint(stage) for stage in _STAGES},
        test_set=run.tested.test_set,
        learners=run.tested.learners,
        queries=run.tested.queries,
    )


def _rules(run: Run) -> form.Rules:
    params, store = run.params, run.store
    training = store.pair_reliability[store.pairs_of("train")]
    return form.Rules(
        support_size=store.support_size,
        max_prefix_length=store.max_prefix_length,
        drop_consecutive_repeats=params.sessions.drop_consecutive_repeats,
        reliability=float(training.mean(dtype="float64")),
        seen_prefix=run.tested.seen_courses.prefix_left_out,
        seen_support=run.tested.seen_courses.support_left_out,
        tasks_at_once=params.hardware.tasks_at_once,
    )


def _settings(params: Params) -> dict[str, Any]:
    """All but what tells of the machine and its network."""
    found = params.model_dump(mode="json")
    for name in ("raw", "work", "spark", "titles"):
        found["data"].pop(name, None)
    return found


def _version() -> str:
    try:
        return version("mooc-maml")
    except PackageNotFoundError:  # run from the source folder
        return "unknown version"
