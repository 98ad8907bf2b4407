"""How much a session tells of its learner: the session reliability score (SRS) of every pair.

Rule: the study's SRS = (intensity + extent + composition) / 3, where intensity is min(events / cap,
1), extent min(duration / cap, 1), composition the share of the kinds of event that occur; a cap is
the 95th percentile over the training learners' sessions. The study counts the whole session; here
a session counts up to the moment that a pair's next course is opened, since how it goes on after
the support pairs is not known when a model adapts.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mooc_maml.episodes.session_steps import SessionSteps
from mooc_maml.episodes.store import SPLITS

_PERCENTILE = 95


def pair_reliability(
    steps: SessionSteps, pair: NDArray[np.int64], learner_split: NDArray[np.int8], kinds: int
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """SRS of each pair's session when the pair's next course was opened, above 0 and at most 1.

    A term that the data do not have is left out of the mean: extent where no training session
    lasts (there is no clock), composition where no event has a kind.

    Args:
        steps: all of them.
        pair: int64 [pairs], the steps that end a pair.
        learner_split: int8 [learners], numbers of `SPLITS`.
        kinds: how many kinds of event there are.

    Returns:
        float32 [pairs], and the caps: {"events": number, "seconds": number, "kinds": number}, a
        term that is left out with 0.
    """
    columns, sessions = steps.columns, steps.sessions
    first = np.flatnonzero(columns["position"] == 0)  # [sessions], where each begins
    training = learner_split[columns["learner"][first]] == SPLITS["train"]
    cap = {n: float(np.percentile(x[training], _PERCENTILE)) for n, x in sessions.items()}
    duration = columns["time"][pair] - columns["time"][first[columns["session"][pair]]]
    parts = [(columns["events"][pair], cap["events"]), (duration, cap["duration"])]
    parts.append((columns["kinds"][pair], kinds if columns["kinds"].any() else 0))
    terms = [np.minimum(found / most, 1, dtype=np.float32) for found, most in parts if most]
    caps = {"events": cap["events"], "seconds": cap["duration"] / 1e6, "kinds": parts[2][1]}
    return np.mean(terms, axis=0, dtype=np.float32), caps
