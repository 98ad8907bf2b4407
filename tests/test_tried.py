"""experiments.tried: a share of the training learners, drawn once, small within large."""

import numpy as np
from training_helpers import STORE

from experiments.tried import with_share


def test_a_share_of_the_training_learners_and_all_of_their_episodes() -> None:
    whole = STORE.episodes["train"]
    parts = {share: with_share(STORE, share, 3) for share in (0.25, 0.5, 1.0)}
    learners = {share: set(part.episodes["train"][:, 0]) for share, part in parts.items()}
    number = len(set(whole[:, 0]))
    assert [len(own) for own in learners.values()] == [round(number / 4), round(number / 2), number]
    assert learners[0.25] < learners[0.5] < learners[1.0]
    for share, part in parts.items():
        kept = whole[np.isin(whole[:, 0], list(learners[share]))]
        assert (part.episodes["train"] == kept).all()
        assert (part.episodes["validation"] == STORE.episodes["validation"]).all()
    assert learners[0.5] != set(with_share(STORE, 0.5, 4).episodes["train"][:, 0])
