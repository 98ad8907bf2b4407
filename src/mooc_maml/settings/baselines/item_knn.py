"""Settings of the baseline item_knn."""

from mooc_maml.settings.types import Section


class ItemKNNParams(Section):
    """None."""
