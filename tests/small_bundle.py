"""A whole bundle in a moment: real models with drawn weights, and courses that one can tell."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from mooc_maml.baselines.popularity import Popularity
from mooc_maml.baselines.repeat import Repeat
from mooc_maml.common.files import sha256, write_json
from mooc_maml.evaluation.schema import METRICS
from mooc_maml.models.gru import GRURecommender
from mooc_maml.models.model_file import write_module

ROOT = Path(__file__).resolve().parents[1]
COURSES = 40
EVIL = "<script>window.harmed = true</script><img src=x onerror='window.harmed = true'>"
SETTINGS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")) | {"inner_lr": 0.5}
SUBJECTS = ("Algebra", "Botany", "Chemistry", "Drawing", "Ethics")


def title(number: int) -> str:
    """Of course 1..40; course 7 has one that would harm a page that believes it."""
    return EVIL if number == 7 else f"{SUBJECTS[number % 5]} {number // 5 + 1}"


def course(number: int) -> str:
    """The id of course 1..40."""
    return f"C{number:03d}"


def write_bundle(folder: Path, seed: int = 1, courses: int = COURSES) -> Path:
    """Write a bundle of `few_shot`, `zero_shot`, `repeat` and `popularity`; another a seed."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    gru = GRURecommender(courses, 8, 16, generator=generator)
    run = {"backbone": "gru", "meta": {"variant": "maml"}}
    write_module(folder / "maml.safetensors", gru, run)
    counts = torch.arange(courses, 0, -1)
    Popularity(counts).write(folder / "popularity.safetensors")
    share = np.asarray(counts / counts.sum(), dtype=np.float64)
    Repeat(share, False, torch.device("cpu")).write(folder / "repeat.safetensors")
    write_json(folder / "bundle.json", content(folder, courses))
    return folder


def content(folder: Path, courses: int = COURSES) -> dict[str, Any]:
    """What bundle.json says of the files that are there."""
    found = sorted(folder.glob("*.safetensors"))
    return {
        "format": 1,
        "made_by": "mooc-maml test",
        "data": {
            "source": "synthetic",
            "synthetic": True,
            "pairs_sha256": {},
            "raw_sha256": {},
            "revision": {},
            "test_set": "0123456789abcdef",
            "learners": 131,
            "queries": 1310,
        },
        "rules": {
            "support_size": 5,
            "max_prefix_length": 50,
            "drop_consecutive_repeats": True,
            "reliability": 0.5,
            "seen_prefix": False,
            "seen_support": False,
            "tasks_at_once": 32,
        },
        "settings": {},
        "validation_metric": "NDCG@10",
        "default_model": "few_shot",
        "models": [
            _model("few_shot", "MAML few-shot", "adapted", "maml", 0.411),
            _model("zero_shot", "MAML zero-shot", "plain", "maml", 0.354),
            _model("repeat", "Repeat own courses", "informed", "repeat", 0.3),
            _model("popularity", "Popularity", "plain", "popularity", 0.1),
        ],
        "courses": [course(number) for number in range(1, courses + 1)],
        "titles": [title(number) for number in range(1, courses + 1)],
        "files": {x.name: {"bytes": x.stat().st_size, "sha256": sha256(x)} for x in found},
    }


def _model(name: str, label: str, kind: str, file: str, value: float) -> dict[str, Any]:
    adaptation = {
        "backbone": "gru",
        "variant": "maml",
        "num_inner_steps": 5,
        "zero_shot": name == "zero_shot",
        "settings": SETTINGS,
    }
    return {
        "name": name,
        "label": label,
        "kind": kind,
        "carries_learners": False,
        "file": f"{file}.safetensors",
        "made_of": [],
        "adaptation": adaptation if file == "maml" else None,
        "metrics": {m: {"mean": value, "low": value - 0.03, "high": value + 0.03} for m in METRICS},
        "validation": dict.fromkeys(METRICS, value),
    }
