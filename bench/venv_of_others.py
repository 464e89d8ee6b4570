"""A virtual environment for the systems that we compare ourselves with, and that we do not depend on."""

import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
VENV: Final = ROOT / "build" / "bench-venv"
INSTALL_S: Final = 600.0


def install(packages: tuple[str, ...]) -> str:
    """Makes the packages importable by the environment's Python; says why that was not possible."""
    return next((fault for package in packages if (fault := _install(package))), "")


@cache
def _install(package: str) -> str:
    python = VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    site = next(VENV.glob("lib/python*/site-packages"))
    # behind its own packages it finds ours and what we depend on
    (site / "mesh.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        return f"{package} was not installed within {INSTALL_S:.0f} s"
    return f"{package} does not install: {done.stderr.strip().splitlines()[-1]}" if done.returncode else ""
