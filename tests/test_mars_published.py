"""The published MARS table: the comparison by hand, the settings, the counts of the real file."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.mars_published import METRICS, PUBLISHED, _rows, _steps, settings
from mooc_maml.common.errors import UserError
from mooc_maml.episodes.build import build_episodes


def arguments(file: Path) -> argparse.Namespace:
    return argparse.Namespace(file=file, threads=1, maml_iterations=1)


def test_a_published_figure_is_laid_beside_the_spread_over_splits() -> None:
    values = (0.02, 0.04)  # mean .03, deviation .01 * sqrt(2)
    rows = _rows({"popularity": [dict.fromkeys(METRICS, x) for x in values]})
    assert [row["metric"] for row in rows] == list(METRICS)
    first = rows[0]
    assert first["published"] == PUBLISHED["popularity"][0] == 0.0412
    assert first["ours"] == pytest.approx(0.03)
    assert first["deviation"] == pytest.approx(0.01 * math.sqrt(2))
    # (.0412 - .03) / (.01414 * sqrt(1.5)) = .0112 / .01732
    assert first["z"] == pytest.approx(0.6466, abs=1e-3)


def test_the_settings_are_those_that_were_published() -> None:
    params = settings(arguments(Path("mars.csv")), 3)
    episodes = params.episodes
    assert (episodes.support_size, episodes.query_size, episodes.position) == (5, 10, "last")
    fractions = (episodes.train_fraction, episodes.validation_fraction, episodes.test_fraction)
    assert fractions == (0.4, 0.2, 0.4)
    assert (params.seed, params.sessions.gap_seconds) == (3, 1800)


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    lines = [f"1,{n},2018-09-28 16:{n:02d}:00" for n in range(20)]
    file.write_text("\n".join(["user_id,item_id,created_at", *lines]) + "\n")
    with pytest.raises(UserError, match="published"):
        _steps(arguments(file))


@pytest.mark.thorough
def test_17_test_learners_are_within_the_chance_of_a_split(
    real_data: Callable[[str], Path],
) -> None:
    given = arguments(real_data("mars_explicit_ratings_en.csv"))
    steps = _steps(given)
    learners = steps.columns["learner"][steps.columns["is_pair"]]
    assert (np.bincount(learners) >= 15).sum() == 32
    found = [
        len(build_episodes(steps, settings(given, seed))[0].episodes["test"]) for seed in range(40)
    ]
    # 152 of 378 learners are test learners: 32 * 152 / 378 = 12.9, deviation 2.7
    assert 11.6 < np.mean(found) < 14.2
    assert min(found) <= 12
    assert max(found) >= 17
