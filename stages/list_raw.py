"""Stage: note which raw files there are where DVC does not look, so that a change is noticed."""

import sys
from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.common.results import write_result
from mooc_maml.settings.params import load_params
from mooc_maml.sources.listing import list_raw

PATHS = {"raw": "folder of the raw files", "listing": "JSON file to write"}


def main(raw: Path, listing: Path) -> None:
    """Write names, sizes and times of the raw files outside the folder that DVC hashes."""
    found = list_raw(raw, load_params("params.yaml").data)
    write_result(listing, found)
    if found.not_watched is not None:
        print(
            f"data.raw: {found.not_watched} is not watched; after a change there run "
            "`dvc repro --force preprocess`, then `dvc repro`",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
