"""The section `composites` of params.yaml, and the table of models that are made of other models.

A new one is its settings in a file of settings/composites/ and a line here, and its class in a file
of the same name in mooc_maml/composites/ and a line in the registry there.
"""

from collections.abc import Collection
from typing import Annotated

from pydantic import AfterValidator, StrictStr

from mooc_maml.settings.composites.blend import BlendParams
from mooc_maml.settings.composites.gru_fine_tuned import FineTunedGRUParams
from mooc_maml.settings.composites.gru_further import FurtherGRUParams
from mooc_maml.settings.composites.mixture import MixtureParams
from mooc_maml.settings.composites.mixture_zero_shot import MixtureZeroShotParams
from mooc_maml.settings.composites.pool import PoolParams
from mooc_maml.settings.names import ModelsParams, known

# Adapted to each learner, and the same before that: rather ours than baselines to be beaten.
ADAPTED = ("mixture", "mixture_zero_shot")
# Not asked which is the strongest on the validation learners: the same, and its control without
# meta-learning.
OURS = ("pool", *ADAPTED)


def _composite(name: str) -> str:
    return known(name, CompositeParams)


CompositeName = Annotated[StrictStr, AfterValidator(_composite)]


class CompositeParams(ModelsParams):
    """Which of the models made of other models are trained, and how.

    A sub-section without settings may be left out of params.yaml. `made_of` of each says what it
    cannot do without.
    """

    models: tuple[CompositeName, ...]
    gru_fine_tuned: FineTunedGRUParams
    gru_further: FurtherGRUParams
    blend: BlendParams = BlendParams()
    pool: PoolParams = PoolParams()
    mixture: MixtureParams
    mixture_zero_shot: MixtureZeroShotParams = MixtureZeroShotParams()

    def check_parts(self, baselines: Collection[str]) -> None:
        """Whether all models are there that those named are made of.

        Args:
            baselines: names of the baselines that are trained.

        Raises:
            ValueError: one is missing.
        """
        there = {*baselines, *self.models}
        for name in self.models:
            made_of: tuple[str, ...] = getattr(self, name).made_of
            missing = [part for part in made_of if part not in there]
            if missing:
                raise ValueError(
                    f"composites.models: {name} is made of {', '.join(made_of)}; missing: "
                    f"{', '.join(missing)}; name these too, in baselines.models or "
                    f"composites.models, or leave {name} out"
                )
