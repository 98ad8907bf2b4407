"""The benchmark of a long run: the real stage, watched by its progress bar."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from episode_helpers import small_store
from training_helpers import tiny_params

from benchmarks import soak
from mooc_maml.common.errors import UserError
from mooc_maml.episodes.store import write_episodes


def test_flat_memory_and_steady_speed_by_hand() -> None:
    flat = [(10 * n, 2.0 * n, 500.0) for n in range(20)]
    found = soak.judged(flat)
    assert found["mb_per_1000_updates"] == pytest.approx(0, abs=1e-9)
    assert found["updates_per_second"] == pytest.approx(5)
    assert found["last_to_first"] == pytest.approx(1)


def test_a_leak_and_a_slowdown_are_seen_behind_the_warm_up() -> None:
    """20 MB more in every 10 updates; twice the time for each of the last 8 samples."""
    seconds, samples = 0.0, []
    for n in range(20):
        seconds += 2.0 if n < 12 else 4.0
        samples.append((10 * n, seconds, 500.0 + 20 * n if n > 3 else 0.0))
    found = soak.judged(samples)
    assert found["mb_per_1000_updates"] == pytest.approx(2000)
    assert found["last_to_first"] == pytest.approx(0.5)
    assert (found["mb_first"], found["mb_last"]) == (580, 880)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(UserError, match=r"only 11 samples.*raise --updates"):
        soak.judged([(n, 1.0 * n, 1.0) for n in range(11)])


@pytest.mark.thorough
def test_the_stage_is_run_to_its_end_and_drawn(tmp_path: Path, monkeypatch, capfd) -> None:
    write_episodes(tmp_path / "episodes", small_store())
    settings = tiny_params(eval_interval=500, checkpoint_interval=250, early_stopping_patience=1)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    monkeypatch.setenv("CI", "true")  # where the line of progress is not rewritten
    monkeypatch.setenv("TERM", "dumb")
    words = "soak --updates 1000 --episodes episodes --json soak.json --picture soak.png"
    monkeypatch.setattr(sys, "argv", words.split())
    soak.main()
    (row,) = json.loads((tmp_path / "soak.json").read_text())["rows"]
    assert (row["updates"], row["evaluations"], row["checkpoints"]) == (1000, 4, 4)
    assert 700 < row["samples"][-1][0] <= 1000
    assert row["peak_mb"] > 100
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
    assert "| mb_per_1000_updates |" in capfd.readouterr().out
    assert not (tmp_path / "models").exists(), "what it trains is thrown away"
