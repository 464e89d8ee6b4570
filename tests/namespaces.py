"""Whether a test may make network namespaces of its own here."""

import os
import shutil
import subprocess
from collections.abc import Sequence


def obstacle(commands: Sequence[str], *, packages: str, target: str) -> str | None:
    """Why not, in words for a person: ``packages`` have the ``commands``, and the make ``target`` runs as root."""
    missing = [name for name in commands if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install {packages}"
    if os.geteuid() != 0:
        return f"network namespaces need root: run `make {target}`"
    probe = f"mesh-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode != 0:
        return f"this machine gives no network namespaces: {made.stderr.strip()}"
    rules = subprocess.run(["ip", "netns", "exec", probe, "nft", "list", "ruleset"], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return None if rules.returncode == 0 else f"nftables does not work here: {rules.stderr.strip()}"
