"""A synthetic learning platform with the statistics of a real one and a known truth.

Learners come for sessions, move between courses by the oracle's rule and leave events.
Numbers of events, gaps and sessions follow the published figures of the XuetangX log of 2017.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.randomness import generator
from mooc_maml.settings.data import SyntheticParams
from mooc_maml.synthetic.oracle import Tastes, own_weights
from mooc_maml.synthetic.tastes import draw_tastes

FIRST_SECOND = int(np.datetime64("2017-02-01T00:00:00", "s").astype(np.int64))
END_SECOND = int(np.datetime64("2017-08-01T00:00:00", "s").astype(np.int64))
LONGEST_GAP = 1790  # seconds within a session; a pause of 1,800 s is where readers cut
_MOST_SESSIONS = 150
_MOST_STEPS = 902  # the longest published prefix is 901 courses
_LEAVES = 0.42  # probability that a session of several courses ends at the next step
_ROAMERS = 0.07  # share of learners with a far smaller one, drawn for each
_ROAMER_LEAVES = 0.012  # the smallest of theirs
# Quantiles of the gap between two events of a session, seconds; log-linear in between.
# Published for all gaps: p50 4, p90 205, p95 504; 97 of 100 gaps lie within sessions.
_WITHIN = 0.97
_GAP_SHARE = np.array([0.0, 0.08, 0.25, 0.5 / _WITHIN, 0.9 / _WITHIN, 0.95 / _WITHIN, 0.992, 1.0])
_GAP_SECONDS = np.array([0.3, 0.5, 1.0, 4.5, 205.0, 504.0, 800.0, LONGEST_GAP])
# The same for pauses between sessions; published: 1 % of all gaps exceed 21,022 s.
_PAUSE_SHARE = np.array([0.0, 1 - 0.01 / (1 - _WITHIN), 1.0])
_PAUSE_SECONDS = np.array([1_900.0, 21_022.0, 1_500_000.0])


@dataclass(frozen=True)
class SyntheticActivity:
    """Everything that learners did; sessions grouped by learner and in time order within one."""

    tastes: Tastes
    session_learner: NDArray[np.int32]  # [sessions] row of the learner in `tastes`
    session_step: NDArray[np.int64]  # [sessions + 1] rows of each session's steps
    step_course: NDArray[np.int32]  # [steps] column in `tastes`, never the same twice in a row
    step_event: NDArray[np.int64]  # [steps + 1] rows of each step's events, at least one
    event_time: NDArray[np.int64]  # [events] seconds since 1970, no zone

    @property
    def step_time(self) -> NDArray[np.int64]:
        """[steps] second at which each step begins."""
        return self.event_time[self.step_event[:-1]]


def simulate(params: SyntheticParams, seed: int) -> SyntheticActivity:
    """Let every learner live through the half year; the same arguments give the same activity."""
    tastes = draw_tastes(params, seed)
    session_learner, steps = _sessions(params.learners, generator(seed, "synthetic sessions"))
    course = _walk(tastes, session_learner, steps, generator(seed, "synthetic courses"))
    rng = generator(seed, "synthetic events")
    step_event = _events(steps, rng)
    session_step = np.concatenate([[0], np.cumsum(steps)])
    return SyntheticActivity(
        tastes=tastes,
        session_learner=session_learner,
        session_step=session_step,
        step_course=course,
        step_event=step_event,
        event_time=_times(session_learner, session_step, step_event, rng),
    )


def _sessions(
    learners: int, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Learner [sessions] and number of course steps [sessions] of every session.

    Sessions go on with a constant probability (a geometric number of steps), but a few learners
    roam for long: they give the published heavy tail of prefix lengths.
    """
    count = np.minimum(1 + rng.lognormal(1.03, 1.08, learners).astype(int), _MOST_SESSIONS)
    wanders = rng.beta(2.5, 4.4, learners)  # share of sessions with more than one course
    roams = rng.random(learners) < _ROAMERS
    leaves = np.maximum(1 - np.exp(-rng.gamma(2.2, 1 / 19, learners)), _ROAMER_LEAVES)
    leaves = np.where(roams, leaves, _LEAVES)
    learner = np.repeat(np.arange(learners, dtype=np.int32), count)
    several = rng.random(len(learner)) < wanders[learner]
    steps = np.where(several, 1 + rng.geometric(leaves[learner]), 1)
    return learner, np.minimum(steps, _MOST_STEPS)


def _walk(
    tastes: Tastes,
    learner: NDArray[np.int32],
    steps: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Courses of every session, back to back, all sessions walked side by side."""
    order = np.argsort(-steps, kind="stable")  # longest first: those still going are a head slice
    going = np.searchsorted(-steps[order], -np.arange(steps.max() + 1), side="left")
    start = (np.cumsum(steps) - steps)[order]
    course = np.empty(steps.sum(), np.int32)
    last = _first_course(tastes, learner[order], rng)
    previous = np.full(len(order), -1, np.int32)
    course[start] = last
    follow = np.cumsum(tastes.follow, axis=1)
    for step in range(1, int(steps.max())):
        alive = going[step]
        step_learner = learner[order[:alive]]
        chosen = _next_course(tastes, follow, step_learner, last[:alive], previous[:alive], rng)
        previous, last = last[:alive], chosen
        course[start[:alive] + step] = chosen
    return course


def _pick(cumulative: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """One column a row by the cumulative weights [n, columns]; never a column of weight 0."""
    mark = rng.random((len(cumulative), 1)) * cumulative[:, -1:]
    column: NDArray[np.intp] = np.minimum((cumulative <= mark).sum(axis=1), cumulative.shape[1] - 1)
    return column


def _first_course(
    tastes: Tastes, learner: NDArray[np.int32], rng: np.random.Generator
) -> NDArray[np.int32]:
    own = _pick(np.cumsum(tastes.weight[learner], axis=1), rng)
    popular = rng.choice(len(tastes.popularity), len(learner), p=tastes.popularity)
    personal = rng.random(len(learner)) < tastes.personal[learner]
    first: NDArray[np.int32] = np.where(personal, tastes.own[learner, own], popular)
    return first.astype(np.int32)


def _next_course(
    tastes: Tastes,
    follow: NDArray[np.float64],
    learner: NDArray[np.int32],
    last: NDArray[np.int32],
    previous: NDArray[np.int32],
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Draw from `oracle.next_probabilities`, part by part; `follow` is cumulative."""
    own = _pick(np.cumsum(own_weights(tastes, learner, last), axis=1), rng)
    chosen = tastes.own[learner, own]
    shared = np.flatnonzero(rng.random(len(learner)) >= tastes.personal[learner])
    chosen[shared] = _pick(follow[last[shared]], rng)
    back = (rng.random(len(learner)) < tastes.bounce[learner]) & (previous >= 0)
    return np.where(back, previous, chosen).astype(np.int32)


def _events(steps: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """First event of every step [steps + 1]: one a step, and as many more as sessions have."""
    extra = np.minimum(rng.lognormal(2.05, 1.6, len(steps)).astype(int), 2000)
    first = np.repeat(np.cumsum(steps) - steps, extra)
    at = first + (rng.random(len(first)) * np.repeat(steps, extra)).astype(int)
    count = 1 + np.bincount(at, minlength=steps.sum())
    return np.concatenate([[0], np.cumsum(count)])


def _quantile(
    share: NDArray[np.float64], known: NDArray[np.float64], value: NDArray[np.float64]
) -> NDArray[np.int64]:
    seconds: NDArray[np.float64] = np.exp(np.interp(share, known, np.log(value)))
    return seconds.astype(np.int64)


def _times(
    session_learner: NDArray[np.int32],
    session_step: NDArray[np.int64],
    step_event: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Second of every event; learners begin at any time that lets them end within the dump."""
    events = step_event[-1]
    gap = _quantile(rng.random(events), _GAP_SHARE, _GAP_SECONDS)
    step = step_event[:-1]
    gap[step] = np.maximum(gap[step], 1)  # a later course is strictly later
    session = step_event[session_step[:-1]]
    gap[session] = _quantile(rng.random(len(session)), _PAUSE_SHARE, _PAUSE_SECONDS)
    learner = session[np.searchsorted(session_learner, np.unique(session_learner))]
    gap[learner] = 0
    _squeeze(gap, session, learner)
    elapsed = np.cumsum(gap)
    last = np.append(learner[1:], events) - 1
    span = elapsed[last] - elapsed[learner]
    begin = FIRST_SECOND + rng.random(len(span)) * (END_SECOND - FIRST_SECOND - span)
    shift = begin.astype(np.int64) - elapsed[learner]
    time: NDArray[np.int64] = elapsed + np.repeat(shift, last - learner + 1)
    return time


def _squeeze(gap: NDArray[np.int64], session: NDArray[np.intp], learner: NDArray[np.intp]) -> None:
    """Shorten, in place, the pauses of learners who would outlive the dump."""
    busy = np.add.reduceat(gap, learner)
    pause = np.zeros_like(gap)
    pause[session] = np.maximum(gap[session] - 1_900, 0)
    free = np.add.reduceat(pause, learner)
    room = 0.95 * (END_SECOND - FIRST_SECOND) - (busy - free)
    keep = np.clip(room / np.maximum(free, 1), 0, 1)
    lost = pause * np.repeat(1 - keep, np.diff(np.append(learner, len(gap))))
    gap -= lost.astype(np.int64)
