"""The section `baselines` of params.yaml, and with it the table of baselines that there are.

A new baseline is its settings in a file of settings/baselines/ and a line here, and its class in a
file of the same name in mooc_maml/baselines/ and a line in the registry there.
"""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, StrictStr, model_validator

from mooc_maml.settings.baselines.gru import GRUParams
from mooc_maml.settings.baselines.gru_tuned import TunedGRUParams
from mooc_maml.settings.baselines.gru_tuned_with_history import TunedGRUWithHistoryParams
from mooc_maml.settings.baselines.gru_with_history import GRUWithHistoryParams
from mooc_maml.settings.baselines.item_knn import ItemKNNParams
from mooc_maml.settings.baselines.markov import MarkovParams
from mooc_maml.settings.baselines.popularity import PopularityParams
from mooc_maml.settings.baselines.random import RandomParams
from mooc_maml.settings.baselines.repeat import RepeatParams
from mooc_maml.settings.baselines.sasrec import SASRecParams
from mooc_maml.settings.baselines.sasrec_with_history import SASRecWithHistoryParams
from mooc_maml.settings.baselines.v_sknn import VSKNNParams
from mooc_maml.settings.composites_section import CompositeParams
from mooc_maml.settings.names import ModelsParams, known

ALWAYS = ("popularity", "gru")  # what every report is written against


def _baseline(name: str) -> str:
    if name in CompositeParams.names():
        raise ValueError("this one is made of other models; name it in composites.models")
    return known(name, BaselineParams)


BaselineName = Annotated[StrictStr, AfterValidator(_baseline)]


class BaselineParams(ModelsParams):
    """Which baselines there are, and how they are trained.

    A sub-section without settings may be left out of params.yaml.
    """

    models: Annotated[tuple[BaselineName, ...], Field(min_length=1)]
    random: RandomParams = RandomParams()
    popularity: PopularityParams = PopularityParams()
    repeat: RepeatParams = RepeatParams()
    markov: MarkovParams = MarkovParams()
    item_knn: ItemKNNParams = ItemKNNParams()
    v_sknn: VSKNNParams
    gru: GRUParams
    gru_tuned: TunedGRUParams
    gru_with_history: GRUWithHistoryParams = GRUWithHistoryParams()
    gru_tuned_with_history: TunedGRUWithHistoryParams = TunedGRUWithHistoryParams()
    sasrec: SASRecParams
    sasrec_with_history: SASRecWithHistoryParams = SASRecWithHistoryParams()

    @model_validator(mode="after")
    def _some_are_always_there(self) -> Self:
        for name in ALWAYS:
            if name not in self.models:
                raise ValueError(
                    f"models {', '.join(self.models)}: {name} is missing; "
                    f"{' and '.join(ALWAYS)} are always needed"
                )
        return self
