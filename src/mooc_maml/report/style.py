"""One look for all figures, and pictures that are the same bytes for the same numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mooc_maml.common.files import atomic_path

# Okabe and Ito's palette: told apart with every common kind of colour blindness.
COLOURS = {
    "gru": "#333333",
    "zero_shot": "#56B4E9",
    "few_shot": "#D55E00",
    "tuned_few_shot": "#E69F00",
    "mixture": "#0072B2",
    "oracle": "#009E73",
}
FONT = "DejaVu Sans"  # comes with matplotlib, so that every machine has it
OTHER_COLOUR = "#8C8C8C"  # of models without a colour of their own
# Beside the colours, for who sees few of them; "o" of models without a marker of their own.
MARKERS = {"gru": "v", "tuned_few_shot": "s", "mixture": "D"}
_CONTRAST = 4.5  # of text and its ground, at least: WCAG 2.2, level AA
_DPI = 150
_STYLE = {
    "font.family": FONT,
    "font.size": 12.5,
    "axes.titlesize": 13.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.titlesize": 15,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "legend.frameon": False,
    "legend.fontsize": 12,
    "svg.hashsalt": "mooc-maml",  # else ids in an SVG are random
    "lines.linewidth": 2.2,
    "lines.markersize": 6.5,
}


# Format -> what its file would tell of program and time, left out.
_FORMATS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Creator": None, "Date": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


@contextmanager
def new_figure(path: Path, width: float, height: float, title: str) -> Iterator[Figure]:
    """Give an empty figure to draw on; write it to `path` as a PNG, and beside it as SVG and PDF.

    The picture depends on what is drawn and on nothing else: no settings of the user, no date, no
    name of the program, no random id.

    Args:
        path: the PNG; each file appears whole or not at all.
        width: inches, at 150 dots an inch.
        height: inches.
        title: stands above the axes.
    """
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
        layout = figure.get_layout_engine()
        if layout is not None:
            layout.set(w_pad=0.12, h_pad=0.1)  # type: ignore[call-arg]  # inches
        figure.suptitle(title, x=0.012, ha="left", fontweight="bold")
        yield figure
        for kind, nameless in _FORMATS.items():
            with atomic_path(path.with_suffix(f".{kind}")) as temporary:
                figure.savefig(temporary, format=kind, metadata=nameless)
            figure.set_layout_engine("none")  # laid out by the first, which takes most of the time


def readable(colour: str) -> str:
    """The colour as dark as text on white has to be, of the same hue; as it is where it is so."""
    red, green, blue = to_rgb(colour)
    shares = (percent / 100 for percent in range(100, -1, -1))
    shades = (to_hex((red * share, green * share, blue * share)) for share in shares)
    return next(shade for shade in shades if contrast_on_white(shade) >= _CONTRAST)


def contrast_on_white(colour: str) -> float:
    """How much brighter white is, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in to_rgb(colour)]
    red, green, blue = linear
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def percent_axis(axis: Axis, ticks: int) -> None:
    """Show fractions as percent, with at most so many round ticks."""
    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.6g} %"))


def no_data(axes: Axes, words: str = "n.a.") -> None:
    """Say in an empty panel that there is nothing to show."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="#666666")
    axes.set_xticks([])
    axes.set_yticks([])
