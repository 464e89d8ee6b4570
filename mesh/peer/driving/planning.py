"""A plan for a run that lost a part of itself."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mesh.errors import ManifestError, NoPlanError, RunError, SignalingError
from mesh.ids import NodeId
from mesh.limits import REPLACEMENT_TIMEOUT_S, REPLAN_INTERVAL_S


async def plan_anew[Planned](
    ask: Callable[[], Awaitable[Planned]], *, trouble: Callable[[], str], nodes: Callable[[], Sequence[NodeId]]
) -> Planned | None:
    """Waits for somebody who fits; None where meanwhile the ``trouble`` (why a plan is wanted) is over.

    Raises RunError where nobody comes, with the trouble and the ``nodes`` that it hit.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REPLACEMENT_TIMEOUT_S
    while reason := trouble():
        try:
            return await ask()
        except (ManifestError, NoPlanError, SignalingError) as error:  # a type may be gone with its only peer
            if loop.time() > deadline:
                waited = f"no peer took over within {REPLACEMENT_TIMEOUT_S:.0f} s"
                raise RunError(f"{reason}; {waited} what it ran ({', '.join(nodes())}): {error}") from error
        await asyncio.sleep(REPLAN_INTERVAL_S)
    return None
