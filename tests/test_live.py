"""Curves of meta-training as it goes, by DVCLive: off unless asked for, whole when taken up."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from pipeline_files import ROOT
from training_helpers import run as run_updates
from training_helpers import tiny_trainer

from mooc_maml.common.errors import UserError
from mooc_maml.meta.live import SWITCH, LiveCurves
from mooc_maml.meta.run import run_meta_training
from mooc_maml.runtime.run_state import RunState

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(folder: str) -> dict[str, bytes]:
    """A whole run, or the rest of one; gives the files of its outputs."""
    run = RunState("meta_train", "settings", "code")
    run_meta_training(tiny_trainer(), run, Path(folder) / "model", Path(folder) / "plots")
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def points(name: str) -> pd.DataFrame:
    return pd.read_csv(f"live/meta_train/plots/metrics/{name}.tsv", sep="\t")


def test_off_unless_asked_for(monkeypatch) -> None:
    for value in (None, "", "0"):
        monkeypatch.delenv(SWITCH, raising=False) if value is None else monkeypatch.setenv(
            SWITCH, value
        )
        train(f"out{value}")
        assert not Path("live").exists()


def test_without_the_package_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setitem(sys.modules, "dvclive", None)
    with pytest.raises(UserError, match=r"MOOC_MAML_LIVE: set.*pip install -e '\.\[live\]'"):
        train("out")


def test_the_curves_are_those_of_the_run_and_change_no_output(monkeypatch) -> None:
    pytest.importorskip("dvclive", reason="the extra `live` is not installed")
    before = train("off")
    monkeypatch.setenv(SWITCH, "1")
    assert train("on") == before
    losses, validation = (pd.read_csv(f"on/plots/{x}.csv") for x in ("training", "validation"))
    shown = points("train_loss")
    assert shown["step"].tolist() == losses["iteration"].tolist() == list(range(1, 13))
    assert shown["train_loss"].to_numpy() == pytest.approx(losses["train_loss"].to_numpy())
    shown = points("few_shot/NDCG@10")
    assert shown["step"].tolist() == [0, 4, 8, 12]
    assert shown["NDCG@10"].tolist() == pytest.approx(validation["few_shot NDCG@10"].tolist())
    last = json.loads(Path("live/meta_train/metrics.json").read_text())
    assert last["few_shot"]["NDCG@10"] == pytest.approx(validation["few_shot NDCG@10"].iloc[-1])
    assert not Path("dvc.yaml").exists()


def test_a_run_that_goes_on_goes_on_with_its_curve(monkeypatch) -> None:
    pytest.importorskip("dvclive", reason="the extra `live` is not installed")
    monkeypatch.setenv(SWITCH, "1")
    train("whole")
    whole = points("train_loss")
    killed = RunState("meta_train", "settings", "code")
    killed.save(run_updates(tiny_trainer(), 5).state())
    # it had come to update 7 before it was killed, two after the state
    path = Path("live/meta_train/plots/metrics/train_loss.tsv")
    path.write_text("\n".join(path.read_text().splitlines()[:8]) + "\n")
    train("again")
    pd.testing.assert_frame_equal(points("train_loss"), whole)


class Noted:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.step, self.points, self.summaries = 0, list[tuple[int, str, float]](), 0

    def log_metric(self, name: str, val: float) -> None:
        self.points.append((self.step, name, val))

    def make_summary(self) -> None:
        self.summaries += 1


def test_a_long_run_shows_means_of_blocks() -> None:
    trainer, log = run_updates(tiny_trainer(), 5), Noted()
    curves = LiveCurves(log, 1000)  # 500 points of two updates
    curves.show(trainer.progress)
    own = [point for point in log.points if point[1] == "train_loss"]
    a, b, c, d, _ = trainer.progress.losses
    assert own == [(2, "train_loss", (a + b) / 2), (4, "train_loss", (c + d) / 2)]
    told, summaries = len(log.points), log.summaries
    curves.show(trainer.progress)
    assert (len(log.points), log.summaries) == (told, summaries), "nothing is told twice"


def test_git_and_dvc_take_no_notice_of_the_folder() -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "-q", "live/meta_train"], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0
    assert "live/" not in (ROOT / "dvc.yaml").read_text(encoding="utf-8")
