"""Reading a person's text."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

import core.data
import core.texts
from core.baselines import baselines
from core.data import read_corpus
from core.errors import CorpusError

POEM = "The wren, the wren, the king of all birds,\nSt. Stephen's day was caught in the furze.\n" * 6


def write(folder: Path, **texts: str | bytes) -> Path:
    """Files of the given content; a double underscore in a name is a dot, a single one a folder."""
    for name, text in texts.items():
        path = folder / name.replace("__", ".").replace("_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def test_a_folder_becomes_one_text_in_the_order_of_names(tmp_path):
    write(tmp_path, b__txt="bravo " * 20, a_z__md="alpha " * 20, a__TXT="first " * 20, c__py="no", _a__txt="x")
    write(tmp_path / ".hidden", x__txt="hidden")
    (tmp_path / ".secret.txt").write_text("hidden")
    corpus = read_corpus(tmp_path)
    text = "\n\n".join(["first " * 20, "alpha " * 20, "bravo " * 20])
    both = np.concatenate([corpus.train, corpus.validation])
    assert [file.name for file in corpus.files] == ["a.TXT", "a/z.md", "b.txt"]
    assert corpus.train.size == len(text) - int(len(text) * 0.1)
    assert "".join(corpus.vocabulary[index] for index in both) == text
    assert corpus.decode(both) == text
    first = corpus.files[0]
    assert (first.bytes, first.characters) == (120, 120)
    assert first.sha256 == hashlib.sha256(b"first " * 20).hexdigest()
    assert corpus.notes == ()


def test_the_vocabulary_is_of_the_training_part_only(tmp_path):
    write(tmp_path, a__txt="äb" * 45 + "äb\u2603\ufffd\U0001f426" + "b" * 5)
    corpus = read_corpus(tmp_path / "a.txt")
    assert corpus.vocabulary == ("\ufffd", "b", "ä")
    assert corpus.validation.tolist() == [2, 1, 0, 0, 0, 1, 1, 1, 1, 1]
    assert corpus.encode("bä\u2603\U0001f426\ud800").tolist() == [1, 2, 0, 0, 0]
    assert corpus.encode("").size == 0
    assert corpus.decode([1, 2, 0]) == "bä\ufffd"
    assert corpus.decode([]) == ""
    assert corpus.notes == ("3 of 10 validation characters are unknown to the vocabulary.",)
    for outside in (-1, 3):
        with pytest.raises(CorpusError, match=f"Symbol {outside} .*0 to 2"):
            corpus.decode([1, outside])


@pytest.mark.parametrize(("letters", "dtype"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_symbols_take_one_byte_or_two(tmp_path, letters, dtype):
    every = [chr(point) for point in range(0x10000, 0x10000 + letters)]
    text = "".join(every) * 2
    write(tmp_path, a__txt=text)
    corpus = read_corpus(tmp_path)
    assert len(corpus.vocabulary) == letters + 1
    assert corpus.train.dtype == corpus.validation.dtype == corpus.encode("x").dtype == dtype
    assert corpus.decode(np.concatenate([corpus.train, corpus.validation])) == text
    with pytest.raises(ValueError, match="read-only"):
        corpus.train[0] = 0


def test_too_many_letters_are_refused(tmp_path):
    write(tmp_path, a__txt="".join(chr(point) for point in range(0x10000, 0x20000)) * 2)
    with pytest.raises(CorpusError, match=r"65536 different characters, at most 65535"):
        read_corpus(tmp_path)


def test_the_digest_is_of_the_manifest(tmp_path):
    write(tmp_path / "one", a__txt=POEM, b_c__md="more " * 9)
    write(tmp_path / "two", a__txt=POEM, b_c__md="more " * 9)
    corpus = read_corpus(tmp_path / "one")
    sha256 = hashlib.sha256(POEM.encode()).hexdigest()
    manifest = [
        {"name": "a.txt", "bytes": len(POEM), "characters": len(POEM), "sha256": sha256},
        {"name": "b/c.md", "bytes": 45, "characters": 45, "sha256": hashlib.sha256(b"more " * 9).hexdigest()},
    ]
    assert corpus.digest == hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    assert read_corpus(tmp_path / "two").digest == corpus.digest
    write(tmp_path / "two", a__txt=POEM.replace("wren", "crow", 1))
    assert read_corpus(tmp_path / "two").digest != corpus.digest


def test_files_patterns_and_several_paths(tmp_path):
    write(tmp_path, a_one__log="one " * 20, a_two__txt="two " * 20, b_three__txt="three " * 20, b_deep_four__txt="four")
    names = [file.name for file in read_corpus([tmp_path / "a" / "one.log", tmp_path / "b"]).files]
    assert names == ["one.log", "deep/four.txt", "three.txt"]
    assert [file.name for file in read_corpus(str(tmp_path / "?" / "t*.txt")).files] == ["two.txt", "three.txt"]
    assert [file.name for file in read_corpus(f"{tmp_path}/**/four.txt", validation=0.5).files] == ["four.txt"]
    write(tmp_path, **{"x[1]__txt": "brackets " * 9})
    assert [file.name for file in read_corpus(tmp_path / "x[1].txt").files] == ["x[1].txt"]


def test_marks_line_ends_copies_and_empty_files_are_noted(tmp_path):
    write(tmp_path, a__txt=b"\xef\xbb\xbf" + POEM.replace("\n", "\r\n").encode() + b"end\rof\r\r\n\nline", b__txt="")
    write(tmp_path, c__txt=b"\xef\xbb\xbf", d__txt="own " * 30, e__txt="own " * 30)
    corpus = read_corpus(tmp_path)
    text = corpus.decode(np.concatenate([corpus.train, corpus.validation]))
    assert text == POEM + "end\rof\r\n\nline" + "\n\n" + "own " * 30
    assert [file.characters for file in corpus.files] == [len(POEM + "end_of__\nline"), 120]
    assert corpus.notes == (
        "a.txt: byte-order mark dropped.",
        "a.txt: 13 CRLF line ends became LF.",
        "b.txt is empty and was left out.",
        "c.txt is empty and was left out.",
        "e.txt is an exact copy of d.txt and was left out.",
    )


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 64])
def test_chunks_may_cut_anywhere(tmp_path, monkeypatch, chunk):
    raw = b"\xef\xbb\xbf" + "ä\r\n\r\r\n漢\U0001f426\n\r\n".encode() * 9 + b"\r"
    write(tmp_path, a__txt=raw, b__txt="\r\n" * 5 + "ö")
    expected = raw[3:].decode().replace("\r\n", "\n") + "\n\n" + "\n" * 5 + "ö"
    whole = read_corpus(tmp_path)
    monkeypatch.setattr(core.texts, "CHUNK_BYTES", chunk)
    corpus = read_corpus(tmp_path)
    assert "".join(corpus.vocabulary[i] for i in np.concatenate([corpus.train, corpus.validation])) == (
        expected[: corpus.train.size] + expected[corpus.train.size :].replace("ö", "\ufffd")
    )
    assert (corpus.files, corpus.digest, corpus.notes) == (whole.files, whole.digest, whole.notes)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize(
    ("broken", "offset"),
    [
        (b"abc\xffdef", 3),
        (b"caf\xe9 noir", 3),
        ("漢字".encode()[:-1], 3),  # cut off at the end
        (b"\xef\xbb\xbfab\xc3(", 5),
        ("ab\r\n漢".encode() + b"\xed\xa0\x80", 7),  # a lone surrogate
    ],
)
def test_broken_utf8_names_file_and_byte(tmp_path, monkeypatch, chunk, broken, offset):
    monkeypatch.setattr(core.texts, "CHUNK_BYTES", chunk)
    with pytest.raises(UnicodeDecodeError) as plain:  # what the whole-file decoder says
        broken.decode()
    assert plain.value.start == offset
    write(tmp_path, a__txt=POEM, b__txt=broken)
    with pytest.raises(CorpusError, match=rf"b\.txt is not UTF-8 from byte {offset} on .*iconv"):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (POEM.encode() + b"\0", rf"a\.txt is binary \(NUL at byte {len(POEM)}\)"),
        (POEM.encode("utf-16"), r"a\.txt is UTF-16.*iconv -f UTF-16"),
        (b"", r"All 1 files are empty \(first: a\.txt\)"),
        (b"a", r"has 1 characters; need at least 20 characters"),
        (b"a" * 100, "is only 'a'"),
        (b"\xef\xbf\xbd" * 100, "is only '\ufffd'"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(tmp_path, content, message):
    write(tmp_path, a__txt=content)
    with pytest.raises(CorpusError, match=message):
        read_corpus(tmp_path)


def test_a_missing_path_an_empty_folder_and_bad_numbers_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path, message in [
        (tmp_path / "none.txt", r"none\.txt does not exist"),
        (str(tmp_path / "*.txt"), r"\*\.txt does not exist"),
        (tmp_path / "empty", r"empty holds no file ending in \.txt or \.md"),
        (tmp_path / "pipe", "neither a file nor a folder"),
    ]:
        with pytest.raises(CorpusError, match=message):
            read_corpus(path)
    write(tmp_path, a__txt=POEM)
    for numbers in ({"validation": 0.0}, {"validation": 1.0}, {"validation": math.nan}, {"window": 0}):
        with pytest.raises(CorpusError, match="must lie in"):
            read_corpus(tmp_path / "a.txt", **numbers)


@pytest.mark.parametrize(("validation", "window"), [(0.1, 64), (0.1, 1), (0.3, 7), (0.5, 1), (0.9, 10), (0.07, 33)])
def test_the_least_length_that_is_named_is_the_least_that_works(tmp_path, validation, window):
    write(tmp_path, a__txt="ab")
    with pytest.raises(CorpusError, match="need at least") as refusal:
        read_corpus(tmp_path, validation=validation, window=window)
    need = int(str(refusal.value).split("need at least ")[1].split()[0])
    write(tmp_path, a__txt=("ab" * need)[: need - 1])
    with pytest.raises(CorpusError, match=f"has {need - 1} characters; need at least {need} "):
        read_corpus(tmp_path, validation=validation, window=window)
    write(tmp_path, a__txt=("ab" * need)[:need])
    corpus = read_corpus(tmp_path, validation=validation, window=window)
    assert min(corpus.train.size, corpus.validation.size) >= window + 1


def test_a_large_text_is_mapped_from_the_cache_and_equal(tmp_path, monkeypatch):
    write(tmp_path / "text", a__txt=POEM * 3, b__txt="漢字ä" * 50)
    small = read_corpus(tmp_path / "text")
    monkeypatch.setattr(core.texts, "CHUNK_BYTES", 100)
    large = read_corpus(tmp_path / "text", in_memory_bytes=1000, cache=tmp_path / "cache")
    assert isinstance(large.train, np.memmap)
    assert not isinstance(small.train, np.memmap)
    for name in ("files", "digest", "vocabulary", "notes"):
        assert getattr(large, name) == getattr(small, name)
    assert np.array_equal(large.train, small.train)
    assert np.array_equal(large.validation, small.validation)
    assert large.train.dtype == small.train.dtype
    (cached,) = os.listdir(tmp_path / "cache")
    assert (tmp_path / "cache" / cached).stat().st_size == small.train.size + small.validation.size
    expected = baselines(small)
    monkeypatch.setattr(core.data, "CHUNK_SYMBOLS", 97)
    assert baselines(large) == pytest.approx(expected, rel=1e-12)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    read_corpus(tmp_path / "text", in_memory_bytes=1000)
    assert os.listdir(tmp_path / "xdg" / "zspace") == [cached]


def test_an_unwritable_cache_is_a_clear_error(tmp_path):
    write(tmp_path, a__txt=POEM, file="x")
    with pytest.raises(CorpusError, match="cannot be read or cached"):
        read_corpus(tmp_path / "a.txt", in_memory_bytes=1, cache=tmp_path / "file" / "cache")


def test_a_text_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    write(tmp_path, a__txt=POEM)
    survey = core.data._vocabulary

    def meddle(*arguments):
        (tmp_path / "a.txt").write_text(POEM + "more")
        return survey(*arguments)

    monkeypatch.setattr(core.data, "_vocabulary", meddle)
    with pytest.raises(CorpusError, match=rf"changed while read \({len(POEM)}, then {len(POEM) + 4} "):
        read_corpus(tmp_path)


def texts_of(corpus):
    """The training and the validation part as text."""
    return corpus.decode(corpus.train), corpus.decode(corpus.validation)


def test_split_by_file_holds_out_whole_files_and_names_them(tmp_path):
    texts = {f"{letter}.txt": f"{letter}-- " * 25 for letter in "abcdefghij"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    corpus = read_corpus(tmp_path, split="file")
    least = min(texts, key=lambda name: hashlib.sha256(texts[name].encode()).hexdigest())
    rest = [name for name in texts if name != least]
    assert corpus.held_out == (least,)  # a hundred characters of a thousand: exactly the tenth
    assert [file.name for file in corpus.files] == [*rest, least]
    train, held_out = texts_of(corpus)
    assert train == "\n\n".join(texts[name] for name in rest) + "\n\n"
    assert held_out.replace("\ufffd", least[0]) == texts[least]
    assert least[0] not in corpus.vocabulary  # the vocabulary is the training part's
    assert f"Validation is 1 whole file of 10, 9.8% of the characters: {least}." in corpus.notes
    assert read_corpus(tmp_path).held_out == ()


def test_the_files_held_out_depend_on_their_text_not_on_names_or_places(tmp_path):
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(["wren", "heron", "ouzel"], size)) for size in rng.integers(5, 200, 40)]
    found = []
    for place, order in (("one", range(40)), ("two", rng.permutation(40))):
        for i, at in enumerate(order):
            write(tmp_path / place, **{f"{i:02d}__txt": texts[at]})
        corpus = read_corpus(tmp_path / place, split="file")
        found.append({(tmp_path / place / name).read_text() for name in corpus.held_out})
        share = corpus.validation.size / (corpus.train.size + corpus.validation.size)
        assert abs(share - 0.1) < 0.005
        sizes = [file.characters for file in sorted(corpus.files, key=lambda file: file.sha256)]
        misses = [abs(sum(sizes[i:j]) - 0.1 * sum(sizes)) for i in range(40) for j in range(i + 1, 41)]
        assert abs(sum(len(text) for text in texts if text in found[-1]) - 0.1 * sum(sizes)) == min(misses)
        held = [(tmp_path / place / name).read_text() for name in corpus.held_out]
        assert corpus.decode(corpus.validation) == "\n\n".join(held)
    assert found[0] == found[1]
    assert len(found[0]) > 1


def test_where_every_file_is_large_the_shortest_is_held_out(tmp_path):
    write(tmp_path, a__txt="long " * 60, b__txt="brief " * 40, c__txt="longest " * 50)
    corpus = read_corpus(tmp_path, split="file", in_memory_bytes=1, cache=tmp_path / "cache")
    assert corpus.held_out == ("b.txt",)
    assert texts_of(corpus)[0] == "long " * 60 + "\n\n" + "longest " * 50 + "\n\n"
    assert "Validation is 1 whole file of 3, 25.4% of the characters: b.txt." in corpus.notes


@pytest.mark.parametrize(("texts", "split", "message"), [
    ({"a__txt": POEM, "b__txt": POEM}, "file", r"by file needs at least 2 different files, the text has 1: add files"),
    ({"a__txt": POEM, "b__txt": "brief"}, "file", r"has 518 training and 5 validation characters; .* at least 9 each"),
    ({"a__txt": POEM}, "random", r"split 'random' is unknown: choose one of contiguous, file"),
])
def test_a_split_that_cannot_be_made_is_refused(tmp_path, texts, split, message):
    write(tmp_path, **texts)
    with pytest.raises(CorpusError, match=message):
        read_corpus(tmp_path, window=8, split=split)
