"""The project's own text is real prose: enough of it, in two languages, neither shuffled nor repeating itself.

Reference: 20 evenly spaced chunks of the King James Bible (not part of the project), measured like our text, as
least, median and greatest:

    characters    xz ratio                 repeated 12-grams        xz ratio with its words shuffled
    60,000        0.226, 0.294, 0.325      0.106, 0.190, 0.367      0.328, 0.360, 0.378
    36,000        0.227, 0.307, 0.348      0.071, 0.174, 0.372      0.331, 0.369, 0.389

It is formulaic (genealogies, "and it came to pass"), so modern prose lies above its median ratio and below its median
share: hence 0.30 and 0.18. The other ends come from spoiling our own text. With its letters shuffled it has a ratio
above 0.55: hence 0.46. With its words shuffled the ratio stays at 0.40 to 0.44, but its share falls below 0.006: hence
0.008. So the ratio tells shuffled letters and templates, the share shuffled words and copied sentences; the last two
tests hold the bands to that.
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
LANGUAGES = pytest.mark.parametrize("files", [ENGLISH, GERMAN], ids=["english", "german"])

XZ_BAND = (0.30, 0.46)
REPEATED_BAND = (0.008, 0.18)


def joined(files: list[Path]) -> str:
    """The files' text, one after the other."""
    return "\n".join(p.read_text(encoding="utf-8") for p in files)


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
    assert len(FILES) >= 6
    assert sum(sizes.values()) >= 80_000
    assert sum(sizes[p] for p in GERMAN) >= 0.2 * sum(sizes.values())


def test_the_names_tell_the_language() -> None:
    assert joined(ENGLISH).isascii()
    for path in GERMAN:
        text = path.read_text(encoding="utf-8")
        # About one character in seventy in these texts (1.3 to 1.7 %), none in English or in German spelt ae, oe, ue.
        assert 0.01 < sum(c in "äöüÄÖÜß" for c in text) / len(text) < 0.03, path.name


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_file_is_plain_text(path: Path) -> None:
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    assert not [c for c in text if unicodedata.category(c).startswith("C") and c != "\n"]
    assert "  " not in text


def test_the_vocabulary_stays_small() -> None:
    assert len(set(joined(FILES))) < 100


@LANGUAGES
def test_statistics_lie_near_real_prose(files: list[Path]) -> None:
    text = joined(files)
    assert XZ_BAND[0] < xz_ratio(text) < XZ_BAND[1]
    assert REPEATED_BAND[0] < repeated_share(text) < REPEATED_BAND[1]


@LANGUAGES
def test_the_bands_refuse_spoiled_prose(files: list[Path]) -> None:
    text, rng = joined(files), random.Random(0)
    letters, words = list(text), text.split(" ")
    rng.shuffle(letters)
    rng.shuffle(words)
    assert xz_ratio("".join(letters)) > XZ_BAND[1]
    assert repeated_share(" ".join(words)) < REPEATED_BAND[0]
    sentences = text.split(". ")
    copied = ". ".join(rng.choices(sentences, k=len(sentences)))
    assert repeated_share(copied) > REPEATED_BAND[1]


def test_the_bands_refuse_a_template() -> None:
    template = "".join(f"On day {i} the tide came in at six and went out at twelve. " for i in range(400))
    assert xz_ratio(template) < XZ_BAND[0]
    assert repeated_share(template) > REPEATED_BAND[1]
