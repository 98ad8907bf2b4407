"""Several seeds: which stages run, what is counted, and what makes a finished seed worthless."""

import json
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from pipeline_files import ROOT

from experiments import search, seeds
from experiments.drawn import changes
from experiments.search_settings import load_search
from experiments.stage_runs import stages_for
from mooc_maml.runtime.pipeline import stage_fingerprint
from mooc_maml.settings.params import load_params

WRITES = """
import sys
from pathlib import Path
from mooc_maml.evaluation.curves_schema import AblationsResult
from mooc_maml.evaluation.test_reads import write_test_results
name, value = sys.argv[1:]
metrics = dict.fromkeys(("HR@1", "HR@5", "HR@10", "NDCG@10", "MRR"), float(value))
about = {"data_source": "synthetic", "synthetic": True, "test_set": "0123456789abcdef"}
rows = {"support_sizes": [{"model": "a", "support_size": 0, **metrics}], "inner_steps": []}
content = {**about, "judged_by": "MRR", "learners": 1, "queries": 1, **rows}
write_test_results(Path("results") / name, AblationsResult.model_validate(content))
"""


def test_stages_run_in_order_and_what_all_seeds_share_does_not() -> None:
    found = seeds.stages()
    assert found[0] == "build_episodes"
    assert found[-1] == "test"
    assert found.index("train_baselines") < found.index("meta_train")
    assert not {*seeds.GIVEN, "ablate", "visualize"} & set(found)
    assert stages_for("build_episodes", "preprocess") == ["build_episodes"]
    assert stages_for("build_episodes")[-2:] == ["preprocess", "build_episodes"]


def test_every_stage_that_reads_the_test_learners_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Baselines are ranked on the test queries by their own stage, before MAML is by another."""
    monkeypatch.chdir(tmp_path)
    figures = {"train_baselines": ("baselines.json", "0.1"), "test": ("maml.json", "0.2")}

    def command(stage: str, folder: Path) -> list[str]:
        words = figures.get(stage)
        return [sys.executable, "-c", WRITES if words else "pass", *(words or ())]

    monkeypatch.setattr(seeds, "command", command)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setattr("experiments.stage_runs.ROOT", ROOT / "src")
    settings, folder = yaml.safe_load((ROOT / "params.yaml").read_text()), tmp_path / "seed_1"
    seeds.run(folder, settings)
    assert seeds.test_reads(folder) == 2
    seeds.run(folder, settings)
    assert seeds.test_reads(folder) == 2, "it has ended: nothing is read again"
    (folder / "test.done").unlink()  # as if it was killed before it was known to have ended
    seeds.run(folder, settings)
    assert seeds.test_reads(folder) == 2, "the same figures tell nothing new"
    (folder / "test.done").unlink()
    figures["test"] = ("maml.json", "0.3")
    seeds.run(folder, settings)
    assert seeds.test_reads(folder) == 3


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code, whose fingerprints seeds and studies are named by."""
    for name in ("src", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for program in (seeds, search):
        monkeypatch.setattr(program, "stage_fingerprint", partial(stage_fingerprint, root=tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names() -> tuple[str, str]:
    """Of the folder in which seeds are kept, and of the study in which trials are."""
    content = yaml.safe_load(Path("params.yaml").read_text())
    study = search.study_name(load_search(ROOT / search.SETTINGS), content)
    return seeds.digest(load_params("params.yaml"), "both"), study


@pytest.mark.parametrize(
    ("edited", "seeds_stay", "study_stays"),
    [
        ("report/style.py", True, True),
        ("evaluation/controls.py", False, True),
        ("meta/inner.py", False, False),
    ],
)
def test_finished_seeds_and_studies_outlast_edits_of_what_they_do_not_use(
    checkout: Path, edited: str, seeds_stay: bool, study_stays: bool
) -> None:
    before = names()
    with (checkout / "src" / "mooc_maml" / edited).open("a") as file:
        file.write("# a remark\n")
    after = names()
    assert (after[0] == before[0], after[1] == before[1]) == (seeds_stay, study_stays)


def test_other_settings_are_another_folder_and_those_without_effect_are_not(checkout: Path) -> None:
    before, text = names(), Path("params.yaml").read_text()
    for key, value, seeds_stay in (("inner_lr", 0.02, False), ("seed", 7, True)):
        content = yaml.safe_load(text) | {key: value}
        Path("params.yaml").write_text(yaml.safe_dump(content))
        after = names()
        assert (after[0] == before[0]) is seeds_stay
    content = yaml.safe_load(text)
    content["data"]["synthetic"]["learners"] += 1  # its effect is in the episodes
    Path("params.yaml").write_text(yaml.safe_dump(content))
    assert names()[1] == before[1]


def test_what_is_not_varied_keeps_the_seed() -> None:
    params = load_params(ROOT / "params.yaml")
    own = params.seed
    assert changes(params, 3, "both") == {"seed": 3, "episodes.split_seed": 3}
    assert changes(params, 3, "split") == {"seed": own, "episodes.split_seed": 3}
    assert changes(params, 3, "training") == {"seed": 3, "episodes.split_seed": own}


def test_metrics_are_gathered_over_seeds(tmp_path: Path) -> None:
    paths = []
    for number, few in enumerate((0.3, 0.5)):
        path = tmp_path / f"{number}.json"
        of = {"zero_shot": {"HR@1": 0.1}, "few_shot": {"HR@1": few}}
        about = {"data_source": "table", "synthetic": False, "learners": 10 + number}
        path.write_text(json.dumps(about | of | {"baselines": {"gru": {"HR@1": 0.2}}}))
        paths.append(path)
    found = seeds.gather(paths)
    assert found["learners"] == [10, 11]
    few = found["models"]["few_shot"]["HR@1"]
    assert few["mean"] == pytest.approx(0.4)
    assert few["standard_deviation"] == pytest.approx(0.02**0.5)  # (.1^2 + .1^2) / (2 - 1)
    assert few["high"] == pytest.approx(0.4 + 12.7062 * 0.1, abs=1e-4)  # Student, 1 degree
    gain = found["differences"]["few_shot_minus_gru"]["HR@1"]
    assert gain["values"] == pytest.approx([0.1, 0.3])
