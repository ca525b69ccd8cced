"""The cards of docs/methods.md, by method and topic."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CARDS = dict(
    re.findall(
        r"^## `(\w+)`\n(.*?)(?=^## |\Z)", (ROOT / "docs/methods.md").read_text(), re.M | re.S
    )
)


def line(name: str, topic: str) -> str:
    """What a card says of a topic, in one line."""
    assert name in CARDS, f"docs/methods.md has no card of {name}"
    found = re.search(rf"^- \*\*{topic}:\*\* (.*?)(?=^- |\Z)", CARDS[name], re.M | re.S)
    assert found, f"the card of {name} says nothing of {topic}"
    return " ".join(found[1].split())
