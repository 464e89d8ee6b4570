"""A plan for a run that lost a part of itself."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

from mesh.errors import ManifestError, NoPlanError, RunError, SignalingError
from mesh.ids import PeerId
from mesh.limits import REPLACEMENT_TIMEOUT_S, REPLAN_INTERVAL_S
from mesh.peer.driving.absence import Absence
from mesh.peer.driving.epoch import Epoch


async def plan_anew[Planned](
    ask: Callable[[], Awaitable[Planned]],
    call: Callable[[Collection[PeerId]], None],
    *,
    trouble: Callable[[], str],
    absence: Absence,
    lost: Epoch,
) -> Planned | None:
    """Waits for somebody who fits; None where meanwhile the ``trouble`` (why a plan is wanted) is over.

    While nobody does, the absent are called: they may be reachable again. Raises RunError where nobody comes, with the
    trouble and the nodes of the ``lost`` epoch that it hit.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REPLACEMENT_TIMEOUT_S
    while reason := trouble():
        try:
            return await ask()
        except (ManifestError, NoPlanError, SignalingError) as error:  # a type may be gone with its only peer
            if loop.time() > deadline:
                nodes = lost.nodes_on(absence.peers.union(*absence.apart))
                waited = f"no peer took over within {REPLACEMENT_TIMEOUT_S:.0f} s"
                raise RunError(f"{reason}; {waited} what it ran ({', '.join(nodes)}): {error}") from error
            call(absence.peers - absence.dead)
        await asyncio.sleep(REPLAN_INTERVAL_S)
    return None
