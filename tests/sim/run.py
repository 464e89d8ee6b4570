"""Whole meshes under a virtual clock, with faults: ``python tests/sim/run.py --seeds FROM:COUNT`` (docs/testing.md)."""

import sys

from ground import prepare

if __name__ == "__main__":
    prepare()

    from simulation_command import main

    sys.exit(main())
