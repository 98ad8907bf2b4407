"""What the models of a folder are made from, so that none is measured as if it were another's."""

from pathlib import Path

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import read_json, sha256, write_json
from mooc_maml.settings.params import Params

MADE_FROM = "made_from.json"  # in a folder of trained models
MAKES_A_BASELINE = {
    "seed",
    "episodes",
    "model",
    "baselines",
    "composites",
    "evaluation",
}  # and pairs


def keep_settings(folder: Path, pairs: Path, params: Params) -> None:
    """Note in a folder of trained models what they are made from; later, see that it is the same.

    Args:
        folder: made if it is not there.
        pairs: the folder that preprocess wrote, whose bytes count.
        params: those of `MAKES_A_BASELINE` count.

    Raises:
        UserError: the folder's models are made from something else.
    """
    settings = params.model_dump(mode="json", include=MAKES_A_BASELINE)
    now = {"settings": settings, "pairs": {p.name: sha256(p) for p in sorted(pairs.glob("*"))}}
    path = folder / MADE_FROM
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, now)
        return
    before = read_json(path)
    differing = ["pairs"] if before.get("pairs") != now["pairs"] else []
    was = before.get("settings", {})
    differing += sorted(key for key in {*was, *settings} if was.get(key) != settings.get(key))
    if differing:
        raise UserError(
            f"{path}: the models of this folder are made with other {', '.join(differing)} than "
            "those of now; name another --folder, or go back to what is written there"
        )
