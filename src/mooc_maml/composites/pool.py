"""The mixture's parts pooled without meta-learning: weights alike for all learners."""

from typing import ClassVar

from mooc_maml.composites.mixture import Mixture
from mooc_maml.settings.composites.pool import PoolParams
from mooc_maml.settings.params import Params


class Pool(Mixture):
    """The mixture trained by plain cross-entropy, on the same windows, and never adapted.

    A control: what the mixture has over it is owed to meta-learning and adaptation, and neither to
    the pooling of many models nor to what they are told of the support pairs.
    """

    name: ClassVar[str] = "pool"
    label: ClassVar[str] = "Pool, not meta-learned"
    made_of: ClassVar[tuple[str, ...]] = PoolParams.made_of

    @classmethod
    def steps_of(cls, params: Params) -> int:
        """None."""
        return 0
