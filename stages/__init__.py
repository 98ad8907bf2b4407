"""The pipeline, one thin script a stage: `python -m stages.NAME --help`."""
