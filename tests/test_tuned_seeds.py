"""The second meta-model over seeds: its tests, its table, and that what is trained is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_helpers import CPU, STORE, tiny_params

from experiments import tuned_seeds
from experiments.tuned_seeds import METRICS, over_seeds, seeds_table
from mooc_maml.common.randomness import torch_generator
from mooc_maml.evaluation.control_names import TUNED, TUNED_START, TUNED_WITHOUT_STEPS
from mooc_maml.models.gru import GRURecommender, write_model

FEW = {"seed 1": [0.5, 0.3, 0.4], "seed 2": [0.7, 0.1, 0.2]}
GRU = {"seed 1": [0.2, 0.2, 0.2], "seed 2": [0.3, 0.1, 0.2]}
IDS = {"seed 1": [4, 7, 9], "seed 2": [7, 8, 9]}


def found() -> list[Any]:
    return [
        (
            np.array(ids),
            {
                model: dict.fromkeys(METRICS, np.array(own[seed]))
                for model, own in ((TUNED[0], FEW), ("gru", GRU))
            },
        )
        for seed, ids in IDS.items()
    ]


def test_a_learner_whom_two_seeds_test_counts_once() -> None:
    """Differences: 4 has .3; 7 has .1 and .4; 8 has 0; 9 has .2 and 0."""
    result = over_seeds(found())
    assert result["test_learners"] == 4
    (row,) = (x for x in result["over_learners"]["gru"] if x["metric"] == "NDCG@10")
    assert row["difference"] == pytest.approx((0.3 + 0.25 + 0.0 + 0.1) / 4)
    spread = result["over_seeds"]["gru"]["NDCG@10"]
    assert spread["each"] == pytest.approx([0.2, 0.4 / 3])
    assert spread["mean"] == pytest.approx(1 / 6)
    # t of two values with one degree of freedom: mean / (half their distance), p by arctan
    t = (1 / 6) / (0.5 * (0.2 - 0.4 / 3))
    assert spread["p"] == pytest.approx(1 - 2 * np.arctan(t) / np.pi)


def test_one_seed_has_no_interval_and_no_p_over_seeds() -> None:
    assert over_seeds(found()[:1])["over_seeds"]["gru"]["NDCG@10"].keys() == {"each"}


def test_the_table_says_what_the_file_says() -> None:
    seeds = [
        {of: {m: {"NDCG@10": float(np.mean(x[s]))} for m, x in ((TUNED[0], FEW), ("gru", GRU))}
         for of in ("validation", "test")}
        for s in IDS
    ]  # fmt: skip
    lines = seeds_table({"seeds": seeds, **over_seeds(found())}).splitlines()
    assert lines[0].startswith("NDCG@10 of 4 test learners, means over 2 seeds; MAML tuned")
    assert lines[4].startswith("| MAML tuned, few-shot | 36.7 % | 36.7 % |  |")
    assert lines[5].startswith("| GRU | 20.0 % | 20.0 % | +16.7 | ")


def test_what_was_trained_is_kept_and_its_start_stands_beside_it(tmp_path: Path) -> None:
    own = {"warm_start": True, "pointer": 1.0, "pointer_mixes": True, "outer_lr_few": 0.1}
    params = tiny_params(num_meta_iterations=2, eval_interval=1, meta=own)
    drawn = torch_generator(1, "test")
    write_model(tmp_path / "gru.pth", GRURecommender(STORE.num_courses, 3, 4, generator=drawn))
    support, query = STORE.support("test", np.arange(3)), STORE.query("test", np.arange(3))

    def scores() -> dict[str, torch.Tensor]:
        own = tuned_seeds._tuned(params, STORE, tmp_path, CPU)
        return {name: score(support, query) for name, score in own.items()}

    first = scores()
    assert first.keys() == {*TUNED, TUNED_WITHOUT_STEPS, TUNED_START}
    for one, other in zip(list(first)[:-1], list(first)[1:], strict=True):
        assert not torch.equal(first[one], first[other])
    kept = next((tmp_path / "tuned").glob("*.pth")).read_bytes()
    assert all(torch.equal(first[name], again) for name, again in scores().items())
    assert next((tmp_path / "tuned").glob("*.pth")).read_bytes() == kept
