"""The project's own text is real prose: enough of it, in two languages, neither random nor repeating itself.

Reference: five chunks of the King James Bible (not part of the project), measured like our text. At 58,000 characters
its xz ratio is 0.276 to 0.319 and its share of repeated 12-grams 0.123 to 0.228; at 29,000 characters 0.275 to 0.344
and 0.082 to 0.250. It is formulaic, so modern prose lies above in the first and below in the second. The bands below
reach from the Bible's end to what only shuffled words (ratio 0.5 and more) or templates (shares over 0.25) would give.
"""

from __future__ import annotations

import lzma
import random
import unicodedata
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "corpus"
FILES = sorted(FOLDER.glob("*.txt"))
GERMAN = [p for p in FILES if p.stem.endswith("-de")]
ENGLISH = [p for p in FILES if p not in GERMAN]


def xz_ratio(text: str) -> float:
    """Compressed over plain bytes."""
    data = text.encode()
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)) / len(data)


def repeated_share(text: str, n: int = 12) -> float:
    """Share of positions whose n-gram occurred before."""
    seen: set[str] = set()
    repeats = 0
    for i in range(len(text) - n + 1):
        gram = text[i : i + n]
        repeats += gram in seen
        seen.add(gram)
    return repeats / (len(text) - n + 1)


def test_there_is_enough_in_two_languages() -> None:
    sizes = {p: p.stat().st_size for p in FILES}
    assert len(FILES) >= 8
    assert sum(sizes.values()) >= 80_000
    assert sum(sizes[p] for p in GERMAN) >= 0.2 * sum(sizes.values())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_file_is_plain_text(path: Path) -> None:
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    assert not [c for c in text if unicodedata.category(c).startswith("C") and c != "\n"]
    assert "  " not in text


def test_the_vocabulary_stays_small() -> None:
    assert len(set("".join(p.read_text(encoding="utf-8") for p in FILES))) < 100


@pytest.mark.parametrize("files", [ENGLISH, GERMAN], ids=["english", "german"])
def test_statistics_lie_near_real_prose(files: list[Path]) -> None:
    text = "\n".join(p.read_text(encoding="utf-8") for p in files)
    assert 0.30 < xz_ratio(text) < 0.46
    assert 0.005 < repeated_share(text) < 0.25


def test_the_measures_tell_prose_from_templates_and_noise() -> None:
    template = "".join(f"On day {i} the tide came in at six and went out at twelve. " for i in range(400))
    assert xz_ratio(template) < 0.2
    assert repeated_share(template) > 0.5
    noise = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz    ", k=30_000))
    assert xz_ratio(noise) > 0.5
    assert repeated_share(noise) < 0.001
