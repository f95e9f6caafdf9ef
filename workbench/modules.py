"""The page's ES modules as one text, for a notebook, which has no server of ours to ask for files.

The sources stay apart and unchanged: a few lines in front give each a blob URL and name that where another imports it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

STATIC = Path(__file__).resolve().parent / "static"
IMPORT = r'from "\./([\w-]+\.js)"'
LOADER = """\
const sources = %s
const urls = {}
function url(name) {
  return urls[name] ??= URL.createObjectURL(new Blob(
    [sources[name].replace(/%s/g, (_, other) => `from "${url(other)}"`), `\\n//# sourceURL=zspace/${name}`],
    {type: "text/javascript"}))
}
const {render} = await import(url("%s"))
Object.values(urls).forEach(URL.revokeObjectURL)
export default {render}
"""


def module(entry: str) -> str:
    """One ES module that needs no other file and exports what a file of ``static/`` does: ``render``.

    Parameters
    ----------
    entry : str
        Name of the file; what it imports from beside it comes along.
    """
    return LOADER % (json.dumps(sources(entry)), IMPORT.replace("/", r"\/"), entry)


def sources(entry: str) -> dict[str, str]:
    """A file of ``static/`` and all that it imports from beside it, by name."""
    found: dict[str, str] = {}
    wanted = [entry]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = (STATIC / name).read_text(encoding="utf-8")
            wanted += re.findall(IMPORT, found[name])
    return found


def kernels() -> dict[str, str]:
    """The canvas's WGSL by name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted((STATIC / "kernels").glob("*.wgsl"))}


def stylesheet() -> str:
    """The page's style sheet, and the widgets' own, for elements of class ``zspace`` alone."""
    page = (STATIC / "workbench.css").read_text(encoding="utf-8").replace(":root", ":scope")
    return f"@scope (.zspace) {{\n{page}\n{(STATIC / 'widget.css').read_text(encoding='utf-8')}}}\n"
