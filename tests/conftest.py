"""What several tests share: default settings, settings for small logs, real data if it is there."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import committed
import pytest
import torch
from hypothesis import HealthCheck, settings

from mooc_maml.settings.params import Params, parse_params

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"

MakeParams = Callable[..., Params]

# Models of a test's size only wait for a second thread, and tests may run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start
torch.set_num_threads(1)

# Cases of each fuzz test: `make test`, and with --hypothesis-profile thorough.
FUZZ = {"quick": 25, "thorough": int(os.environ.get("MOOC_MAML_FUZZ", "300"))}
for name, cases in FUZZ.items():
    settings.register_profile(
        name,
        max_examples=cases,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
settings.load_profile("quick")


@pytest.fixture
def make_params() -> MakeParams:
    """params.yaml with changes: make_params(seed=1, data={"source": "table"})."""

    def make(**changes: Any) -> Params:
        content = committed.settings()
        return parse_params(_merged(content, changes))

    return make


def _merged(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(content)
    for key, value in changes.items():
        inside = isinstance(value, dict) and isinstance(content.get(key), dict)
        merged[key] = _merged(content[key], value) if inside else value
    return merged


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Models of a test's size only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Path of a real data file beside the repository; the test is skipped without it."""

    def find(name: str) -> Path:
        path = REAL_DATA / name
        if not path.is_file():
            pytest.skip(f"real data not present: {path}")
        return path

    return find
