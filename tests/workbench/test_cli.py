"""The command line, as a person at a shell uses it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file
from typer.testing import CliRunner

from core.backends import open_backend
from core.bench import CASES
from core.bench import runner as bench_runner
from core.data import read_corpus
from core.importing import torch_layout
from core.nn.families import build
from core.runs import evaluation
from core.runs.checkpoint import load_checkpoint
from core.runs.store import RunStore
from core.tuning import key, tuned
from workbench.cli import app
from workbench.doctor import examine
from workbench.tables import timing_table

runner = CliRunner()
WORDS = ["the", "tide", "turns", "under", "grey", "moon", "and", "nobody", "counts", "waves", "that", "come", "late"]
LAYER = np.full((6, 8), 2.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, a layer and runs."""
    root = tmp_path_factory.mktemp("shell")
    (root / "texts").mkdir()
    (root / "texts/a.txt").write_text(" ".join(np.random.default_rng(0).choice(WORDS, 900)) + "\n")
    (root / "texts/b.md").write_text(" ".join(np.random.default_rng(1).choice(WORDS, 900)) + "\n")
    np.save(root / "layer.npy", LAYER)
    return root


def zspace(place: Path, *words: str) -> Any:
    """Run a command with --json and give what it printed."""
    result = runner.invoke(app, [*words, "--json", *([] if words[0] == "doctor" else ["--runs", str(place / "runs")])])
    assert result.exit_code in (0, 1, 3), result.output
    return json.loads(result.stdout)


def fails(place: Path, *words: str) -> str:
    """Run a command that must fail kindly, and give its sentence."""
    result = runner.invoke(app, [*words, "--runs", str(place / "runs")])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def trained(place: Path) -> dict[str, Any]:
    return zspace(place, "train", str(place / "texts"), "--preset", "tiny", "--steps", "30")


def test_train_reports_a_finished_run_that_learned(trained: dict[str, Any]) -> None:
    assert trained["status"] == "finished"
    assert trained["step"] == trained["steps"] == 30
    assert trained["final"] < trained["baselines"]["unigram"] < 5


def test_how_it_trains_is_asked_for_and_recorded(place: Path) -> None:
    asked = {"optimiser": "hypergrad", "schedule": "constant", "accumulate": 2, "patience": 1, "rate": 0.002,
             "storage": "float16"}
    words = [str(word) for name, value in asked.items() for word in (f"--{name}", value)]
    result = runner.invoke(app, ["train", str(place / "texts"), "--steps", "2", *words, "--runs", str(place / "asked")])
    assert result.exit_code == 0, result.output
    record = RunStore(place / "asked").list()[0].read_config()
    assert {name: record[name] for name in asked} == asked


def test_training_begins_with_the_weights_of_a_file(place: Path) -> None:
    symbols = len(read_corpus(place / "texts").vocabulary)
    rng, layout = np.random.default_rng(0), torch_layout(build("rnn", "tiny", symbols))
    state = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in layout.values()}
    save_file(state, place / "theirs.safetensors")
    words = ("train", str(place / "texts"), "--steps", "1", "--from", str(place / "theirs.safetensors"))
    folder = RunStore(place / "runs").open(zspace(place, *words)["run"])
    began = load_checkpoint(folder.initial)[0]
    np.testing.assert_array_equal(began["p.1.value"], state["blocks.1.value.weight"].T)
    save_file({**state, "rnn.weight_hh_l0": np.ones(2)}, place / "gru.safetensors")
    assert "rnn.weight_hh_l0 is a hidden-to-hidden matrix" in fails(place, *words[:-1], str(place / "gru.safetensors"))
    assert "nowhere cannot be read" in fails(place, *words[:-1], "nowhere")


def test_a_run_that_learns_nothing_ends_early_and_says_why(place: Path) -> None:
    result = runner.invoke(app, ["train", str(place / "texts"), "--steps", "150", "--rate", "5", "--patience", "1",
                                 "--runs", str(place / "impatient")])
    assert result.exit_code == 0, result.output
    assert "finished at step 50: no better validation loss in 1 evaluations since step 0" in " ".join(
        result.output.split())
    run = RunStore(place / "impatient").list()[0].id
    again = runner.invoke(app, ["sample", run, "--checkpoint", "best", "--runs", str(place / "impatient")])
    assert "has no best checkpoint" in " ".join(again.output.split())


def test_the_best_checkpoint_can_be_listened_to(place: Path, trained: dict[str, Any]) -> None:
    best, latest = (zspace(place, "sample", trained["run"], "--length", "20", "--checkpoint", which)["text"]
                    for which in ("best", "latest"))
    assert best == latest  # the last state is the best
    assert "choose latest or best" in fails(place, "sample", trained["run"], "--checkpoint", "first")


def test_sample_is_seeded_recorded_and_tilted_by_desire(place: Path, trained: dict[str, Any]) -> None:
    run = trained["run"]
    first, again = (zspace(place, "sample", run, "--length", "60", "--seed", "3") for _ in range(2))
    assert first["text"] == again["text"]
    wish = zspace(place, "sample", run, "--length", "60", "--seed", "3", "--desire", "e=1", "--strength", "20",
                  "--budget", "0.5")
    assert wish["text"].count("e") > first["text"].count("e")
    lines = [json.loads(line) for line in (place / "runs" / run / "generations" / f"{wish['generation']}.jsonl")
             .read_text().splitlines()]
    assert lines[0]["prompt"] == "\n"
    assert len(lines) == 61
    assert all(0 <= line["kl"] <= 0.5 for line in lines[1:])


def test_a_painted_disk_shows_where_symbols_lie_and_wants_what_it_covers(place: Path, trained: dict[str, Any]) -> None:
    run, painting = trained["run"], np.zeros((128, 128), np.float32)
    bare = zspace(place, "disk", run)["symbols"]
    assert all(s["x"] ** 2 + s["y"] ** 2 < 1 for s in bare)
    e = next(s for s in bare if s["symbol"] == "e")
    row, column = int((1 - e["y"]) * 64), int((1 + e["x"]) * 64)
    painting[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 1
    np.save(place / "disk.npy", painting)
    picture = place / "disk.png"
    shown = zspace(place, "disk", run, "--npy", str(place / "disk.npy"), "--plot", str(picture))["symbols"]
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert next(s["score"] for s in shown if s["symbol"] == "e") == 1
    asked = "--length", "60", "--seed", "3", "--strength", "20", "--budget", "0.5"
    plain = zspace(place, "sample", run, *asked)["text"]
    wish = zspace(place, "sample", run, *asked, "--disk", str(place / "disk.npy"))
    assert wish["text"].count("e") > plain.count("e")
    assert zspace(place, "replay", run, "--generation", wish["generation"])["verdict"] == "equal"
    np.save(place / "odd.npy", painting[:64])
    assert "it needs 128 x 128 numbers in [-1, 1]" in fails(place, "sample", run, "--disk", str(place / "odd.npy"))


def test_a_generation_is_replayed_and_a_desire_measured(place: Path, trained: dict[str, Any]) -> None:
    run = trained["run"]
    wish = zspace(place, "sample", run, "--length", "20", "--desire", "vowels=1, =-1", "--window", "tide", "--phases",
                  "3,9", "--entropy", "1.2", "--top-p", "0.9")
    path = place / "runs" / run / "generations" / f"{wish['generation']}.jsonl"
    assert zspace(place, "replay", run, "--generation", wish["generation"])["verdict"] == "equal"
    path.write_text(path.read_text().replace('"beta":0.0,', '"beta":0.5,', 1))
    again = runner.invoke(app, ["replay", run, "--generation", wish["generation"], "--runs", str(place / "runs")])
    assert again.exit_code == 1
    assert "symbol 0 departs in 'beta'" in again.stdout
    words = ["sample", run, "--prompt", "the ", "--length", "30", "--desire", "vowels=1", "--compare", "6"]
    found = zspace(place, *words)
    assert len(found["names"]) == 6
    assert found["shift"]["interval"][0] <= found["shift"]["difference"] <= found["shift"]["interval"][1]
    assert 0 < found["kl_mean"] < found["kl_largest"] <= 0.1
    shown = runner.invoke(app, [*words, "--runs", str(place / "runs")])
    assert "p value" in shown.stdout
    assert f"{100 * found['shift']['difference']:+.2f} points" in shown.stdout


def test_replay_compare_and_runs(place: Path, trained: dict[str, Any]) -> None:
    assert zspace(place, "replay", trained["run"])["verdict"] == "equal"
    other = zspace(place, "train", str(place / "texts"), "--preset", "tiny", "--steps", "30", "--seed", "1")
    result = zspace(place, "compare", trained["run"], other["run"])
    assert result["settings"] == {"seed": {trained["run"]: 0, other["run"]: 1}}
    assert [row["step"] for row in result["curves"]] == [0, 30]
    listed = [r["run"] for r in zspace(place, "runs")]  # other tests made some, too
    assert listed.index(other["run"]) < listed.index(trained["run"])
    shown = runner.invoke(app, ["compare", trained["run"], other["run"], "--runs", str(place / "runs")])
    assert "seed" in shown.stdout
    assert " ± " in shown.stdout  # one group of two seeds
    picture = place / "plot.png"
    result = zspace(place, "compare", trained["run"], other["run"], "--plot", str(picture), "--by", "characters",
                    "--smooth", "5", "--log", "x")
    (group,) = result["groups"]
    assert group["seeds"] == [0, 1]
    assert group["mean"] == pytest.approx((trained["final"] + other["final"]) / 2, rel=1e-12)
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(picture.with_suffix(".csv").read_text().splitlines()) == 3  # a header, steps 0 and 30


def test_a_live_run_is_steered_stopped_resumed_and_replayed(place: Path) -> None:
    """`steer` from a second process; Ctrl-C; `resume`; `replay`."""
    before = {r["run"] for r in zspace(place, "runs")}
    command = [sys.executable, "-c", "from workbench.cli import app; app()", "train", str(place / "texts"),
               "--preset", "tiny", "--steps", "400", "--runs", str(place / "runs")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env={**os.environ, "COLUMNS": "100"})
    deadline = time.monotonic() + 60
    live: list[dict[str, Any]] = []
    while not live and time.monotonic() < deadline:
        time.sleep(0.1)
        live = [r for r in zspace(place, "runs") if r["run"] not in before and r["step"] > 2]
    run = live[0]["run"]
    assert live[0]["status"] == "running"
    answer = zspace(place, "steer", run, "--npy", str(place / "layer.npy"))
    assert answer["status"] == "running"
    folder = place / "runs" / run
    while str(answer["seq"]) not in (folder / "applied.jsonl").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=180)[0].decode()
    assert process.returncode == 0, output
    assert f"zspace resume {run}" in output
    assert "baselines" in output
    assert zspace(place, "resume", run)["status"] == "finished"
    rows = [json.loads(line) for line in (folder / "applied.jsonl").read_text().splitlines()]
    assert sum(answer["seq"] in row["seq"] for row in rows) == 1
    assert zspace(place, "replay", run)["verdict"] == "equal"
    assert "is finished" in fails(place, "steer", run, "--npy", str(place / "layer.npy"))


@pytest.mark.parametrize(("words", "sentence"), [
    (["train", "nowhere"], "nowhere"),
    (["train", "{place}/texts", "--preset", "giant"], "preset 'giant' is unknown: choose one of tiny, small"),
    (["train", "{place}/texts", "--model", "gpt"], "model 'gpt' is unknown"),
    (["train", "{place}/texts", "--backend", "abacus"], "backend 'abacus' is unknown: choose one of cpu, cuda, wgpu"),
    (["train", "{place}/texts", "--steps", "0"], "steps is 0"),
    (["train", "{place}/texts", "--curvature", "2"], "curvature is 2.0: it must be 0 (Euclidean) or a finite number"),
    (["train", "{place}/texts", "--split", "random"], "split 'random' is unknown: choose one of contiguous, file"),
    (["sample", "no-such-run"], "no-such-run"),
    (["sample", "../../etc"], "leads out of the runs folder"),
    (["eval", "no-such-run"], "no-such-run"),
    (["eval", "{run}", "--text", "{place}/nowhere.txt"], "nowhere.txt does not exist; give a text file"),
    (["eval", "{run}", "--text", "{place}/layer.npy"], "layer.npy is binary"),
    (["sample", "{run}", "--desire", "~=1"], "'~' is no character of this run's text"),
    (["sample", "{run}", "--top-p", "2"], "top_p 2.0 in (0, 1]"),
    (["sample", "{run}", "--prompt", "5 ☃"], "prompt: '5', '☃' are not among the"),
    (["sample", "{run}", "--desire", "vowels"], "--desire 'vowels' is not understood: write it like 'vowels=1"),
    (["sample", "{run}", "--phases", "5"], "--phases '5' is not understood"),
    (["sample", "{run}", "--phases", "5,3"], "begin at 5 and 3 symbols"),
    (["sample", "{run}", "--window", "a", "--distribution", "e=1"], "both hints: give one"),
    (["sample", "{run}", "--distribution", "e=-1"], "a hint needs finite weights"),
    (["sample", "{run}", "--desire", "e=1", "--compare", "2"], "over 2 seeds cannot have a p value below 0.05"),
    (["replay", "{run}", "--generation", "../inputs"], "has no generation '../inputs'"),
    (["steer", "{run}", "--npy", "{place}/texts/a.txt"], "cannot be read as .npy"),
    (["sweep", "nowhere"], "nowhere"),
    (["sweep", "{place}/texts", "--grid", "depth=3"], "'depth' is no setting of a run"),
    (["sweep", "{place}/texts", "--grid", "backend=abacus"], "backend 'abacus' is unknown"),
    (["sweep", "{place}/texts", "--grid", "window=99999"], "99999"),
    (["sweep", "{place}/texts", "--workers", "2", "--scheduler", "tcp://a:1"], "--workers is 2, but the scheduler at"),
    (["compare", "{run}", "--plot", "x.txt"], "--plot x.txt is no picture: let its name end in .png, .svg, .pdf"),
    (["compare", "{run}", "--plot", "x.png", "--by", "hour"], "--by is 'hour': choose one of step, time, characters"),
    (["compare", "{run}", "--plot", "x.png", "--log", "z"], "--log is 'z': choose x, y or xy"),
    (["compare", "{run}", "--plot", "x.png", "--smooth", "-1"], "--smooth is -1.0: give a number of steps"),
    (["compare", "{run}", "--plot", "no/such/x.png"], "no/such/x.png: could not write the plot"),
])
def test_mistakes_get_one_clear_sentence(place: Path, trained: dict[str, Any], words: list[str], sentence: str) -> None:
    filled = [w.format(place=place, run=trained["run"]) for w in words]
    assert sentence in fails(place, *filled)


def test_an_empty_folder_of_runs_says_what_to_do(tmp_path: Path) -> None:
    result = runner.invoke(app, ["runs", "--runs", str(tmp_path)])
    assert "zspace train corpus" in result.stdout


def test_doctor_names_what_is_missing_and_how_to_get_it() -> None:
    findings = {f.name: f for f in examine()}
    assert findings["cpu"].found
    assert "threads" in findings["cpu"].detail
    assert {"cuda", "wgpu", "browser", "numpy", "panel"} <= set(findings)
    for f in findings.values():
        assert f.found or f.remedy
    shown = runner.invoke(app, ["doctor"])
    assert shown.exit_code == 0
    assert findings["cupy-cuda13x"].found or "[cuda]" in shown.stdout  # brackets are data, not markup
    assert {f["name"] for f in json.loads(runner.invoke(app, ["doctor", "--json"]).stdout)} == set(findings)


def test_eval_prints_its_figures_and_records_them(place: Path, trained: dict[str, Any],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "GENERATED", 100)
    run = trained["run"]
    found = zspace(place, "eval", run)
    assert found["bits"] == pytest.approx(trained["final"], rel=1e-6)
    assert found["baselines"] == trained["baselines"]
    kept = place / "runs" / run / "evaluations" / f"{found['id']}.json"
    assert json.loads(kept.read_text()) == found
    (place / "other.txt").write_text("the tide [bold] turns ~~~ " * 9)
    shown = runner.invoke(app, ["eval", run, "--window", "32", "--text", str(place / "other.txt"), "--runs",
                                str(place / "runs")])
    assert shown.exit_code == 0, shown.output
    text = " ".join(shown.stdout.split())
    assert "note: 45 of 234 characters are unknown" in text  # brackets and tildes
    for word in ("bits/char", "unigram", "accuracy", "calibration error", "memorised", "17 to 32", "characters/s"):
        assert word in text
    kinds = {p.name for p in kept.parent.iterdir()}
    assert len(kinds) == 2
    assert f"recorded as evaluation {(kinds - {kept.name}).pop().removesuffix('.json')}" in text


def test_whole_files_are_held_out_on_demand(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "GENERATED", 100)
    where = ["--runs", str(place / "held")]
    shown = runner.invoke(app, ["train", str(place / "texts"), "--steps", "3", "--split", "file", *where])
    assert shown.exit_code == 0, shown.output
    assert "note: Validation is 1 whole file of 2" in " ".join(shown.output.split())
    (run,) = json.loads(runner.invoke(app, ["runs", "--json", *where]).stdout)
    record = json.loads((place / "held" / run["run"] / "run.json").read_text())
    (held,) = record["corpus"]["held_out"]
    assert record["split"] == "file"
    assert record["corpus"]["validation"] == len((place / "texts" / held).read_text())
    scored = json.loads(runner.invoke(app, ["eval", run["run"], "--json", *where]).stdout)["scored"]
    assert (scored["split"], [file["name"] for file in scored["files"]]) == ("file", [held])


def test_a_traced_run_says_what_dominates_and_replays(place: Path) -> None:
    shown = runner.invoke(app, ["train", str(place / "texts"), "--steps", "12", "--trace", "--trace-steps", "4",
                                "--runs", str(place / "r")])
    assert shown.exit_code == 0, shown.output
    assert "measured here: a copy of 64 MiB" in " ".join(shown.output.split())
    assert "matmul" in shown.output
    (folder,) = (place / "r").iterdir()
    assert any(e["name"] == "matmul" for e in json.loads((folder / "trace.json").read_text())["traceEvents"])
    replayed = runner.invoke(app, ["replay", folder.name, "--runs", str(place / "r"), "--json"])
    assert json.loads(replayed.stdout)["verdict"] == "equal"


def test_the_cache_is_listed_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSPACE_CACHE", str(tmp_path))
    assert "nothing is tuned yet" in runner.invoke(app, ["cache"]).stdout
    tuned(key("scan", "d", "a card", "1", "float32", (100, 3)), [64, 128], lambda c: c)
    shown = runner.invoke(app, ["cache"])
    assert "128 x 4" in shown.stdout
    assert "bytes" in shown.stdout
    (entry,) = json.loads(runner.invoke(app, ["cache", "--json"]).stdout)["entries"]
    assert (entry["key"]["kernel"], entry["choice"], entry["seconds"]) == ("scan", 64, [64, 128])
    assert "1 choices cleared" in " ".join(runner.invoke(app, ["cache", "--clear"]).stdout.split())
    assert json.loads(runner.invoke(app, ["cache", "--json"]).stdout)["entries"] == []


def test_kernels_are_timed_beside_their_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_runner, "ROUNDS", 1)
    monkeypatch.setattr(bench_runner, "COPYING", 0.0)
    result = runner.invoke(app, ["bench", "kernels", "--backend", "cpu", "--size", "0.02", "--seconds", "0.01",
                                 "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [t["kernel"] for t in report["timings"]] == list(CASES)
    assert report["ceilings"]["copy"] > 1e8
    for t in report["timings"]:
        assert t["seconds"] > 0
        assert t["share"] > 0
        assert t["rivals"][0]["ratio"] > 0
    monkeypatch.setitem(sys.modules, "torch", None)  # where it is not installed
    out = Console(file=io.StringIO(), width=80)
    out.print(timing_table(bench_runner.run(open_backend("cpu"), 0.02, ["matmul"])))
    shown = " ".join(out.file.getvalue().split())  # type: ignore[attr-defined]
    assert "torch is not here" in shown
    assert "a copy of 64 MiB" in shown
