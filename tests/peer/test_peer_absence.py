"""Whom a run does without, and what it makes of their coming back."""

from dataclasses import dataclass, field
from typing import cast

from mesh.ids import PeerId
from mesh.peer.driving.absence import Absence
from mesh.peer.driving.epoch import Epoch

ADA, BEA, ZOE = (PeerId(name) for name in ("ada", "bea", "zoe"))


@dataclass
class Present:
    """What an epoch is to its absence."""

    workers: set[PeerId] = field(default_factory=lambda: {ADA, BEA})
    names: dict[PeerId, str] = field(default_factory=lambda: {ADA: "Ada", BEA: "Bea"})


def absence() -> Absence:
    made = Absence(lambda: None)
    made.began(cast(Epoch, Present()))
    return made


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
