"""Two hosts, each behind a NAT of its own, and a public network with a signaling server and coturn; all in namespaces.

host-a 10.1.0.2 -- 10.1.0.1 nat-a 5.5.5.10 --+
                                             +-- 5.5.5.1 public
host-b 10.2.0.2 -- 10.2.0.1 nat-b 5.5.5.20 --+
"""

import os
import secrets
import subprocess
import time
from pathlib import Path
from typing import Literal

from namespaces import obstacle
from processes import ROOT, Process, Room, until

from mesh.protocol.grants import ENTROPY_BYTES, RIGHTS, RoomKeys

type Nat = Literal["cone", "symmetric", "blocked"]  # blocked: a cone that lets no UDP through

PUBLIC = "5.5.5.1"  # nobody else is in these namespaces
SIGNALING_PORT, TURN_PORT = 8080, 3478
SETUP = """
ip netns add {public}; ip netns add {nat-a}; ip netns add {nat-b}; ip netns add {host-a}; ip netns add {host-b}
ip -n {public} link add bridge type bridge; ip -n {public} link set bridge up; ip -n {public} link set lo up
ip -n {public} addr add 5.5.5.1/24 dev bridge
"""
SIDE = """
ip link add wan netns {nat} type veth peer name to-{side} netns {public}
ip -n {public} link set to-{side} master bridge up
ip link add lan netns {nat} type veth peer name wan netns {host}
ip -n {nat} addr add 5.5.5.{number}0/24 dev wan; ip -n {nat} addr add 10.{number}.0.1/24 dev lan
ip -n {nat} link set wan up; ip -n {nat} link set lan up
ip netns exec {nat} sysctl -qw net.ipv4.ip_forward=1
ip -n {host} addr add 10.{number}.0.2/24 dev wan; ip -n {host} link set lo up; ip -n {host} link set wan up
ip -n {host} route add default via 10.{number}.0.1
"""
# What comes in unasked is dropped before it takes the port that a reply would need.
RULES = """
flush ruleset
table ip nat {{
  chain out {{ type nat hook postrouting priority srcnat; oifname wan masquerade {ports}; }}
  chain unasked {{ type filter hook input priority filter; iifname wan ct state new drop; }}
  chain through {{ type filter hook forward priority filter;
    {blocked} iifname wan ct state new drop; }}
}}
"""
BRIEF_CREDENTIALS = """
from mesh import limits
limits.TURN_CREDENTIALS_S = {}
from mesh.cli import main
main()
"""


OBSTACLE = obstacle(
    ("ip", "nft", "conntrack", "turnserver"), packages="iproute2 nftables conntrack coturn", target="nat"
)  # to making these hosts


class World(Room):
    """A room over the namespaces. ``within`` begins a command line that runs in one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = ("public", "nat-a", "nat-b", "host-a", "host-b")
        self.names = {name: f"mesh-{os.getpid()}-{name}" for name in names}
        self._kinds: dict[str, Nat] = {}
        self._processes: list[Process] = []
        self._turn: subprocess.Popen[bytes] | None = None
        self.secret = folder / "turn.secret"
        self.secret.touch(mode=0o600)
        self.secret.write_text(secrets.token_hex(32))
        self.keys = RoomKeys.make("nat", secrets.token_bytes(ENTROPY_BYTES))
        self.url = f"http://{PUBLIC}:{SIGNALING_PORT}"
        self.invite = self.keys.invite(server=self.url, subject="test", can=RIGHTS, ttl_s=3600, now=time.time()).url
        self.invites = dict.fromkeys(RIGHTS, self.invite)
        try:
            self._shell(SETUP.format(**self.names))
            for number, side in enumerate("ab", 1):
                sides = {"nat": self.names[f"nat-{side}"], "host": self.names[f"host-{side}"]}
                self._shell(SIDE.format(side=side, number=number, public=self.names["public"], **sides))
            self.set_nats("cone", "cone")
            self.start_turn()
        except BaseException:
            self.close()
            raise

    def within(self, name: str) -> list[str]:
        return ["ip", "netns", "exec", self.names[name]]

    def worker(self, name: str, *arguments: object) -> Process:
        """Starts a worker on host-b, and waits until it is in the room."""
        command = ["worker", "--join", self.invite, "--name", name, "--json", *arguments]
        process = Process(*command, within=self.within("host-b"))
        self._processes.append(process)
        process.ready()
        return process

    def start_script(self, name: str, script: Path, *arguments: object) -> Process:
        """A script of these tests, in a namespace."""
        program, env = (str(script),), {"PYTHONPATH": str(ROOT)}
        process = Process(*arguments, within=self.within(name), program=program, env=env)
        self._processes.append(process)
        return process

    def start_signaling(self, *, credentials_s: float | None = None) -> None:
        """``mesh signal``, or the same server with credentials that are soon over."""
        turn = f"turn:{PUBLIC}:{TURN_PORT}"
        urls = ["--turn-url", f"{turn}?transport=udp", "--turn-url", f"{turn}?transport=tcp"]
        address = ["--host", PUBLIC, "--port", SIGNALING_PORT, "--room", self.keys.room]
        stun = ["--stun-url", f"stun:{PUBLIC}:{TURN_PORT}", "--turn-secret-file", self.secret]
        command = ["signal", *address, *stun, *urls, "--json"]
        program = ("-m", "mesh") if credentials_s is None else ("-c", BRIEF_CREDENTIALS.format(credentials_s))
        process = Process(*command, within=self.within("public"), program=program)
        self._processes.append(process)
        process.ready()

    def set_nats(self, a: Nat, b: Nat) -> None:
        """Both NATs begin anew, and know no mappings of UDP."""
        self._kinds = {"nat-a": a, "nat-b": b}
        for name, kind in self._kinds.items():
            ports = "random,fully-random" if kind == "symmetric" else ""
            blocked = "meta l4proto udp drop;" if kind == "blocked" else ""
            rules = RULES.format(ports=ports, blocked=blocked)
            subprocess.run([*self.within(name), "nft", "-f", "-"], input=rules, text=True, check=True)
            forget = [*self.within(name), "conntrack", "-D", "-p", "udp"]
            subprocess.run(forget, capture_output=True)  # fails where there were none

    def flush(self) -> None:
        """Both NATs forget all mappings, as they do when they are restarted."""
        for name in self._kinds:
            subprocess.run([*self.within(name), "conntrack", "-F"], check=True, capture_output=True)

    def start_turn(self) -> None:
        """coturn as deploy/coturn.conf has it."""
        command = ["turnserver", "-c", ROOT / "deploy/coturn.conf", f"--static-auth-secret={self.secret.read_text()}"]
        command += [f"--listening-ip={PUBLIC}", f"--relay-ip={PUBLIC}", f"--pidfile={self.folder / 'turn.pid'}"]
        command += ["--log-file=stdout", f"--userdb={self.folder / 'turn.db'}", "--verbose"]
        with (self.folder / "turn.log").open("ab") as log:
            self._turn = subprocess.Popen([*self.within("public"), *command], stdout=log, stderr=log)
        listening = [*self.within("public"), "ss", "-Hltn", f"sport = :{TURN_PORT}"]
        until(lambda: subprocess.run(listening, capture_output=True).stdout != b"")

    def restart_turn(self) -> None:
        """Every allocation is gone."""
        self.stop_turn()
        self.start_turn()

    def stop_turn(self) -> None:
        if self._turn is not None:
            self._turn.kill()
            self._turn.wait()
            self._turn = None

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.end()
        self.stop_turn()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def _shell(self, commands: str) -> None:
        subprocess.run(["sh", "-e", "-c", commands], check=True)
