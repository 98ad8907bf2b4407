"""The pipeline, one thin script a stage: `python -m stages.NAME --help`."""

import os
import sys

# Folders of PYTHONPATH come last: they may hold a `numpy` for another program, or a `random.py`.
if sys.argv[:1] == ["-m"]:
    own = {os.path.abspath(name) for name in os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    sys.path.sort(key=lambda name: name != os.getcwd() and os.path.abspath(name) in own)

from pathlib import Path

# An editable install points at one checkout; an experiment that DVC runs in a copy of the
# workspace must run the copy's code, whose hashes it records.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from mooc_maml.common.errors import end_at_ctrl_c

# Threads that wait for each other give the core away instead of spinning. By itself a run takes as
# long (1.20 against 1.19 s of training steps on two cores); beside another program that wants the
# cores, a fifth (1.6 against 8.8 s). It is read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A notebook names a backend of its own, which may be missing here: matplotlib's import would fail.
os.environ["MPLBACKEND"] = "agg"

# In `python -m NAME`, before NAME itself; not in a test that imports a stage.
if sys.argv[:1] == ["-m"]:
    end_at_ctrl_c()
