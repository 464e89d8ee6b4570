"""What brings a lost stateful node back: its last snapshot, and the inputs since."""

from collections.abc import Sequence

from mesh.limits import MAX_SNAPSHOT_BYTES, SNAPSHOT_EVERY, SNAPSHOT_EVERY_BYTES


class Journal:
    """Kept for one node that makes snapshots; ``snapshot`` is the state that it began with, if any.

    ``fault`` says why it could not be brought back now (empty: it could).
    """

    def __init__(self, snapshot: bytes | None = None) -> None:
        self.snapshot = snapshot
        self.fault = ""
        self._inputs: list[bytes] = []
        self._count = self._bytes = 0

    @property
    def inputs(self) -> Sequence[bytes]:
        """What was processed since the snapshot, in order."""
        return self._inputs

    @property
    def is_full(self) -> bool:
        """Whether it is time for a snapshot."""
        return self._count >= SNAPSHOT_EVERY or self._bytes >= SNAPSHOT_EVERY_BYTES

    def processed(self, payload: bytes) -> None:
        """The node's state includes this input now."""
        self._count += 1
        self._bytes += len(payload)
        if not self.fault:
            self._inputs.append(payload)

    def saved(self, snapshot: bytes) -> None:
        """The snapshot stands for everything processed so far."""
        if len(snapshot) > MAX_SNAPSHOT_BYTES:
            self.spoiled(f"its snapshot has {len(snapshot)} bytes, more than {MAX_SNAPSHOT_BYTES}")
            return
        self.snapshot, self.fault = snapshot, ""
        self._restart()

    def spoiled(self, fault: str) -> None:
        """No snapshot could be made: until the next one the node's loss ends the run."""
        self.snapshot, self.fault = None, fault
        self._restart()

    def _restart(self) -> None:
        self._inputs.clear()
        self._count = self._bytes = 0
