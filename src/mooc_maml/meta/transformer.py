"""The Transformer as a backbone of meta-training.

It has no weights of a head alone, since its output weights are the courses' embeddings, and no bias
of what enters it: no variant that moves such a part.
"""

from functools import partial
from typing import Any

from mooc_maml.meta.backbone import Backbone
from mooc_maml.meta.recommender import RecommenderTaskModel
from mooc_maml.models.transformer import SASRec
from mooc_maml.settings.params import Params


def _shape(params: Params) -> dict[str, Any]:
    """Without dropout, as all meta-training."""
    own = params.model.transformer.model_dump()
    return {**own, "dropout": 0.0, "max_length": params.episodes.max_prefix_length}


def _layer(name: str) -> str:
    """blocks.0.feed_in.weight -> feed-forward 1: what param_change tells apart."""
    first, *rest = name.split(".")
    if first != "blocks":
        return {"norm": "output norm"}.get(first, first)
    return f"{'feed-forward' if rest[1].startswith('feed') else 'attention'} {int(rest[0]) + 1}"


TRANSFORMER = Backbone(
    name="transformer",
    kind=SASRec,
    shape=_shape,
    task_model=partial(RecommenderTaskModel, layer_of=_layer),
    dense=True,
)
