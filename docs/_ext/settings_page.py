"""The directive `settings`: the reference of params.yaml, made when the pages are built."""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from mooc_maml.report.settings_reference import read_reference

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"


class Settings(SphinxDirective):
    """Put the reference where the directive stands."""

    def run(self) -> list[nodes.Node]:
        """Parse the Markdown in place."""
        self.env.note_dependency(str(PARAMS))
        return self.parse_text_to_nodes(read_reference(PARAMS), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("settings", Settings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
