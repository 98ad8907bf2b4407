"""Which courses may be in a list: what is on offer, and what a learner has seen."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mooc_maml.common.errors import UserError
from mooc_maml.episodes.examples import Examples
from mooc_maml.ranking.seen import SeenFilter
from mooc_maml.recommend.catalogue import Catalogue

Rule = Literal["trained", "seen", "none"]


@dataclass(frozen=True)
class Offer:
    """What is left out of the lists.

    Attributes:
        rule: "trained": what the training left out; "seen": all that is told of the learner;
            "none": nothing of that.
        seen: the rule of the training.
        left_out: bool [C], courses that nobody is told of; None: there are none.
        num_courses: C.
    """

    rule: Rule
    seen: SeenFilter
    left_out: Tensor | None
    num_courses: int

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        seen: SeenFilter,
        exclude: str | Collection[str] | None,
        only: Collection[str] | None,
    ) -> "Offer":
        """What the arguments of `Recommender.recommend` mean; ids that are not known do nothing.

        Raises:
            UserError: an argument is of another form, or no known course is on offer.
        """
        rule: Rule = "none"
        left_out = torch.zeros(len(catalogue), dtype=torch.bool)
        if exclude is None:
            rule = "trained"
        elif exclude == "seen":
            rule = "seen"
        elif exclude != "none":
            left_out[_numbers("exclude", exclude, catalogue)] = True
        if only is not None:
            on_offer = torch.zeros_like(left_out)
            on_offer[_numbers("only", only, catalogue)] = True
            left_out |= ~on_offer
        if left_out.all():
            raise UserError(
                f"no course is left of {len(catalogue)}: exclude and only leave none that this "
                "bundle knows"
            )
        return cls(rule, seen, left_out if left_out.any() else None, len(catalogue))

    def marks(
        self, sessions: Sequence[Sequence[Sequence[int]]], support: Examples, query: Examples
    ) -> Tensor | None:
        """Courses left out of each learner's list: bool [tasks, C] or [1, C]; None: none is.

        Args:
            sessions: all that is told of each learner.
            support: the learners' support pairs.
            query: the pairs asked for, [tasks, 1].
        """
        common = None if self.left_out is None else self.left_out[None]
        own = None
        if self.rule == "seen":
            own = torch.zeros(len(sessions), self.num_courses, dtype=torch.bool)
            for task, learner in enumerate(sessions):
                for session in learner:
                    own[task, torch.tensor(session) - 1] = True
        elif self.rule == "trained" and (self.seen.prefix or self.seen.support):
            own = self.seen.marks(query, support, self.num_courses)[:, 0]
        if own is None or common is None:
            return common if own is None else own
        return own | common


def _numbers(name: str, ids: Any, catalogue: Catalogue) -> Tensor:
    """Columns of the courses."""
    words = '"seen", "none" or a list of course ids' if name == "exclude" else "course ids"
    if isinstance(ids, str | bytes) or not isinstance(ids, Collection):
        raise UserError(f"{name}: found {str(ids)[:40]!r}, expected {words}")
    if any(not isinstance(id, str | int) or isinstance(id, bool) for id in ids):
        raise UserError(f"{name}: expected {words}, found something else among them")
    return torch.tensor(catalogue.numbers([str(id) for id in ids]), dtype=torch.int64) - 1
