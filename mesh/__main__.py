"""``python -m mesh`` is the command ``mesh``."""

from mesh.cli import main

main()
