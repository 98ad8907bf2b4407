"""What a report says, one thing at a time."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that the numbers say; a warning asks for a look before they are believed."""

    kind: Literal["finding", "warning"]
    name: str
    text: str
