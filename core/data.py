"""Text to learn from: vocabulary, symbols, and the split into what is learned and what is held out.

The symbols of a large corpus go to a file in the user's cache folder and are memory-mapped.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import CorpusError
from core.texts import SEPARATOR, CorpusFile, find_texts, pieces, survey

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
SPLITS = ("contiguous", "file")
IN_MEMORY_BYTES = 200_000_000
CHUNK_SYMBOLS = 1 << 22
NAMED = 5  # files in a note
_CODE_POINTS = 0x110000

Symbols = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Text as symbol indices, split into training and validation.

    Parameters
    ----------
    files
        What was read, in order; those that are held out as a whole come last.
    digest
        SHA-256 over `files`, hexadecimal: equal text under equal names, equal digest.
    vocabulary
        The symbols; index 0 is the unknown one, U+FFFD, then the training part's characters by code point.
    train, validation
        Symbol indices, read-only; uint8 where the vocabulary fits, else uint16. `validation` is the end of the text.
    notes
        What the reader did or left out, one sentence each.
    held_out
        Names of the files that are the validation part as a whole; none where the split is contiguous.
    """

    files: tuple[CorpusFile, ...]
    digest: str
    vocabulary: tuple[str, ...]
    train: Symbols
    validation: Symbols
    notes: tuple[str, ...]
    held_out: tuple[str, ...] = ()

    def encode(self, text: str) -> Symbols:
        """Indices of the characters of `text`; a character that training does not hold becomes 0."""
        return _index_table(self.vocabulary)[_points(text)]

    def decode(self, indices: NDArray[Any] | Sequence[int]) -> str:
        """Text of symbol indices.

        Raises
        ------
        CorpusError
            For an index outside the vocabulary.
        """
        index = np.asarray(indices, dtype=np.int64)
        size = len(self.vocabulary)
        if outside := index[(index < 0) | (index >= size)].tolist():
            raise CorpusError(f"Symbol {outside[0]} does not exist; this vocabulary has symbols 0 to {size - 1}.")
        points = np.array([ord(symbol) for symbol in self.vocabulary], dtype="<u4")
        return points[index].tobytes().decode("utf-32-le")


def read_corpus(
    paths: str | Path | Sequence[str | Path],
    validation: float = 0.1,
    window: int = 1,
    in_memory_bytes: int = IN_MEMORY_BYTES,
    cache: Path | None = None,
    split: str = "contiguous",
) -> Corpus:
    """Read text files, folders and glob patterns as one corpus.

    Folders are searched recursively for .txt and .md, hidden names left out, sorted by relative path; a file that is
    named itself may end as it likes. Files are joined by a blank line. A byte-order mark is dropped and CRLF becomes
    LF; exact copies and empty files are left out; each of these is said in `Corpus.notes`.

    Parameters
    ----------
    paths
        One path or pattern, or several.
    validation
        Fraction of the characters that training does not see; in (0, 1).
    window
        Characters a training window predicts, >= 1: both parts must hold one more than that.
    in_memory_bytes
        From this total file size on, the symbols are kept in a cache file and memory-mapped.
    cache
        Folder of that file; `$XDG_CACHE_HOME/zspace` or `~/.cache/zspace` by default.
    split
        What is held out: "contiguous", the end of the text, or "file", whole files: of all neighbours in the order of
        digests, those whose sum is nearest to the fraction. So names and places do not matter.

    Raises
    ------
    CorpusError
        When a path is missing, a folder holds no text, a file is binary, not UTF-8 or unreadable, all files are empty,
        the text is too short or of one character only, or it has more than 65,535 different characters; when the split
        is unknown, or is by file and there is one file only.
    """
    if not 0 < validation < 1 or window < 1:
        raise CorpusError(f"validation={validation} must lie in (0, 1) and window={window} must be at least 1.")
    if split not in SPLITS:
        raise CorpusError(f"split {split!r} is unknown: choose one of {', '.join(SPLITS)}.")
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    try:
        sources, files, notes = survey([source for path in given for source in find_texts(path)])
        whole: list[CorpusFile] = []
        if split == "file":
            sources, files, whole = _by_file(sources, files, validation, window)
            notes.append(_held_out_note(files, whole))
        else:
            _check_length(_length(files), validation, window)
        total = _length(files)
        held_out = _length(whole) if whole else int(total * validation)
        vocabulary = _vocabulary(sources, total - held_out)
        digest = hashlib.sha256(json.dumps([vars(file) for file in files], sort_keys=True).encode()).hexdigest()
        table = _index_table(vocabulary)
        parts = (table[points] for points in _joined(sources))
        if sum(file.bytes for file in files) < in_memory_bytes:
            symbols: Symbols = np.concatenate(list(parts))
        else:
            symbols = _cached(parts, (cache or _cache_folder()) / f"{digest}-{total - held_out}.symbols", table.dtype)
    except OSError as error:
        raise CorpusError(f"The corpus cannot be read or cached ({error}); check permissions and space.") from error
    if symbols.size != total:
        raise CorpusError(f"The text changed while read ({total}, then {symbols.size} characters); read it again.")
    symbols.flags.writeable = False
    train, rest = symbols[: total - held_out], symbols[total - held_out :]
    if unknown := int(np.count_nonzero(rest == 0)):
        notes.append(f"{unknown} of {rest.size} validation characters are unknown to the vocabulary.")
    return Corpus(tuple(files), digest, vocabulary, train, rest, tuple(notes), tuple(file.name for file in whole))


def chunks(symbols: Symbols, overlap: int = 0) -> Iterator[Symbols]:
    """Slices of a long array; each also holds the `overlap` first symbols of the next."""
    for start in range(0, max(symbols.size - overlap, 0), CHUNK_SYMBOLS):
        yield symbols[start : start + CHUNK_SYMBOLS + overlap]


def _joined(paths: list[Path]) -> Iterator[NDArray[np.uint32]]:
    """Code points of the whole corpus in pieces, a blank line between files."""
    for index, path in enumerate(paths):
        if index > 0:
            yield _points(SEPARATOR)
        for text in pieces(path):
            yield _points(text)


def _points(text: str) -> NDArray[np.uint32]:
    """Unicode code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _length(files: list[CorpusFile]) -> int:
    """Characters of some files, joined."""
    return sum(file.characters for file in files) + len(SEPARATOR) * (len(files) - 1)


def _by_file(
    sources: list[Path], files: list[CorpusFile], fraction: float, window: int
) -> tuple[list[Path], list[CorpusFile], list[CorpusFile]]:
    """Hold out whole files (see `read_corpus`): sources and files with those last, and those alone."""
    if len(files) < 2:
        raise CorpusError(f"A split by file needs at least 2 different files, the text has {len(files)}: add files.")
    by_digest = sorted(range(len(files)), key=lambda i: files[i].sha256)
    ends = [0, *itertools.accumulate(files[i].characters for i in by_digest)]
    wanted = fraction * ends[-1]
    reach = [bisect.bisect(ends, start + wanted) for start in ends[:-1]]  # a run's sum is below, then above
    runs = [(i, j) for i, after in enumerate(reach) for j in (after - 1, after) if i < j < len(ends)]
    first, last = min(runs, key=lambda run: abs(ends[run[1]] - ends[run[0]] - wanted))
    held = set(by_digest[first:last])
    order = sorted(range(len(files)), key=lambda i: i in held)  # else they stay as they were
    sources, files = [sources[i] for i in order], [files[i] for i in order]
    whole = files[-len(held) :]
    parts = _length(files) - _length(whole), _length(whole)
    if min(parts) <= window:
        raise CorpusError(
            f"Split by file, the text has {parts[0]} training and {parts[1]} validation characters; window={window} "
            f"needs at least {window + 1} each: add files or split it contiguously."
        )
    return sources, files, whole


def _held_out_note(files: list[CorpusFile], whole: list[CorpusFile]) -> str:
    """One sentence on a split by file."""
    names = ", ".join(file.name for file in whole[:NAMED]) + (f" and {len(whole) - NAMED} more" * (len(whole) > NAMED))
    count = f"{len(whole)} whole file{'s' * (len(whole) > 1)} of {len(files)}"
    return f"Validation is {count}, {_length(whole) / _length(files):.1%} of the characters: {names}."


def _check_length(total: int, validation: float, window: int) -> None:
    """Refuse a text whose training or validation part is shorter than one window and its target."""

    def is_enough(length: int) -> bool:
        return min(int(length * validation), length - int(length * validation)) > window

    if is_enough(total):
        return
    need = int(window / min(validation, 1 - validation))
    while not is_enough(need):
        need += 1
    raise CorpusError(
        f"The text has {total} characters; need at least {need} characters for window={window} and "
        f"validation={validation}: add text or shorten the window."
    )


def _vocabulary(paths: list[Path], length: int) -> tuple[str, ...]:
    """The unknown symbol and the different characters of the first `length`, by code point."""
    seen = np.zeros(_CODE_POINTS, dtype=bool)
    for piece in _joined(paths):
        points = piece[:length]
        seen[points] = True
        length -= points.size
    if np.count_nonzero(seen) == 1:
        raise CorpusError(f"The training text is only {chr(int(seen.argmax()))!r}; need at least 2 characters.")
    seen[ord(UNKNOWN)] = False
    found = np.flatnonzero(seen)
    if found.size > np.iinfo(np.uint16).max:
        raise CorpusError(f"The text has {found.size} different characters, at most 65535 are possible; is it text?")
    return (UNKNOWN, *map(chr, found.tolist()))


def _index_table(vocabulary: tuple[str, ...]) -> Symbols:
    """Symbol index of every code point, 0 for those outside the vocabulary."""
    width: type[np.uint8 | np.uint16] = np.uint8 if len(vocabulary) <= 256 else np.uint16
    table = np.zeros(_CODE_POINTS, dtype=width)
    table[[ord(symbol) for symbol in vocabulary]] = np.arange(len(vocabulary))
    return table


def _cached(parts: Iterator[Symbols], path: Path, dtype: np.dtype[Any]) -> Symbols:
    """Write symbols to a file beside and rename it, then map it read-only.

    Plain writes: a full disk is an error there, but a bus error in a mapping.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            for part in parts:
                file.write(part.tobytes())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return np.memmap(path, dtype=dtype, mode="r")


def _cache_folder() -> Path:
    """The user's cache folder for this project (XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zspace"
