"""The notebooks run from the first cell to the last, and show what they promise."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.serving import absent

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CANVAS = ROOT / "notebooks/05_canvas.ipynb"
PYTORCH = ROOT / "notebooks/03_pytorch.ipynb"
PEER = os.environ.get("ZSPACE_PEER_PYTHON")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path == PYTORCH and find_spec("torch") is None:
        pytest.skip("PyTorch is not installed here")
    if path == CANVAS and find_spec("anywidget") is None:
        absent("anywidget: pip install 'zspace-workbench[notebook]'")
    monkeypatch.setenv("ZSPACE_RUNS", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in code), "clear the outputs before committing: they hide what changed"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert list(tmp_path.iterdir()), "the runs go where ZSPACE_RUNS says"


@pytest.mark.skipif(PEER is None, reason="ZSPACE_PEER_PYTHON names no Python with PyTorch")
def test_the_one_with_pytorch_runs_where_that_is(tmp_path: Path) -> None:
    """Its cells as a script: that Python has no kernel."""
    assert PEER is not None
    cells = nbformat.read(PYTORCH, as_version=4).cells
    script = "\n\n".join(cell.source for cell in cells if cell.cell_type == "code")
    done = subprocess.run(
        [PEER, "-c", script], capture_output=True, text=True, cwd=PYTORCH.parent, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ZSPACE_RUNS": str(tmp_path), "MPLBACKEND": "Agg"})
    if "No module named 'torch'" in done.stderr:
        pytest.skip(f"{PEER} has no torch")
    assert (done.returncode, done.stderr) == (0, "")
    assert "logits differ by" in done.stdout
    assert len(list(tmp_path.iterdir())) == 2, "the weights and the run that began with them"
