"""All checks on one GPU, in under six minutes, without a network: one JSON and a Markdown table.

    python -m benchmarks.gpu --json gpu.json --markdown gpu.md
    python -m benchmarks.gpu --device cpu --quick     # does the script itself work?

It runs from the source tree, with the PyTorch (2.11 or later) that is there. It takes the CUDA
tests (where pytest is there), a meta-gradient of the reference setting by size, order and way, its
kernels, meta-training against the CPU's curve, a run twice and one taken up again, and memory.
What fails is told in its place, and the rest goes on. Send both files back.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

from benchmarks import ROOT

PACKAGES = ("torch", "numpy", "orjson", "pyarrow", "pydantic", "safetensors", "tqdm", "yaml")
_OTHER_NAMES = {"yaml": "PyYAML"}


def missing_packages() -> list[str]:
    """What the engine needs and this Python does not have, by the names that pip knows."""
    lacking = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return [_OTHER_NAMES.get(name, name) for name in lacking]


def main() -> None:
    """Check the packages before anything imports them; then measure."""
    arguments = _arguments()
    if lacking := missing_packages():
        sys.exit(
            f"error: Python {sys.version.split()[0]} lacks {', '.join(lacking)}; "
            f"`python -m pip install {' '.join(lacking)}`, or copy them from another machine"
        )
    if importlib.util.find_spec("mooc_maml") is None:
        sys.path.insert(0, str(ROOT / "src"))
    from benchmarks.gpu_report import measure_all
    from mooc_maml.common.errors import main_guard

    main_guard(lambda: measure_all(arguments))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="All checks on one GPU.")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument(
        "--quick", action="store_true", help="few tasks and updates: under a minute"
    )
    parser.add_argument("--episodes", type=Path, default=ROOT / "data" / "episodes")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"))
    parser.add_argument("--markdown", type=Path, default=Path("gpu.md"))
    parser.add_argument("--seconds", type=float, default=330.0, help="to be done in")
    return parser.parse_args()


if __name__ == "__main__":
    main()
