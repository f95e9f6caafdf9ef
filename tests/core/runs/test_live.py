"""Live fields: whole looks only, whatever the writer does meanwhile, and a new history at every start."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.atlas import ZAtlas
from core.errors import RunError
from core.runs.live import CAPACITY, KINDS, LiveReader, LiveWriter, Look
from core.runs.store import RunFolder
from core.runs.trainer import Trainer
from tests.core.runs.test_trainer import run

SHAPE = (3, 4, 2)
WRITER = textwrap.dedent(
    """
    import sys, time
    from itertools import count
    from pathlib import Path
    import numpy as np
    from core.runs.live import KINDS, LiveWriter, Look

    writer, steps = LiveWriter(Path(sys.argv[1]), (3, 4, 2)), int(sys.argv[2])
    for n in range(steps) if steps else count():
        writer.append(Look(n, KINDS[n % 2], n / 8, np.full((3, 4, 2), float(n))))
        if n % 200 == 0:
            time.sleep(0.01)  # so that a reader comes to its turn, on a busy machine too
    writer.close()
    """
)


def writing(path: Path, steps: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(steps)])


def look(n: int) -> Look:
    return Look(n, KINDS[n % 2], n / 8, np.full(SHAPE, float(n)))


def write(path: Path, *steps: int) -> LiveWriter:
    writer = LiveWriter(path, SHAPE)
    for n in steps:
        writer.append(look(n))
    return writer


def checked(looks: list[Look]) -> list[int]:
    """The steps of looks that are what `look` makes."""
    for seen in looks:
        assert seen.kind == KINDS[seen.step % 2]
        assert seen.time == seen.step / 8
        np.testing.assert_array_equal(seen.rho, np.full(SHAPE, float(seen.step)))
    return [seen.step for seen in looks]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live.bin"


def test_readers_in_another_process_see_only_whole_looks_in_order(path: Path) -> None:
    readers = [LiveReader(path), LiveReader(path)]
    assert readers[0].poll() == (False, [])  # nothing there yet
    process = writing(path, 20_000)
    polls: list[list[tuple[bool, list[int]]]] = [[], []]
    running = True
    while running:
        running = process.poll() is None  # asked first, so that a last poll comes after the end
        for reader, found in zip(readers, polls, strict=True):
            restarted, looks = reader.poll()
            found.append((restarted, checked(looks)))
    assert process.returncode == 0
    for reader, found in zip(readers, polls, strict=True):
        assert sum(restarted for restarted, _ in found) == 1
        assert max(len(steps) for _, steps in found) <= CAPACITY
        assert sum(bool(steps) for _, steps in found) > 1  # it looked while the other wrote
        seen = [step for _, steps in found for step in steps]
        assert seen == sorted(set(seen))
        assert seen[-1] == 19_999
        reader.close()


def test_the_file_is_laid_out_as_documented(path: Path) -> None:
    write(path, *range(CAPACITY + 3)).close()
    data = path.read_bytes()
    assert struct.unpack_from("<8sQIIII", data)[2:] == (CAPACITY, *SHAPE)
    assert data[:8] == b"zlive.v1"
    assert struct.unpack_from("<I", data, 32)[0] == zlib.crc32(data[:32])
    assert struct.unpack_from("<Q", data, 40)[0] == CAPACITY + 3
    size = 32 + 8 * int(np.prod(SHAPE))
    assert len(data) == 64 + CAPACITY * size
    for number in (CAPACITY + 3, 4):  # the newest, and the oldest that is still there
        record = data[64 + number % CAPACITY * size :][:size]
        crc, kind, seq, step, at = struct.unpack_from("<IIQqd", record)
        assert (crc, kind, seq, step, at) == (zlib.crc32(record[4:]), (number - 1) % 2, number, number - 1, step / 8)
        np.testing.assert_array_equal(np.frombuffer(record, "<f8", offset=32), np.full(np.prod(SHAPE), float(step)))


def test_a_slow_reader_misses_the_oldest_and_a_quick_one_nothing(path: Path) -> None:
    slow, quick, writer = LiveReader(path), LiveReader(path), write(path)
    assert quick.poll() == (True, [])
    for n in range(1300):
        writer.append(look(n))
        assert checked(quick.poll()[1]) == [n]
    restarted, looks = slow.poll()
    assert restarted
    assert checked(looks) == list(range(1300 - CAPACITY, 1300))
    assert slow.poll() == (False, [])
    for reader in (slow, quick):
        reader.close()
    writer.close()


def test_a_new_writer_begins_a_new_history_and_the_old_one_harms_nothing(path: Path) -> None:
    old, reader = write(path, 1, 2, 3), LiveReader(path)
    assert checked(reader.poll()[1]) == [1, 2, 3]
    new = write(path, 2)
    old.append(look(9))
    restarted, looks = reader.poll()
    assert restarted
    assert checked(looks) == [2]
    new.append(look(3))
    restarted, looks = reader.poll()
    assert not restarted
    assert checked(looks) == [3]
    path.unlink()
    assert reader.poll() == (False, [])
    write(path, 7).close()
    restarted, looks = reader.poll()
    assert restarted
    assert checked(looks) == [7]
    reader.close()
    assert reader.poll() == (False, [])  # opened anew, the same history
    for end in (old, new, reader):
        end.close()


def test_a_spoiled_record_is_left_out(path: Path) -> None:
    write(path, *range(10)).close()
    data = bytearray(path.read_bytes())
    size = 32 + 8 * int(np.prod(SHAPE))
    data[64 + 5 * size + 100] ^= 1  # one bit of number 5, which is step 4
    path.write_bytes(data)
    reader = LiveReader(path)
    assert checked(reader.poll()[1]) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    reader.close()


def test_a_killed_writer_leaves_a_readable_file(path: Path) -> None:
    chance = random.Random(3)
    reader = LiveReader(path)
    for _ in range(5):
        process = writing(path, 0)
        seen = -1  # none of this writer's
        while seen < 2 * CAPACITY:
            assert process.poll() is None
            restarted, looks = reader.poll()
            if restarted or seen >= 0:
                seen = max([seen, 0, *checked(looks)])
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        process.wait()
        fresh = LiveReader(path)
        steps = checked(fresh.poll()[1])
        assert len(steps) >= CAPACITY - 1  # one may have been in the making
        assert steps == list(range(steps[0], steps[-1] + 1))
        fresh.close()
    reader.close()


@pytest.mark.parametrize("spoil", [
    lambda data: b"", lambda data: b"not a live file" * 99, lambda data: data[:-1], lambda data: data + b"x",
    lambda data: data[:9] + b"\xff" + data[10:], lambda data: b"zlive.v9" + data[8:],
])
def test_a_broken_file_says_so_until_it_is_replaced(path: Path, spoil: Callable[[bytes], bytes]) -> None:
    write(path, 1).close()
    path.write_bytes(spoil(path.read_bytes()))
    reader = LiveReader(path)
    for _ in range(2):
        with pytest.raises(RunError, match=r"live\.bin is broken or was written by another version: delete it"):
            reader.poll()
    write(path, 5).close()
    restarted, looks = reader.poll()
    assert restarted
    assert checked(looks) == [5]
    reader.close()


def test_a_file_cut_short_under_the_reader_is_an_error_and_kills_nobody(path: Path) -> None:
    write(path, *range(9)).close()
    reader = LiveReader(path)
    reader.poll()
    os.truncate(path, 30)
    with pytest.raises(RunError, match="delete it"):
        reader.poll()
    reader.close()


def test_what_does_not_fit_is_refused(path: Path) -> None:
    writer = write(path)
    with pytest.raises(RunError, match="kind 'dream'"):
        writer.append(Look(1, "dream", 0.0, np.zeros(SHAPE)))
    with pytest.raises(RunError, match=r"shape \(3, 4\).*\(3, 4, 2\)"):
        writer.append(Look(1, "state", 0.0, np.zeros((3, 4))))
    writer.close()
    with pytest.raises(RunError, match="create its folder"):
        LiveWriter(path.parent / "none" / "live.bin", SHAPE)


def test_a_trainer_shows_every_look_and_a_resumed_one_its_history(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run()
    reader = LiveReader(folder.live)
    run(folder, until=14)
    restarted, looks = reader.poll()
    assert restarted
    assert [(seen.step, seen.kind) for seen in looks] == [(6, "state"), (6, "gradient"), (12, "state"),
                                                          (12, "gradient")]
    for seen, chart in zip(looks, ZAtlas.load_npz(folder.atlas), strict=True):
        assert (seen.step, seen.time) == (chart.step, chart.time)
        np.testing.assert_array_equal(seen.rho, chart.field.rho)
    (folder.checkpoints / "step-00000014.safetensors").unlink()
    trainer = Trainer(folder)
    assert trainer.step == 8
    trainer.run()
    restarted, looks = reader.poll()
    assert restarted
    assert [seen.step for seen in looks] == [6, 6, 12, 12, 18, 18, 24, 24]
    reader.close()
