"""Draw the synthetic platform: its courses, its programmes and its learners' tastes."""

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.randomness import generator
from mooc_maml.settings.data import SyntheticParams
from mooc_maml.synthetic.oracle import Tastes

COURSES_A_PROGRAMME = 12
_MOST_OWN = 14  # slots for a learner's own courses
_LEARNERS_AT_ONCE = 4096
_SCHOOLS = ("TsinghuaX", "PekingX", "NTHUx", "UC_BerkeleyX", "MITx", "FudanX", "SJTUx", "CAUx")


def draw_tastes(params: SyntheticParams, seed: int) -> Tastes:
    """Draw a platform; `taste_strength` 0 gives every learner the same law of the next course."""
    rng = generator(seed, "synthetic platform")
    programme = programmes(params, rng)
    popularity = _popularity(params.courses, rng)
    learners = generator(seed, "synthetic tastes")
    own, weight = _own_courses(params.learners, popularity, programme, learners)
    habit = params.taste_strength * 1.2 * learners.standard_normal(params.learners)
    return Tastes(
        learner_ids=_learner_ids(params.learners, learners),
        course_ids=_course_ids(params.courses, rng),
        popularity=popularity,
        follow=_follow(popularity, programme, rng),
        own=own,
        weight=weight,
        bounce=1 / (1 + np.exp(1.2 - habit)),
        personal=np.full(params.learners, 1 - np.exp(-1.6 * params.taste_strength)),
    )


def programmes(params: SyntheticParams, rng: np.random.Generator) -> NDArray[np.int64]:
    """The programme of each course: int64 [courses]; the platform's first draw."""
    courses = min(COURSES_A_PROGRAMME, params.courses)
    return rng.integers(-(-params.courses // courses), size=params.courses)


def _popularity(courses: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Zipf's law with a blunt head (Mandelbrot): the first of 343 courses draws about 3 %."""
    share = 1 / (np.arange(courses) + 10.0)
    return rng.permutation(share / share.sum())


def _follow(
    popularity: NDArray[np.float64], programme: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """What everybody does after a course: its sequel, its programme, or anything popular."""
    courses = len(popularity)
    anything = np.tile(popularity, (courses, 1))
    same = anything * (programme[:, None] == programme)
    order = rng.permutation(courses)
    sequel = np.zeros((courses, courses))
    sequel[order, np.roll(order, -1)] = 1.0  # one cycle: every course has one sequel, not itself
    for part in (anything, same):
        np.fill_diagonal(part, 0.0)
    total = same.sum(axis=1, keepdims=True)
    same = np.divide(same, total, out=sequel.copy(), where=total > 0)
    anything /= anything.sum(axis=1, keepdims=True)
    mixed: NDArray[np.float64] = 0.35 * sequel + 0.35 * same + 0.3 * anything
    return mixed


def _own_courses(
    learners: int,
    popularity: NDArray[np.float64],
    programme: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Each learner's own courses [learners, slots] and their weights, mostly of one programme.

    Courses are drawn without replacement by the largest log-weight + Gumbel noise.
    """
    slots = min(_MOST_OWN, len(popularity) - 1)
    size = np.minimum(4 + rng.poisson(3.5, learners), slots)
    favourite = programme[rng.choice(len(popularity), learners, p=popularity)]
    in_programme = np.bincount(programme, popularity, minlength=programme.max() + 1)[favourite]
    own = np.empty((learners, slots), np.int32)
    for start in range(0, learners, _LEARNERS_AT_ONCE):
        part = slice(start, start + _LEARNERS_AT_ONCE)
        liked = (programme == favourite[part, None]) * 0.65 / in_programme[part, None]
        key = np.log(popularity * (liked + 0.35)) + rng.gumbel(size=liked.shape)
        own[part] = np.argsort(-key, axis=1, kind="stable")[:, :slots]
    weight = rng.gamma(0.8, size=own.shape) + 1e-9
    weight *= np.arange(slots) < size[:, None]
    return own, weight / weight.sum(axis=1, keepdims=True)


def _learner_ids(learners: int, rng: np.random.Generator) -> NDArray[np.str_]:
    """Distinct digit strings, as the platform's own."""
    return (100_000 + rng.permutation(10 * learners)[:learners]).astype(np.str_)


def _course_ids(courses: int, rng: np.random.Generator) -> NDArray[np.str_]:
    """Distinct ids in both spellings of the platform."""
    number = 10_000_000 + rng.permutation(80_000_000 // 97)[:courses] * 97
    names = []
    for index in range(courses):
        school = _SCHOOLS[rng.integers(len(_SCHOOLS))]
        year, term = rng.integers(2013, 2018), rng.integers(1, 3)
        if index % 2:
            names.append(f"{school}/{number[index]}X/{year}_T{term}")
        else:
            names.append(f"course-v1:{school}+{number[index]}_tv+{year}_T{term}")
    return np.array(names)
