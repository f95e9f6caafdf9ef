"""Text to learn from: reading a person's files, the vocabulary and the split.

Every file passes through memory in chunks, several times: once to check and count it, once for the vocabulary, once
to encode it. The symbols of a large corpus go to a file in the user's cache folder and are memory-mapped.
"""

from __future__ import annotations

import codecs
import glob
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import CorpusError

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
SUFFIXES = (".txt", ".md")
SEPARATOR = "\n\n"
IN_MEMORY_BYTES = 200_000_000
CHUNK_BYTES = 1 << 24
CHUNK_SYMBOLS = 1 << 22
_CODE_POINTS = 0x110000

Symbols = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True)
class CorpusFile:
    """One file of a corpus.

    Parameters
    ----------
    name
        Path relative to the folder that was asked for, with forward slashes.
    bytes
        Size on disk.
    characters
        Length as text, without byte-order mark and with LF line ends.
    sha256
        Of the bytes on disk, hexadecimal.
    """

    name: str
    bytes: int
    characters: int
    sha256: str


@dataclass(frozen=True, eq=False)
class Corpus:
    """Text as symbol indices, split into training and validation.

    Parameters
    ----------
    files
        What was read, in order.
    digest
        SHA-256 over `files`, hexadecimal: equal text under equal names, equal digest.
    vocabulary
        The symbols; index 0 is the unknown one, U+FFFD, then the training part's characters by code point.
    train, validation
        Symbol indices, read-only; uint8 where the vocabulary fits, else uint16. `validation` is the end of the text.
    notes
        What the reader did or left out, one sentence each.
    """

    files: tuple[CorpusFile, ...]
    digest: str
    vocabulary: tuple[str, ...]
    train: Symbols
    validation: Symbols
    notes: tuple[str, ...]

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
        Fraction of the characters, at the end, that training does not see; in (0, 1).
    window
        Characters a training window predicts, >= 1: both parts must hold one more than that.
    in_memory_bytes
        From this total file size on, the symbols are kept in a cache file and memory-mapped.
    cache
        Folder of that file; `$XDG_CACHE_HOME/zspace` or `~/.cache/zspace` by default.

    Raises
    ------
    CorpusError
        When a path is missing, a folder holds no text, a file is binary, not UTF-8 or unreadable, all files are empty,
        the text is too short or of one character only, or it has more than 65,535 different characters.
    """
    if not 0 < validation < 1 or window < 1:
        raise CorpusError(f"validation={validation} must lie in (0, 1) and window={window} must be at least 1.")
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    try:
        sources, files, notes = _survey([source for path in given for source in find_texts(path)])
        total = sum(file.characters for file in files) + len(SEPARATOR) * (len(files) - 1)
        held_out = int(total * validation)
        _check_length(total, validation, window)
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
    return Corpus(tuple(files), digest, vocabulary, train, rest, tuple(notes))


def chunks(symbols: Symbols, overlap: int = 0) -> Iterator[Symbols]:
    """Slices of a long array; each also holds the `overlap` first symbols of the next."""
    for start in range(0, max(symbols.size - overlap, 0), CHUNK_SYMBOLS):
        yield symbols[start : start + CHUNK_SYMBOLS + overlap]


def find_texts(path: str | Path) -> list[tuple[str, Path]]:
    """Name and path of each text file that a path or pattern means; `CorpusError` where it means none."""
    base = Path(path)
    if base.is_dir():
        inside = [(found.relative_to(base), found) for found in base.rglob("*") if found.suffix.lower() in SUFFIXES]
        named = sorted(
            (relative.as_posix(), found)
            for relative, found in inside
            if found.is_file() and not any(part.startswith(".") for part in relative.parts)
        )
        if not named:
            raise CorpusError(f"{base} holds no file ending in {' or '.join(SUFFIXES)}; put your text there as such.")
        return named
    if base.exists():
        if not base.is_file():
            raise CorpusError(f"{base} is neither a file nor a folder; give a text file.")
        return [(base.name, base)]
    if glob.has_magic(str(path)) and (matches := sorted(glob.glob(str(path), recursive=True))):
        return [source for match in matches for source in find_texts(match)]
    raise CorpusError(f"{base} does not exist; give a text file, a folder or a pattern such as texts/*.txt.")


def _survey(sources: list[tuple[str, Path]]) -> tuple[list[Path], list[CorpusFile], list[str]]:
    """Check and count every file; leave out copies and empty ones."""
    kept: list[Path] = []
    files: list[CorpusFile] = []
    notes: list[str] = []
    first: dict[str, str] = {}
    for name, path in sources:
        file, remarks = _inspect(name, path)
        if file.characters == 0:
            notes.append(f"{name} is empty and was left out.")
        elif file.sha256 in first:
            notes.append(f"{name} is an exact copy of {first[file.sha256]} and was left out.")
        else:
            first[file.sha256] = name
            kept.append(path)
            files.append(file)
            notes += remarks
    if not files:
        raise CorpusError(f"All {len(sources)} files are empty (first: {sources[0][0]}); give files with text in them.")
    return kept, files, notes


def _inspect(name: str, path: Path) -> tuple[CorpusFile, list[str]]:
    """Manifest entry of one file, and remarks on what its text was relieved of."""
    sha = hashlib.sha256()
    size = returns = 0
    last = b""
    with open(path, "rb") as file:
        marked = file.read(3) == codecs.BOM_UTF8
        file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            if size == 0 and chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise CorpusError(f"{path} is UTF-16, not UTF-8; convert it: iconv -f UTF-16 -t UTF-8 IN > OUT.")
            if (nul := chunk.find(0)) >= 0:
                raise CorpusError(f"{path} is binary (NUL at byte {size + nul}), not text; leave it out.")
            returns += chunk.count(b"\r\n") + (last == b"\r" and chunk.startswith(b"\n"))
            sha.update(chunk)
            size += len(chunk)
            last = chunk[-1:]
    remarks = [f"{name}: byte-order mark dropped."] if marked else []
    if returns:
        remarks.append(f"{name}: {returns} CRLF line ends became LF.")
    return CorpusFile(name, size, sum(len(text) for text in _text(path)), sha.hexdigest()), remarks


def _text(path: Path) -> Iterator[str]:
    """The text of a file in pieces, without byte-order mark and with LF line ends."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    carry = ""  # a CR whose LF may open the next chunk
    with open(path, "rb") as file:
        position = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(position)
        while True:
            chunk = file.read(CHUNK_BYTES)
            pending = len(decoder.getstate()[0])
            try:
                text = carry + decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{path} is not UTF-8 from byte {position - pending + error.start} on ({error.reason}); "
                    "convert it, for instance: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT."
                ) from error
            position += len(chunk)
            carry = "\r" if chunk and text.endswith("\r") else ""
            yield text[: len(text) - len(carry)].replace("\r\n", "\n")
            if not chunk:
                return


def _joined(paths: list[Path]) -> Iterator[NDArray[np.uint32]]:
    """Code points of the whole corpus in pieces, a blank line between files."""
    for index, path in enumerate(paths):
        if index > 0:
            yield _points(SEPARATOR)
        for text in _text(path):
            yield _points(text)


def _points(text: str) -> NDArray[np.uint32]:
    """Unicode code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


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
