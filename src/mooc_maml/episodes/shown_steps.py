"""All steps that pairs show, each as a pair of its own: what their prefixes hold, and their labels.

A support pair (prefix -> next course) also tells what followed what within its prefix.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from mooc_maml.episodes.examples import Examples


def adapted_on(support: Examples, adapt_on: str) -> Examples:
    """What the steps of adaptation go down the loss of, by the setting `adapt_on`."""
    return shown_steps(support) if adapt_on == "sessions" else support


def shown_steps(examples: Examples) -> Examples:
    """The pairs, and one more for each step of their prefixes, every step of a session once.

    The rows stay as they are. Where two rows show the same step of a session, since prefixes are
    cut, the earlier row's counts. A label that a pair gives counts before what its row says.

    Returns:
        Examples with [tasks, steps] in place of [tasks, pairs], steps of a row side by side.
    """
    rows, time = examples.courses.shape[1:]
    last, session, offset = (_by_row(examples, x) for x in _columns(examples))
    label = pad(examples.courses[..., 1:], (0, 1)).flatten(1)  # [tasks, rows * time]
    cell = torch.where(examples.label > 0, examples.row * time + examples.position, rows * time)
    label = pad(label, (0, 1)).scatter(1, cell, examples.label)[:, :-1]
    place = torch.arange(time, device=label.device)
    shown = place <= last[..., None]  # [tasks, rows, time]
    step = offset[..., None] + place
    kept = (shown & ~_shown_before(step, last, session, offset)).flatten(1)
    number = int(kept.sum(1).max()) if kept.numel() else 0
    chosen = torch.argsort((~kept).to(torch.uint8), dim=1, stable=True)[:, :number]
    row, real = chosen // time, kept.gather(1, chosen)
    fields = (row, chosen % time, label.gather(1, chosen), session.gather(1, row))
    found = [x.where(real, 0) for x in (*fields, offset.gather(1, row))]
    names = ("row", "position", "label", "session", "offset")
    return examples._replace(**dict(zip(names, found, strict=True)))


def _columns(examples: Examples) -> tuple[Tensor, Tensor, Tensor]:
    return examples.position, examples.session, examples.offset


def _by_row(examples: Examples, values: Tensor) -> Tensor:
    """The largest value of the pairs of each row: int64 [tasks, rows], -1 for a row without."""
    none = values.new_full(examples.courses.shape[:2], -1)
    own = values.where(examples.label > 0, -1)
    return none.scatter_reduce(1, examples.row, own, "amax")


def _shown_before(step: Tensor, last: Tensor, session: Tensor, offset: Tensor) -> Tensor:
    """Whether an earlier row shows the step of the session too: bool [tasks, rows, time]."""
    number = last.shape[1]
    earlier = torch.ones(number, number, dtype=torch.bool, device=step.device).tril(-1)
    same = (session[:, :, None] == session[:, None, :]) & earlier  # [tasks, row, earlier row]
    begin, end = (x[:, None, None, :] for x in (offset, offset + last))
    inside = (step[..., None] >= begin) & (step[..., None] <= end)
    return (inside & same[:, :, None, :]).any(3)
