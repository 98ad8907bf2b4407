"""What a learner has done by the time of a pair, read off `Examples`."""

import torch
from torch import Tensor

from mooc_maml.episodes.examples import Examples


def prefixes(examples: Examples) -> Tensor:
    """The prefix of every pair, as far as a model sees it: int64 [tasks, pairs, time], 0 = padding.

    The last course stands at `examples.position`.
    """
    task = torch.arange(examples.num_tasks, device=examples.row.device)[:, None]
    courses = examples.courses[task, examples.row]  # [tasks, pairs, time]
    step = torch.arange(courses.shape[2], device=courses.device)
    return courses * (step <= examples.position[..., None])


def last_courses(examples: Examples) -> Tensor:
    """The latest course of every pair's prefix: int64 [tasks, pairs]."""
    task = torch.arange(examples.num_tasks, device=examples.row.device)[:, None]
    return examples.courses[task, examples.row, examples.position]


def support_courses(support: Examples) -> Tensor:
    """All that the support pairs show of each learner: int64 [tasks, n], 0 = padding.

    The courses of their prefixes, each row once, then the K labels; in no order of time.
    """
    return torch.cat([support.courses.flatten(1), support.label], 1)
