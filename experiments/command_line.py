"""Options that several experiments share, under one name, with one meaning and one default."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from experiments.drawn import VARIED


class _Help(argparse.RawDescriptionHelpFormatter):
    """Paragraphs stay, and a default is shown where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if default is None or default is False or default == argparse.SUPPRESS:
            return action.help
        words = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        return f"{action.help} (default: {words})"


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows the text as it is written, and every default."""
    return argparse.ArgumentParser(description=description, formatter_class=_Help)


def at_least(smallest: int) -> Callable[[str], int]:
    """Kind of option: a whole number from `smallest` on."""

    def whole_number(text: str) -> int:
        try:
            found = int(text)
        except ValueError:
            found = smallest - 1
        if found < smallest:
            raise argparse.ArgumentTypeError(
                f"found {text}; expected a whole number from {smallest} on"
            )
        return found

    return whole_number


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """--seeds and --vary: how many are drawn, and what each draws."""
    parser.add_argument("--seeds", type=at_least(1), default=5, help="how many")
    parser.add_argument(
        "--vary",
        choices=VARIED,
        default="both",
        help="what each seed draws: the split of the learners, all of training, or both",
    )


def add_folders(parser: argparse.ArgumentParser) -> None:
    """--pairs and --folder: what the experiment reads, and where its models stay."""
    parser.add_argument("--pairs", type=Path, required=True, help="folder that preprocess wrote")
    parser.add_argument(
        "--folder", type=Path, required=True, help="folder in which trained models stay"
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """--threads, where params.yaml does not tell them."""
    parser.add_argument("--threads", type=at_least(1), default=1, help="CPU threads")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json: the rows, in full."""
    parser.add_argument("--json", type=Path, help="file to write the rows to")


def end_at_sigterm() -> None:
    """Let SIGTERM end the program as Ctrl-C does: what it started is asked to stop, too."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
