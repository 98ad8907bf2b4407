"""Stage: raw activity -> sessions -> pairs."""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.common.progress import following, reading
from mooc_maml.common.results import write_result
from mooc_maml.preprocess.account import PreprocessResult, show_account, to_stderr
from mooc_maml.preprocess.sessions import preprocess
from mooc_maml.settings.params import load_params

PATHS = {
    "raw": "folder of the raw files",
    "pairs": "folder to write",
    "report": "JSON account to write",
}


def main(raw: Path, pairs: Path, report: Path) -> None:
    """Read the raw files; write the pairs and an account of everything dropped."""
    params = load_params("params.yaml")
    with following("preprocess", [("reading", None), ("sessions", None)]):
        account = preprocess(raw, pairs, params, show=reading, tell=to_stderr)
    result = PreprocessResult.model_validate(account)
    write_result(report, result)
    show_account(result)


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
