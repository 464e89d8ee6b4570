"""Runs in Pyodide at build time: /in.zip to /out.zip, its modules compiled by the very Python that will load them.

With ``sourceless`` (set by assets.ts) only the compiled form stays, beside where the source was, as zipimport wants it.
"""

import compileall
import py_compile
import shutil
import zipfile
from pathlib import Path

tree = Path("/tree")
shutil.rmtree(tree, ignore_errors=True)
with zipfile.ZipFile("/in.zip") as archive:
    archive.extractall(tree)
compileall.compile_dir(
    tree,
    ddir="",
    quiet=1,
    legacy=sourceless,  # noqa: F821
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
)
# not deflated: the server sends the whole file compressed, and Pyodide need not inflate it
with zipfile.ZipFile("/out.zip", "w") as archive:
    for path in sorted(tree.rglob("*")):
        replaced = path.suffix == ".py" and path.with_suffix(".pyc").exists()
        if path.is_file() and not replaced:
            archive.writestr(zipfile.ZipInfo(path.relative_to(tree).as_posix()), path.read_bytes())
