"""Stage: the trained models as a bundle that carries itself."""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.common.results import read_result
from mooc_maml.episodes.leakage import read_checked
from mooc_maml.evaluation.schema import TestResult
from mooc_maml.preprocess.account import PreprocessResult
from mooc_maml.recommend.export import Run, export_bundle
from mooc_maml.recommend.titles import titles_of
from mooc_maml.settings.params import load_params

PATHS = {
    "preprocessed": "JSON of preprocess",
    "tested": "JSON of test",
    "pairs": "folder of preprocess",
    "episodes": "folder of build_episodes",
    "models": "folder of the folders of trained models",
    "titles": "file of the synthetic platform's titles",
    "bundle": "folder to write",
}


def main(bundle: Path, preprocessed: Path, tested: Path, episodes: Path, **paths: Path) -> None:
    """Write the bundle; say what it holds."""
    params, synthetic = load_params("params.yaml"), paths.pop("titles")
    run = Run(
        params=params,
        store=read_checked(episodes),
        tested=read_result(tested, TestResult),
        preprocessed=read_result(preprocessed, PreprocessResult),
        titles=titles_of(params, synthetic),
        **paths,
    )
    info = export_bundle(bundle, run)
    print(f"{bundle}: {len(info.models)} models, of which {info.default_model} answers unless told")


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
