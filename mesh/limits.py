"""Every bound of the system, with its unit; nothing else in the code limits anything.

The browser reads the same numbers: ``python -m mesh.limits`` prints them as the JSON that is committed as
``browser_peer/src/generated/limits.json`` (a test keeps the two equal).
"""

from typing import Final

# Values
MAX_DEPTH: Final = 64  # levels of lists and maps in an item or a node's answer
JOIN_LEVELS: Final = 2  # that a join, or several sinks, put on top: a map, and lists for some of its ports
MAX_VALUE_BYTES: Final = 256 * 1024 * 1024  # one encoded value
MAX_ARRAY_DIMS: Final = 32

# Manifests
MAX_MANIFEST_BYTES: Final = 1024 * 1024
MAX_NODES: Final = 1000
MAX_CONNECTIONS: Final = 10_000
MAX_ID_CHARS: Final = 256
MAX_FAULTS: Final = 100  # faults reported at once

# Node types
MAX_PARAMS: Final = 256
MAX_CHOICES: Final = 256  # that a parameter may list
MAX_PORTS: Final = 256  # that a join may declare optional
MAX_DOC_CHARS: Final = 4096

# Wire
MAX_FRAME_BYTES: Final = 16 * 1024  # what goes into one send of a data channel
MAX_MESSAGE_BYTES: Final = MAX_VALUE_BYTES + 64 * 1024  # a value and its header
MAX_CONTROL_MESSAGE_BYTES: Final = 4 * 1024 * 1024
LANE_HIGH_WATER_BYTES: Final = 256 * 1024  # buffered in a channel before the sender waits
SESSION_WINDOW_BYTES: Final = 4 * 1024 * 1024  # sent on a lane and not yet acknowledged by the other session
ACK_EVERY_BYTES: Final = 256 * 1024  # received and not acknowledged
ACK_AFTER_S: Final = 0.02  # for which anything received may stay unacknowledged
MAX_HELLO_BYTES: Final = 8 * 1024
MAX_MESSAGE_MEMBERS: Final = 16_384  # of one list or map within a message
MAX_MESSAGE_LEVELS: Final = 16  # of lists and maps in a message, values apart
LINK_TIMEOUT_S: Final = 15.0
HANDSHAKE_TIMEOUT_S: Final = 5.0
CLOSE_TIMEOUT_S: Final = 1.0  # for the other side to acknowledge everything, and again to close
DIRECT_FIRST_S: Final = 3.0  # that aiortc tries without TURN, since it takes the first path that it finds
DIRECT_AGAIN_S: Final = 1.5  # likewise for a link that had a direct path
RESUME_TIMEOUT_S: Final = 30.0  # for a new connection, before a link without one is lost
RESUME_ATTEMPT_S: Final = 4.0  # for one such connection
RESUME_PAUSE_S: Final = 0.5  # between two of them
MAX_ICE_CANDIDATES: Final = 64  # of one connection
STUN_PROBE_S: Final = 0.5  # for a STUN server to answer, before it counts as silent: aiortc would wait for it for 5 s
STUN_PROBE_EVERY_S: Final = 0.1  # and between two requests to it
PATH_SETTLES_S: Final = 1.0  # after which a new connection has found its best path
PATH_INTERVAL_S: Final = 5.0  # between two looks at the path of a connection
HEARTBEAT_S: Final = 1.0
SUSPECT_AFTER_S: Final = 3.0
PROBE_S: Final = 1.0  # of silence instead, where there is reason for doubt: its signaling socket has closed, say
PARTING_S: Final = PROBE_S + 0.5  # that two workers may be silent to each other before a plan parts them
MAX_LINKS: Final = 64

# Without the signaling server
MAX_SEALED_BYTES: Final = 65 * 1024  # what MAX_RELAY_BYTES of data become, sealed
RELAY_BURST: Final = 512  # messages that a peer carries or takes for another one at once
RELAYS_PER_S: Final = 64  # and in the long run
MAX_RELAYS_KNOWN: Final = 1024  # that a peer takes for what they are when they come again
MAX_SPARE_LINKS: Final = 8  # that a driver makes to peers which its run may need later
PLAN_PATIENCE_S: Final = 5.0  # for a plan, before somebody else makes it

# Runs
EDGE_CREDIT_BYTES: Final = 4 * 1024 * 1024  # sent on one edge and not yet consumed
CREDIT_EVERY_BYTES: Final = 256 * 1024  # consumed on one edge and not given back
CREDIT_AFTER_S: Final = 0.02  # for which anything consumed may not be given back
PART_OVERHEAD_BYTES: Final = 64  # what a part or an end counts besides its payload
RUN_WINDOW_SEQS: Final = 128  # seqs admitted and not finished
RUN_WINDOW_BYTES: Final = 16 * 1024 * 1024
MAX_JOIN_BYTES: Final = 64 * 1024 * 1024  # parts that a join holds for one seq
MAX_JOIN_PARTS: Final = 100_000
MAX_RUNS: Final = 64  # on one peer
MAX_REPLICAS: Final = 64  # places of one node
MAX_CAUSE_CHARS: Final = 4096  # of an item error's cause
DEFAULT_TIMEOUT_S: Final = 30.0
MAX_TIMEOUT_S: Final = 86_400.0
SNAPSHOT_EVERY: Final = 32  # inputs between two snapshots of a stateful node
SNAPSHOT_EVERY_BYTES: Final = 4 * 1024 * 1024  # or so many bytes of them
MAX_SNAPSHOT_BYTES: Final = 64 * 1024 * 1024
CHECKPOINT_EVERY: Final = 32  # seqs between two checkpoints of a run with stateful nodes
CHECKPOINT_EVERY_BYTES: Final = 4 * 1024 * 1024  # or so many bytes of items
MAX_CHECKPOINT_BYTES: Final = 2 * 1024 * 1024  # the states of all stateful nodes of a run, at one checkpoint
REPLACEMENT_TIMEOUT_S: Final = 30.0  # that a run waits for a peer that fits what a lost one ran
REPLAN_INTERVAL_S: Final = 0.5  # between two looks for one
MOVE_INTERVAL_S: Final = 3.0  # between two looks for better places for a run's nodes
MOVE_GAIN: Final = 0.1  # of the predicted time of an item, for which it is worth moving
DRAIN_TIMEOUT_S: Final = 30.0  # that a worker waits for its nodes to be moved away, if not told otherwise
LEASE_GRACE_S: Final = 5.0  # beyond a node's time limit, in which its worker reports no end of the call
POISON_DEATHS: Final = 3  # of peers, with an item alone on its way, before it is given up
STEP_PARTS: Final = 64  # parts that one step of a generator may answer
STEP_S: Final = 0.002  # and how long it may go on collecting them
STEP_BYTES: Final = 1024 * 1024  # and after how many bytes it stops
MAX_STEP_BYTES: Final = MAX_VALUE_BYTES + 2 * STEP_BYTES  # one call or answer of a node's process
SHARED_BYTES: Final = 64 * 1024  # payloads above go to a node's process through shared memory
SLAB_KEPT_BYTES: Final = 4 * 1024 * 1024  # of that memory, between two calls
SETUP_TIMEOUT_S: Final = 120.0
NODE_CLOSE_TIMEOUT_S: Final = 2.0  # for a node's close
NURSERY_QUIET_S: Final = 0.2  # in which no node is asked for, before what they may need is imported ahead
STATS_TIMEOUT_S: Final = 2.0  # for the workers' times at the end of a run
RUN_REPORT_INTERVAL_S: Final = 0.5  # between two reports of a run to dashboards

# WebAssembly
MAX_MODULE_BYTES: Final = 32 * 1024 * 1024
MAX_WASM_MEMORY_BYTES: Final = 512 * 1024 * 1024
MAX_DESCRIBE_BYTES: Final = 1024 * 1024
INLINE_CALL_S: Final = 0.0002  # of CPU; calls that take less may be made in the thread of the event loop
INLINE_BYTES: Final = 64 * 1024  # with an input of at most so many bytes
INLINE_TURN_S: Final = 0.002  # of calls so made by one node, before others have their turn
INLINE_OVERRUN_S: Final = 0.05  # after which, or twice that, such a call is given up and made elsewhere
MAX_WASM_TABLE_ELEMENTS: Final = 100_000
DESCRIBE_TIMEOUT_S: Final = 5.0
MAX_NODE_TYPES: Final = 256  # announced by one peer, or described by one module

# Signaling
MAX_SIGNALING_BYTES: Final = 2 * 1024 * 1024  # one message; manifests and type lists included
MAX_RELAY_BYTES: Final = 64 * 1024  # data of one relay message
MAX_REGISTRY_BYTES: Final = 1536 * 1024  # records and types of a room, which must fit one message
MAX_TYPES_BYTES: Final = 512 * 1024  # all node types of one announcement
OUTBOX_MESSAGES: Final = 256
OUTBOX_BYTES: Final = 512 * 1024  # a larger message may go when nothing is queued
PRESENCE_INTERVAL_S: Final = 0.05
LINKS_INTERVAL_S: Final = 1.0  # between two looks of a dashboard at the links
SIGNALING_HEARTBEAT_S: Final = 1.5
SIGNALING_TIMEOUT_S: Final = 10.0  # for an answer of the server
SIGNALING_PATIENCE_S: Final = 1.0  # for ICE servers, before the server counts as away
PLAN_TIMEOUT_S: Final = 30.0
REJOIN_GRACE_S: Final = 5.0  # for the others to come back after the server did
SIGNALING_SILENCE_S: Final = 4.0
SWEEP_INTERVAL_S: Final = 0.5  # between two looks for the silent
KICK_TIMEOUT_S: Final = 2.0  # for the last words to one whose socket is closed
LOAD_STEP: Final = 0.1  # a smaller change of load is not told to the room
MAX_PEERS_PER_ROOM: Final = 5_000
MAX_ROOMS: Final = 10_000
MAX_CLIENTS: Final = 20_000  # sockets of one server
HTTP_TIMEOUT_S: Final = 60.0  # for a request and its answer
MAX_GZIP_BYTES: Final = 1024 * 1024  # of a file that is compressed when the server starts; larger ones come compressed
MAX_PLANS_IN_FLIGHT: Final = 4  # asked by one peer and not yet answered
MAX_LABELS: Final = 64
MAX_SLOTS: Final = 1024
MAX_COSTS: Final = 1024  # node types whose times one peer reports
TURN_CREDENTIALS_S: Final = 3600.0  # that credentials for a TURN server are good; a connection outlives them
MAX_TURN_SECRET_BYTES: Final = 1024
MAX_GRANT_BYTES: Final = 2048
MAX_INVITE_CHARS: Final = 4096
MAX_NAME_CHARS: Final = 64
MAX_RUN_HISTORY: Final = 200  # runs of a room that dashboards see
MAX_RUN_HISTORY_BYTES: Final = 1024 * 1024
MAX_EVENT_HISTORY: Final = 1000
MAX_LINKS_SHOWN: Final = 1000


def as_dict() -> dict[str, int | float]:
    """Every limit by its name."""
    return {name: value for name, value in globals().items() if name.isupper() and isinstance(value, int | float)}


if __name__ == "__main__":
    import json

    print(json.dumps(as_dict(), indent=2))
