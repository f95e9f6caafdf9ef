"""Reading a person's files: which they are, what is in them, and their text in pieces.

A file passes through memory in chunks, however often it is read: to check and count it, for the vocabulary, to encode.
"""

from __future__ import annotations

import codecs
import glob
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import CorpusError

SUFFIXES = (".txt", ".md")
SEPARATOR = "\n\n"
CHUNK_BYTES = 1 << 24


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


def read_text(path: str | Path) -> tuple[str, list[CorpusFile], list[str]]:
    """The text of a path or pattern, joined as a corpus is, with its files and notes.

    Raises
    ------
    CorpusError
        As `core.data.read_corpus`.
    """
    try:
        sources, files, notes = survey(find_texts(path))
        return SEPARATOR.join("".join(pieces(source)) for source in sources), files, notes
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error}); check permissions.") from error


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


def survey(sources: list[tuple[str, Path]]) -> tuple[list[Path], list[CorpusFile], list[str]]:
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
    return CorpusFile(name, size, sum(len(text) for text in pieces(path)), sha.hexdigest()), remarks


def pieces(path: Path) -> Iterator[str]:
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
