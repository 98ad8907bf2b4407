"""The table of `model.backbone`: recommenders that can be meta-trained."""

from mooc_maml.meta.backbone import Backbone
from mooc_maml.meta.gru.backbone import GRU
from mooc_maml.meta.transformer import TRANSFORMER
from mooc_maml.settings.params import Params

BACKBONES: dict[str, Backbone] = {own.name: own for own in (GRU, TRANSFORMER)}


def backbone_of(params: Params) -> Backbone:
    """The backbone that the settings name."""
    return BACKBONES[params.model.backbone]
