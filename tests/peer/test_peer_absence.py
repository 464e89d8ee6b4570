"""Whom a run does without, and what it makes of their coming back."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from mesh.ids import PeerId
from mesh.peer.driving.absence import Absence
from mesh.peer.driving.epoch import Epoch

ADA, BEA, ZOE = (PeerId(name) for name in ("ada", "bea", "zoe"))


@dataclass
class Present:
    """What an epoch is to its absence."""

    workers: set[PeerId] = field(default_factory=lambda: {ADA, BEA})
    names: dict[PeerId, str] = field(default_factory=lambda: {ADA: "Ada", BEA: "Bea"})
    strangers: bool = False

    @property
    def placement(self) -> "Present":
        return self

    def neighbours(self, peer: PeerId) -> set[PeerId]:
        return set() if self.strangers else self.workers - {peer}


def absence() -> Absence:
    made = Absence(lambda: None, lambda _: None)
    made.began(cast(Epoch, Present()))
    return made


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers are parted after a moment."""
    monkeypatch.setattr("mesh.peer.driving.absence.PARTING_S", 0.05)


def test_who_is_silent_and_comes_back_was_never_away() -> None:
    run = absence()
    run.suspected(ADA, "nothing was heard", died=False)
    assert (run.peers, run.suspicion, run.loss) == ({ADA}, "Ada was suspected: nothing was heard", "")
    run.linked(ADA)
    assert (run.peers, run.suspicion, run.loss) == (set(), "", "")


def test_who_was_lost_may_come_back_but_the_epoch_does_not() -> None:
    run = absence()
    run.suspected(ADA, "nothing was heard", died=False)
    run.lost(ADA, "no connection", died=True)
    assert (run.peers, run.dead, run.loss) == ({ADA}, {ADA}, "Ada was lost: no connection")
    run.linked(ADA)
    assert (run.peers, run.dead, run.loss) == (set(), set(), "Ada was lost: no connection")


def test_who_was_taken_for_dead_and_is_in_the_room_did_not_die() -> None:
    run = absence()
    run.suspected(ADA, "nothing was heard", died=True)
    run.lost(ADA, "no connection", died=False)
    assert (run.peers, run.dead) == ({ADA}, set())


def test_who_is_stuck_stays_out_of_the_run() -> None:
    run = absence()
    run.stuck(ADA, "node 'a' stands still")
    run.linked(ADA)
    run.joined(ADA)
    assert (run.peers, run.dead) == ({ADA}, {ADA})


def test_strangers_do_not_matter_unless_they_were_linked() -> None:
    run = absence()
    run.lost(ZOE, "it left the room", died=True)
    assert not run.peers
    run.suspected(ZOE, "nothing was heard", died=False)
    run.lost(ZOE, "no connection", died=False)
    assert (run.peers, run.loss) == ({ZOE}, "")


async def test_two_who_are_heard_but_not_by_each_other_are_parted(soon: None) -> None:
    probed: list[PeerId] = []
    run = Absence(lambda: None, probed.append)
    run.began(cast(Epoch, Present()))
    waiting = asyncio.create_task(run.unheard(ADA, BEA))
    await asyncio.sleep(0)
    assert (sorted(probed), run.suspicion) == ([ADA, BEA], "")  # perhaps one of them is gone itself
    await waiting
    assert (run.peers, run.apart, run.loss) == (set(), {frozenset((ADA, BEA))}, "")
    assert run.suspicion == "Ada and Bea cannot reach each other"
    run.began(cast(Epoch, Present(strangers=True)))
    assert (run.apart, run.suspicion) == ({frozenset((ADA, BEA))}, "")  # the new plan did without


async def test_two_who_hear_each_other_again_are_together_again(soon: None) -> None:
    run = absence()
    waiting = asyncio.create_task(run.unheard(ADA, BEA))
    await asyncio.sleep(0)
    run.heard(ADA, BEA)
    await waiting
    assert (run.apart, run.suspicion, run.loss) == (set(), "", "")
    await run.unheard(ADA, BEA)
    run.heard(BEA, ADA)  # the other way round it may be as it was
    assert run.suspicion != ""
    run.heard(ADA, BEA)
    assert (run.apart, run.suspicion, run.loss) == (set(), "", "")


async def test_what_was_on_a_link_that_is_gone_is_lost(soon: None) -> None:
    run = absence()
    waiting = asyncio.create_task(run.unlinked(ADA, BEA))
    await asyncio.sleep(0)
    run.heard(ADA, BEA)  # over another link
    await waiting
    assert (run.apart, run.loss) == (set(), "Ada and Bea cannot reach each other")


async def test_whom_a_worker_did_not_hear_is_forgotten_when_it_leaves_the_run(soon: None) -> None:
    run = absence()
    waiting = asyncio.create_task(run.unheard(ADA, BEA))
    await asyncio.sleep(0)
    run.began(cast(Epoch, Present(workers={BEA, ZOE})))  # so it will not say when it hears it again
    await waiting
    await run.unheard(ADA, BEA)  # said before it heard that it has left
    assert (run.apart, run.suspicion) == (set(), "")


async def test_who_comes_into_the_room_may_be_reached_by_all(soon: None) -> None:
    run = absence()
    await run.unheard(ADA, BEA)
    run.joined(BEA)
    assert run.apart == set()
