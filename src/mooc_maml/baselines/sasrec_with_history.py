"""SASRec, told the learner's history."""

from mooc_maml.baselines.sasrec import SASRecBaseline
from mooc_maml.baselines.with_history import WithHistory
from mooc_maml.models.transformer import SASRec


class SASRecWithHistory(WithHistory[SASRec], SASRecBaseline):
    """See `WithHistory`; of a long history the latest courses."""

    name = "sasrec_with_history"
    label = "SASRec, with history"
