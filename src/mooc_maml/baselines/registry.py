"""The table of baselines.

A new one is a class in a file of this package and a line here; its settings are a file of the same
name in mooc_maml/settings/baselines/ and a line in the table of the section.
"""

from mooc_maml.baselines.base import Baseline
from mooc_maml.baselines.gru import GRUBaseline
from mooc_maml.baselines.gru_tuned import TunedGRU
from mooc_maml.baselines.gru_tuned_with_history import TunedGRUWithHistory
from mooc_maml.baselines.gru_with_history import GRUWithHistory
from mooc_maml.baselines.item_knn import ItemKNN
from mooc_maml.baselines.markov import Markov
from mooc_maml.baselines.popularity import Popularity
from mooc_maml.baselines.random import RandomScores
from mooc_maml.baselines.repeat import Repeat
from mooc_maml.baselines.sasrec import SASRecBaseline
from mooc_maml.baselines.sasrec_with_history import SASRecWithHistory
from mooc_maml.baselines.v_sknn import VSKNN

# Trained, and mixed by what is made of them, in this order.
_KINDS: tuple[type[Baseline], ...] = (
    RandomScores,
    Popularity,
    Repeat,
    Markov,
    ItemKNN,
    VSKNN,
    GRUBaseline,
    TunedGRU,
    GRUWithHistory,
    TunedGRUWithHistory,
    SASRecBaseline,
    SASRecWithHistory,
)
BASELINES: dict[str, type[Baseline]] = {kind.name: kind for kind in _KINDS}
