"""What benchmarks and experiments measured: rows as a table, and the machine they depend on."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mooc_maml.common.files import write_json

Row = dict[str, Any]


def machine(threads: int, device: torch.device) -> Row:
    """What the numbers depend on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_mb": round(pages / 1e6),
        "threads": threads,
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Rows as a Markdown table."""
    body = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(x) for x in column) for column in zip(columns, *body, strict=True)]
    lines = [list(columns), ["-" * width for width in widths], *body]
    padded = ([x.ljust(n) for x, n in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def report(rows: Sequence[Row], columns: Sequence[str], facts: Row, path: Path | None) -> None:
    """Print the table and the machine; write both as JSON if `path` is given."""
    print(table(rows, columns))
    print("machine:", ", ".join(f"{key} {value}" for key, value in facts.items()))
    if path is not None:
        write_json(path, {"machine": facts, "rows": list(rows)})


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
