"""The GRU as a backbone of meta-training."""

from mooc_maml.meta.backbone import OUTPUT_BIAS, Backbone
from mooc_maml.meta.gru.task_model import GRUTaskModel
from mooc_maml.models.gru import GRURecommender

GRU = Backbone(
    name="gru",
    kind=GRURecommender,
    shape=lambda params: params.model.gru_shape(),
    task_model=lambda _, device, dtype, seen: GRUTaskModel(device, dtype, seen),
    # A vector that enters the state at every step is the bias of what enters the GRU.
    parts={"head": "head", "context": "gru.bias_ih", OUTPUT_BIAS: "head.bias"},
    warm_start="gru",
    drops_out=GRUTaskModel.thinned,
)
