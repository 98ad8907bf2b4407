"""The table of models made of other models; and all models that there are, read together.

A new one is a class in a file of this package and a line here; its settings are a file of the same
name in mooc_maml/settings/composites/ and a line in the table of the section.
"""

from collections.abc import Collection
from pathlib import Path

import torch

from mooc_maml.baselines.base import Baseline
from mooc_maml.baselines.registry import BASELINES
from mooc_maml.baselines.trained import read_table
from mooc_maml.composites.blend import Blend
from mooc_maml.composites.gru_fine_tuned import FineTunedGRU
from mooc_maml.composites.gru_further import FurtherGRU
from mooc_maml.composites.mixture import Mixture
from mooc_maml.composites.mixture_zero_shot import MixtureZeroShot
from mooc_maml.composites.pool import Pool

# In this order they are trained: one stands after those that it is made of.
_KINDS: tuple[type[Baseline], ...] = (
    FineTunedGRU,
    FurtherGRU,
    Blend,
    Pool,
    Mixture,
    MixtureZeroShot,
)
COMPOSITES: dict[str, type[Baseline]] = {kind.name: kind for kind in _KINDS}
MODELS = BASELINES | COMPOSITES  # all that are compared with the meta-model


def read_models(
    baselines: Path,
    composites: Path,
    names: Collection[str],
    num_courses: int,
    device: torch.device,
) -> dict[str, Baseline]:
    """The trained models of these names, those made of others after the baselines.

    Args:
        baselines: folder of stage train_baselines.
        composites: folder of stage train_composites.
        names: which of both; what one is made of has to be named too.
        num_courses: the catalogue that they have to rank.
        device: where scores are to be computed.

    Raises:
        UserError: one is missing, is damaged, or ranks another number of courses.
    """
    found = read_table(BASELINES, baselines, names, num_courses, device)
    return found | read_table(COMPOSITES, composites, names, num_courses, device, found)
