"""The real pipeline through DVC, on a tiny synthetic platform in a copy of the repository."""

import csv
import hashlib
import io
import json
import random
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from pipeline_files import stages
from tiny import Project, done_project, set_params

from mooc_maml.episodes.store import read_episodes
from mooc_maml.evaluation.records import read_ranks
from mooc_maml.evaluation.statistics import LEAST_LEARNERS
from mooc_maml.ranking.query_ranks import query_ranks, summary
from mooc_maml.recommend import Recommender
from mooc_maml.runtime.pipeline import tracks
from mooc_maml.settings.composites_section import OURS

# Rows of the two meta-trained models, and what the second began with.
META = ("zero_shot", "few_shot", "tuned_zero_shot", "tuned_few_shot", "tuned_start")
METRICS = {"HR@1", "HR@5", "HR@10", "NDCG@10", "MRR"}
# Read only with another source or engine; and what the other two shares leave over.
NOT_READ_HERE = ("data.table.", "data.spark.", "episodes.test_fraction", "meta.proximal")
QUEUE_SECONDS = 120  # that a queued sweep may take; about 20 when it works


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which `dvc repro` has run, its results committed; not to be changed."""
    return done_project(tmp_path_factory)


@pytest.fixture
def project(done: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy to experiment in."""
    copy = done.copy(tmp_path / "project")
    yield copy
    copy.end()


def is_metrics(found: dict[str, Any]) -> bool:
    return set(found) == METRICS and all(0 <= value <= 1 for value in found.values())


def test_results_have_the_promised_names_and_keys(done: Project) -> None:
    maml = done.read_json("results/maml_K5_Q10.json")
    assert maml["data_source"] == "synthetic"
    assert maml["synthetic"] is True
    assert maml["queries"] == 10 * maml["learners"] > 0
    blocks = [maml["zero_shot"], maml["few_shot"], maml["oracle"], *maml["baselines"].values()]
    assert all(is_metrics(block) for block in blocks)
    assert set(maml["baselines"]) >= {"popularity", "gru"}
    for metric, percent in maml["improvement_over_gru_percent"].items():
        gru, few = maml["baselines"]["gru"][metric], maml["few_shot"][metric]
        expected = pytest.approx(100 * (few - gru) / gru) if gru else None
        assert percent == expected, metric
    alone = done.read_json("results/baselines_K5_Q10.json")
    made_of_them = done.read_json("results/composites_K5_Q10.json")
    both = alone["baselines"] | made_of_them["baselines"]
    assert both == maml["baselines"], "the same queries, both times"


def test_the_metrics_are_those_of_the_records(done: Project) -> None:
    maml = done.read_json("results/maml_K5_Q10.json")
    folder = done.path / "data" / "records"
    models = maml["baselines"] | {name: maml[name] for name in (*META, "oracle")}
    assert {path.stem for path in folder.iterdir()} == set(models)
    for name, metrics in models.items():
        ranks = read_ranks(folder / f"{name}.parquet")
        assert ranks.shape == (maml["learners"], 10)
        assert summary(ranks) == metrics, name
    table = pq.read_table(folder)
    assert table.num_rows == len(models) * maml["queries"]
    hit = [
        course in first
        for course, first in zip(
            table["true_course"].to_pylist(), table["first_courses"].to_pylist(), strict=True
        )
    ]
    assert hit == [rank <= 10 for rank in table["rank"].to_pylist()]


def test_the_records_hold_what_each_model_states(done: Project) -> None:
    """Laws of all kinds; only what orders courses alone states nothing."""
    folder, none = done.path / "data" / "records", set()
    for path in folder.iterdir():
        table = pq.read_table(path)
        if table["true_probability"].null_count:
            none.add(path.stem)
            continue
        first = np.array(table["first_probabilities"].to_pylist())
        assert (np.diff(first) <= 0).all(), path.stem
        assert (first.sum(1) < 1 + 1e-5).all()
        rank, true = (table[name].to_numpy() for name in ("rank", "true_probability"))
        listed = rank <= 10
        assert (first[listed, rank[listed] - 1] == true[listed]).all()
        assert (true[~listed] <= first[~listed, -1]).all()
    assert none == {"random", "item_knn", "repeat"}
    analysed = done.read_json("results/analysis_K5_Q10.json")["calibration"]
    assert {row["model"] for row in analysed} == {path.stem for path in folder.iterdir()} - none
    maml = done.read_json("results/maml_K5_Q10.json")
    few = next(row for row in analysed if row["model"] == "few_shot")
    assert few["first"]["right"] == pytest.approx(maml["few_shot"]["HR@1"])
    assert few["first_ten"]["right"] == pytest.approx(maml["few_shot"]["HR@10"])


def test_the_bundle_ranks_as_stage_test_did(done: Project) -> None:
    """Support and query of the test learners, through every model of the bundle."""
    store = read_episodes(done.path / "data" / "episodes")
    bundle = Recommender.load(done.path / "models" / "bundle")
    records = {path.stem for path in (done.path / "data" / "records").iterdir()}
    assert set(bundle.models) == records - {"random", "oracle", "tuned_start"}
    for name in bundle.models:
        model = bundle.read(name)
        found = query_ranks(
            lambda support, query, own=model: own.after(support, query, None),
            store,
            "test",
            tasks_at_once=bundle.bundle.rules.tasks_at_once,
            device=torch.device("cpu"),
        )
        expected = read_ranks(done.path / "data" / "records" / f"{name}.parquet")
        assert np.array_equal(found, expected), name


def test_ablations_compare_the_settings_asked_for_on_the_same_queries(done: Project) -> None:
    found = done.read_json("results/ablations_K5_Q10.json")
    models = ("few_shot", "tuned_few_shot")
    assert found["queries"] == 10 * found["learners"] > 0
    for key, column, values in (
        ("support_sizes", "support_size", (0, 1, 3)),
        ("inner_steps", "inner_steps", (0, 1, 2)),
    ):
        rows = [(row["model"], row[column]) for row in found[key]]
        assert rows == [(model, value) for model in models for value in values]
        assert all(row.keys() >= METRICS for row in found[key])


def test_the_ends_of_the_ablations_are_what_other_stages_ranked(done: Project) -> None:
    """Here K is the largest support size, so that the learners are all test learners."""
    found = done.read_json("results/ablations_K5_Q10.json")
    maml, controls = (done.read_json(f"results/{x}_K5_Q10.json") for x in ("maml", "controls"))
    pairs = {(row["model"], row["support_size"]): row for row in found["support_sizes"]}
    steps = {(row["model"], row["inner_steps"]): row for row in found["inner_steps"]}
    for row, same in (
        (pairs["few_shot", 0], maml["zero_shot"]),
        (pairs["tuned_few_shot", 0], maml["tuned_zero_shot"]),
        (steps["few_shot", 0], maml["zero_shot"]),
        (steps["tuned_few_shot", 0], controls["models"]["tuned_without_steps"]),
        (steps["few_shot", 2], maml["few_shot"]),
        (steps["tuned_few_shot", 2], maml["tuned_few_shot"]),
    ):
        assert {metric: row[metric] for metric in METRICS} == pytest.approx(same)


def test_cold_start_gives_every_model_so_many_pairs(done: Project) -> None:
    found = done.read_json("results/cold_start_K5_Q10.json")
    maml = done.read_json("results/maml_K5_Q10.json")
    sizes = done.read_json("results/ablations_K5_Q10.json")["support_sizes"]
    curves: dict[str, list[float]] = {}
    for row in found["curves"]:
        if found["learners"] >= LEAST_LEARNERS and row["low"] is not None:
            assert row["low"] <= row["mean"] <= row["high"]
        else:
            assert row["low"] is row["high"] is None
        if row["metric"] == "NDCG@10":
            curves.setdefault(row["model"], []).append(row["mean"])
    assert set(curves) == {*maml["baselines"], "few_shot", "tuned_few_shot"}
    for name in ("few_shot", "tuned_few_shot"):
        own = [row["NDCG@10"] for row in sizes if row["model"] == name]
        assert curves[name] == pytest.approx(own)
    for name in ("popularity", "markov", "item_knn", "v_sknn", "gru", "sasrec", "blend"):
        assert len(set(curves[name])) == 1, f"{name} makes no use of support pairs"
    assert curves["gru_fine_tuned"][0] == pytest.approx(curves["gru"][0])
    assert len(set(curves["repeat"])) > 1


def test_the_strongest_baseline_is_the_best_on_validation(done: Project) -> None:
    maml = done.read_json("results/maml_K5_Q10.json")
    validation = {row["model"]: row["NDCG@10"] for row in maml["validation"]}
    best = maml["strongest_baseline"]
    others = set(maml["baselines"]) - set(OURS)
    assert validation[best] == max(validation[name] for name in others)
    assert set(validation) == {*maml["baselines"], *META, "oracle"}
    trained = done.read_json("results/composites_K5_Q10.json")
    for name in OURS:  # the figures of learners that were left out, not those that flatter
        (entry,) = trained["training"][name]
        assert validation[name] == entry["left_out_validation"]["NDCG@10"]
    rows = [row for one in maml["differences"].values() for row in one]
    assert all(row["p"] <= row["p_holm"] <= 1 for row in rows)


def test_controls_and_test_reads_are_written(done: Project) -> None:
    found, maml = (done.read_json(f"results/{x}_K5_Q10.json") for x in ("controls", "maml"))
    assert found["models"]["few_shot"] == pytest.approx(maml["few_shot"])
    assert found["models"]["zero_shot"] == pytest.approx(maml["zero_shot"])
    assert found["repeats"] == 2
    assert set(found["helps"]) == {
        *("few_shot", "shuffled", "exchanged"),
        *("tuned_few_shot", "tuned_without_steps", "tuned_shuffled", "tuned_exchanged"),
        *("mixture", "mixture_without_steps", "mixture_shuffled", "mixture_exchanged"),
    }
    assert len(found["share_of_the_way_to_the_oracle"]["few_shot"]) == len(METRICS)
    lines = (done.path / "results/test_reads.csv").read_text().splitlines()
    own = [line for line in lines if line.startswith(maml["test_set"])]
    assert sorted(line.split(",")[1].split("_K")[0] for line in own) == [
        *("ablations", "analysis", "baselines", "cold_start", "composites", "controls", "maml")
    ]


def test_models_and_checkpoints_load_without_running_code(done: Project) -> None:
    folder = done.path / "models" / "maml"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.pth")}
    kept = {"checkpoints/checkpoint_iter3.pth", "checkpoints/checkpoint_iter6.pth"}
    assert names == {"maml_gru_K5.pth", *kept}
    for name in names:
        content = torch.load(folder / name, weights_only=True)
        assert all(weight.isfinite().all() for weight in content["weights"].values())
        assert content["settings"]


def test_the_report_lists_every_artefact_with_its_size_and_hash(done: Project) -> None:
    assert done.read_json("results/report/config.json")["settings"]["inner_lr"] == 0.1
    assert done.read_json("results/report/report.json")["findings"]
    assert (done.path / "results/report/index.html").stat().st_size > 0
    listed = {a["path"]: a for a in done.read_json("results/report/manifest.json")["artefacts"]}
    for name, entry in listed.items():
        content = (done.path / name).read_bytes()
        assert entry["bytes"] == len(content), name
        assert entry["sha256"] == hashlib.sha256(content).hexdigest(), name
    made = {"results/maml_K5_Q10.json", "models/maml/maml_gru_K5.pth", "results/report/report.json"}
    plots = {
        path.relative_to(done.path).as_posix()
        for path in (done.path / "results/plots").rglob("*.csv")
    }
    assert made | plots <= set(listed)


def test_figures_are_pictures(done: Project) -> None:
    pictures = list((done.path / "results" / "report" / "figures").glob("*.png"))
    assert {"param_change_distribution.png", "training_curve.png"} <= {p.name for p in pictures}
    for picture in pictures:
        head = picture.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert min(struct.unpack(">II", head[16:])) > 300, "pixels"


def test_a_second_repro_runs_nothing(done: Project) -> None:
    said = done.dvc("repro")
    assert re.findall("Running stage '(.*)'", said) == ["list_raw"], "it looks where DVC does not"
    assert said.count("didn't change, skipping") == len(stages()) - 1
    assert done.git("status", "--porcelain") == ""


@pytest.mark.thorough
def test_a_fresh_clone_shows_the_results_and_makes_the_same_bytes(
    done: Project, tmp_path: Path
) -> None:
    clone = done.fresh_clone(tmp_path / "clone")
    shown = clone.dvc_json("metrics", "show")
    found = next(iter(shown.values()))["data"]["results/maml_K5_Q10.json"]["data"]
    assert found["few_shot"] == done.read_json("results/maml_K5_Q10.json")["few_shot"]
    assert not (clone.path / "models" / "maml").exists()
    said = clone.dvc("repro")
    assert "Running stage 'simulate'" in said
    assert "Running stage 'meta_train'" in said
    # dvc.lock holds a hash of every output, models and episodes too; results are in git themselves
    assert clone.git("status", "--porcelain") == ""


def test_each_stage_tracks_exactly_the_settings_that_it_reads(project: Project) -> None:
    """A setting that is read and not tracked gives stale results; one never read, needless work."""
    project.run("python", "tests/settings_read.py", "read.json")
    read = project.read_json("read.json")
    assert set(read) == set(stages())
    assert "inner_lr" in read["meta_train"]
    for name, stage in stages().items():
        assert [key for key in read[name] if not tracks(stage, key)] == [], name
        unread = {key for key in project.params() if tracks(stage, key)} - set(read[name])
        assert [key for key in unread if not key.startswith(NOT_READ_HERE)] == [], name


def test_first_order_by_one_switch(project: Project) -> None:
    said = project.dvc("exp", "run", "-n", "first-order", "-S", "use_second_order=false", "test")
    for stage in (
        "simulate",
        "preprocess",
        "build_episodes",
        "train_baselines",
        "train_composites",
    ):
        assert f"Stage '{stage}' didn't change, skipping" in said
    changed = project.dvc_json("metrics", "diff")
    changed = changed.get("diff", changed)
    assert set(changed) == {"results/maml_K5_Q10.json"}
    names = set(changed["results/maml_K5_Q10.json"])
    assert any(name.startswith(("zero_shot.", "few_shot.")) for name in names)
    assert not any(name.startswith("baselines.") for name in names)
    drawn = project.dvc_json("plots", "diff", "HEAD", "first-order")
    plots = drawn.get("data", drawn)
    assert {"validation", "meta-training loss"} <= set(plots)
    for plot in plots.values():
        assert set(plot[0]["revisions"]) == {"HEAD", "first-order"}
    rows = {row["Experiment"]: row for row in shown_experiments(project)}
    assert rows["first-order"]["use_second_order"] == "False"
    assert float(rows["first-order"]["few_shot.HR@10"]) >= 0


@pytest.mark.thorough
def test_a_killed_experiment_in_a_copy_goes_on_and_ends_with_the_same_bytes(
    project: Project,
) -> None:
    settings = ("-S", "num_meta_iterations=300", "-S", "eval_interval=100", "meta_train")
    process = subprocess.Popen(
        ["dvc", "exp", "run", "--temp", "-n", "killed", *settings],
        cwd=project.path,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while not list(project.path.glob(".state/meta_train/*/state-*.pth")):
        assert process.poll() is None, "it ended before it saved a state"
        assert time.monotonic() < until
        time.sleep(0.01)
    (stage,) = project.processes("stages.meta_train")
    stage.kill()
    assert process.wait(60) != 0
    said = project.dvc("exp", "run", "--temp", "-n", "killed", *settings)
    assert re.search(r"going on after meta-update [1-9]", said)
    said = project.dvc("exp", "run", "--temp", "-n", "whole", *settings)
    assert "Running stage 'meta_train'" in said
    assert "going on" not in said
    found = project.git("for-each-ref", "--format=%(refname:lstrip=-1) %(tree)", "refs/exps")
    trees = dict(line.split() for line in found.splitlines())
    assert trees["killed"] == trees["whole"], "dvc.lock, which has a hash of every file, and curves"


def shown_experiments(project: Project) -> list[dict[str, str]]:
    said = project.dvc("exp", "show", "--csv")
    return list(csv.DictReader(io.StringIO(said[said.index("Experiment,") :])))


def recorded_experiments(project: Project) -> list[str]:
    """Names of the git commits that experiments were recorded in."""
    names = project.git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    inner = ("refs/exps/exec/", "refs/exps/celery/")
    return [name for name in names if not name.startswith(inner) and name != "refs/exps/stash"]


def after_a_queue(done: Project, folder: Path, *sweep: str) -> Project:
    """A copy in which a queued sweep of two has run.

    DVC's queue itself hangs or drops a run now and then (treeverse/dvc issues 10398 and 10428), so
    it may try three times, each in a copy of its own.
    """
    for attempt in (1, 2, 3):
        project = done.copy(folder / f"attempt_{attempt}")
        try:
            said = project.dvc("exp", "run", "--queue", *sweep, "meta_train")
            assert said.count("Queued experiment") == 2
            project.run("dvc", "exp", "run", "--run-all", "--jobs", "2", seconds=QUEUE_SECONDS)
            assert len(recorded_experiments(project)) == 2
        except AssertionError:
            if attempt == 3:
                raise
        else:
            return project
        finally:
            project.end()
    raise AssertionError("unreachable")


@pytest.mark.thorough
def test_a_queued_sweep_with_a_float_as_people_write_it(done: Project, tmp_path: Path) -> None:
    """1e-5 arrives in the file as 1e-05, which YAML 1.1 takes for text."""
    sweep = ("-S", "inner_lr=1e-5,0.5", "-S", "num_meta_iterations=3")
    project = after_a_queue(done, tmp_path, *sweep)
    assert project.git("status", "--porcelain") == "", "a queued run leaves the workspace alone"
    found = {}
    for name in recorded_experiments(project):
        settings = yaml.safe_load(project.git("show", f"{name}:params.yaml"))
        curve = project.git("show", f"{name}:results/plots/validation.csv")
        found[str(settings["inner_lr"])] = curve
    rows = {rate: list(csv.DictReader(io.StringIO(curve))) for rate, curve in found.items()}
    assert set(rows) == {"1e-05", "0.5"}
    assert all(rows[rate][-1]["iteration"] == "3" for rate in rows)
    gain = {
        rate: abs(
            float(evaluations[-1]["few_shot NDCG@10"]) - float(evaluations[-1]["zero_shot NDCG@10"])
        )
        for rate, evaluations in rows.items()
    }
    assert gain["1e-05"] < gain["0.5"], "a step so small hardly adapts"


def test_a_setting_that_does_not_exist_or_is_out_of_range_stops_and_is_named(
    project: Project,
) -> None:
    said = project.dvc("exp", "run", "-S", "inner_lrr=0.1", succeeds=False)
    assert "inner_lrr" in said
    assert project.git("status", "--porcelain") == ""
    set_params(project, {"inner_lr": -1})
    said = project.dvc("repro", "--single-item", "meta_train", succeeds=False)
    assert "error: params.yaml: inner_lr: found -1" in said
    assert "Traceback" not in said


def test_no_raw_files_tells_where_to_put_them(project: Project) -> None:
    change = "data.source=xuetangx"
    said = project.dvc("exp", "run", "-S", change, "preprocess", succeeds=False)
    assert "put the raw files of data.source = xuetangx into data/raw/xuetangx/" in said
    assert "synthetic" in said, "how to run the embedded data instead"
    assert "Errno" not in said


def write_log(path: Path, learners: int = 60) -> None:
    draw = random.Random(20260107)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["who", "what", "when"])
        for learner in range(learners):
            moment = 1_500_000_000
            for _ in range(24):
                moment += draw.choice([60, 300, 600])
                rows.writerow([f"u{learner}", f"c{draw.randrange(9)}", moment])


@pytest.mark.thorough
def test_a_table_of_ones_own_and_other_episode_sizes(project: Project) -> None:
    write_log(project.path / "data" / "raw" / "table" / "log.csv")
    columns = {"learner": "who", "item": "what", "time": "when", "time_format": "epoch"}
    changes = [f"data.table.{role}={name}" for role, name in columns.items()]
    changes += ["data.source=table", "episodes.support_size=4"]
    arguments = [word for change in changes for word in ("-S", change)]
    said = project.dvc("exp", "run", *arguments, "test")
    assert "Stage 'simulate' didn't change, skipping" in said
    counts = project.read_json("results/preprocess.json")
    assert counts["raw_events"] == 60 * 24
    assert counts["learners"] == 60
    assert counts["items"] == 9
    maml = project.read_json("results/maml_K4_Q10.json")
    assert maml["data_source"] == "table"
    assert maml["synthetic"] is False
    assert "oracle" not in maml, "nobody knows the truth of real data"
    assert (project.path / "models" / "maml" / "maml_gru_K4.pth").is_file()
    assert "data/raw/table/log.csv" not in project.git("status", "--porcelain", "-uall")


def test_a_copy_runs_its_own_code(done: Project) -> None:
    """Not that of the checkout that the editable install points at."""
    said = done.run("python", "-c", "import stages, mooc_maml; print(mooc_maml.__file__)")
    assert Path(said.strip()) == done.path / "src" / "mooc_maml" / "__init__.py"


def meta_trained(project: Project, folder: str, *launcher: str) -> dict[str, torch.Tensor]:
    """Meta-weights, in float64, after the stage ran on its own."""
    gru = "models/baselines/gru.pth"
    arguments = f"--episodes data/episodes --gru {gru} --model {folder} --plots {folder}_plots"
    project.run(*(launcher or ("python",)), "-m", "stages.meta_train", *arguments.split())
    path = project.path / folder / "maml_gru_K5.pth"
    return torch.load(path, weights_only=True)["weights"]


@pytest.mark.thorough
def test_several_processes_train_the_same_model(project: Project) -> None:
    precision = {"hardware.precision": "float64"}
    set_params(project, precision)
    alone = meta_trained(project, "alone")
    torchrun = ("torchrun", "--nproc-per-node=2", "--standalone")
    together = {"torchrun": meta_trained(project, "torchrun", *torchrun)}
    for processes in (2, 3):
        set_params(project, {"hardware.processes": processes})
        together[str(processes)] = meta_trained(project, f"by_{processes}")
    for name, weights in together.items():
        for layer, weight in weights.items():
            torch.testing.assert_close(weight, alone[layer], rtol=1e-9, atol=1e-12, msg=name)
    assert any(not torch.equal(x, alone[name]) for name, x in together["3"].items()), (
        "really shared"
    )


@pytest.mark.thorough
def test_two_seeds_are_trained_tested_and_gathered(project: Project) -> None:
    set_params(project, {"baselines.models": ["popularity", "gru"], "composites.models": []})
    seeds = (sys.executable, "-m", "experiments.seeds", "--seeds")
    project.run(*seeds, "1")
    one = project.read_json("results/seeds_K5_Q10.json")
    said = project.run(*seeds, "2")
    assert "seed_1: " not in said, "it is not trained and tested again"
    found = project.read_json("results/seeds_K5_Q10.json")
    folder = next((project.path / ".state" / "seeds").iterdir()) / "seed_1" / "results"
    files = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    a_seed = sum("test_set" in file for file in files)  # with the baselines' own ranking of queries
    assert a_seed >= 2
    assert (one["test_reads"], found["test_reads"]) == (a_seed, 2 * a_seed)
    assert set(found["models"]) == {"popularity", "gru", "zero_shot", "few_shot", "oracle"}
    for model, metrics in found["models"].items():
        for metric, over in metrics.items():
            assert over["values"][:1] == one["models"][model][metric]["values"]
            assert over["mean"] == pytest.approx(sum(over["values"]) / 2)
            assert over["low"] <= over["mean"] <= over["high"]
    few, gru = (found["models"][name]["HR@10"]["values"] for name in ("few_shot", "gru"))
    differences = found["differences"]["few_shot_minus_gru"]["HR@10"]["values"]
    assert differences == pytest.approx([x - y for x, y in zip(few, gru, strict=True)])
    assert gru[0] != gru[1], "another split and another initialisation"
    assert "results/maml" not in project.git("status", "--porcelain"), "the workspace's own stand"
    project.dvc("repro", "--force", "--single-item", "visualize")
    page = (project.path / "results" / "report" / "index.html").read_text()
    assert "Mean of 2 seeds" in page
    assert f"the test set was read {2 * a_seed} times" in " ".join(page.split())


def test_another_backbone_goes_through_the_same_stages(project: Project) -> None:
    gru = project.read_json("results/maml_K5_Q10.json")
    said = project.dvc(
        *("exp", "run", "-S", "model.backbone=transformer", "-S", "model.transformer.dim=8")
    )
    assert sorted(re.findall("Running stage '(.*)'", said)) == sorted(
        (
            "list_raw",
            "meta_train",
            "meta_train_tuned",
            "test",
            "analyse",
            "export",
            "ablate",
            "controls",
            "visualize",
        )
    )
    found = project.read_json("results/maml_K5_Q10.json")
    assert is_metrics(found["few_shot"])
    assert found["few_shot"] != gru["few_shot"]
    assert found["baselines"]["gru"] == gru["baselines"]["gru"]
    assert (project.path / "models/maml/maml_transformer_K5.pth").is_file()
    layers = (project.path / "results/plots/param_change.csv").read_text()
    assert "attention 1" in layers
