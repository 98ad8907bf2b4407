"""The directive `tutorial`: a notebook as a page, run where there is a bundle to run it on."""

import base64
from html import escape
from pathlib import Path
from typing import Any

import jupytext
from docutils import nodes
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "models" / "bundle" / "bundle.json"


class Tutorial(SphinxDirective):
    """Put the cells, and what they show, where the directive stands."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Read, perhaps run, and show; the page has the notebook's title already."""
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        notebook = jupytext.read(path)
        text = [self._run(notebook)]
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                text.append(cell.source.removeprefix(f"{_title(notebook)}\n"))
                continue
            text.append(f"```python\n{cell.source}\n```")
            text += [_shown(output, cell.metadata) for output in cell.get("outputs", [])]
        return self.parse_text_to_nodes("\n\n".join(text), allow_section_headings=True)

    def _run(self, notebook: Any) -> str:
        """Run it if there is a bundle; gives a line where that went wrong."""
        if not BUNDLE.is_file():
            return ""
        self.env.note_dependency(str(BUNDLE))
        try:
            NotebookClient(notebook, resources={"metadata": {"path": str(ROOT)}}).execute()
        except CellExecutionError as error:
            return f"It stopped when this page was made, with `{error.ename}: {error.evalue}`."
        return ""


def _title(notebook: Any) -> str:
    return str(notebook.cells[0].source).splitlines()[0]


def _shown(output: Any, metadata: Any) -> str:
    """What a cell has printed or drawn, as Markdown."""
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```"
    if picture := output.get("data", {}).get("image/png"):
        png = base64.b64encode(base64.b64decode(picture)).decode()
        return f'<img alt="{escape(metadata["alt"])}" src="data:image/png;base64,{png}">'
    return ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("tutorial", Tutorial)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
