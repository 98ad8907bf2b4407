"""The trained models, put to work: a bundle that carries itself, and what asks it.

`from mooc_maml.recommend import Recommender`; PyTorch is loaded by that name alone, so that what
does not compute starts at once.
"""

from typing import TYPE_CHECKING, Any

from mooc_maml.recommend.answers import Course, Ranked, Recommendation, Unknown

if TYPE_CHECKING:
    from mooc_maml.recommend.recommender import Recommender

__all__ = ["Course", "Ranked", "Recommendation", "Recommender", "Unknown"]


def __getattr__(name: str) -> Any:
    if name == "Recommender":
        from mooc_maml.recommend.recommender import Recommender

        return Recommender
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
