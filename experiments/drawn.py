"""What a seed draws: the split of the learners, and all of training."""

from mooc_maml.settings.params import Params

VARIED = ("both", "split", "training")


def changes(params: Params, seed: int, varied: str) -> dict[str, int]:
    """Settings of one seed: what is not varied keeps the seed of params.yaml."""
    own = params.episodes.split_seed
    split = params.seed if own is None else own
    return {
        "seed": params.seed if varied == "split" else seed,
        "episodes.split_seed": split if varied == "training" else seed,
    }
