"""Hosts on one network, each a network namespace, and rules that drop the UDP between two of them."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from faulty_streams import labels
from faulty_tabs import open_tab
from namespaces import obstacle
from playwright.sync_api import Browser, Playwright
from processes import Process
from screens import CHROMIUM

from mesh.protocol.grants import ENTROPY_BYTES, RIGHTS, RoomKeys

HOSTS = ("signaling", "driver", "ada", "bea", "spare", "tab")
PORT = 8080
SWITCH = """
ip netns add {switch}
ip -n {switch} link add bridge type bridge
ip -n {switch} link set bridge up
"""
HOST = """
ip netns add {host}
ip link add eth0 netns {host} type veth peer name to-{number} netns {switch}
ip -n {switch} link set to-{number} master bridge up
ip -n {host} addr add {address}/24 dev eth0
ip -n {host} link set lo up
ip -n {host} link set eth0 up
"""
CUT = """
flush ruleset
table inet cut {{
  chain in {{ type filter hook input priority filter; ip protocol udp ip saddr {address} drop; }}
  chain out {{ type filter hook output priority filter; ip protocol udp ip daddr {address} drop; }}
}}
"""


OBSTACLE = obstacle(("ip", "nft"), packages="iproute2 nftables", target="faults")  # to making these hosts


class Hosts:
    """The hosts, of which ``signaling`` runs a signaling server, and the processes that a test starts on them."""

    def __init__(self) -> None:
        self._names = {name: f"mesh-{os.getpid()}-{name}" for name in (*HOSTS, "switch")}
        self._processes: list[Process] = []
        keys = RoomKeys.make("faults", os.urandom(ENTROPY_BYTES))
        self.url = f"http://{address('signaling')}:{PORT}"
        self.invite = keys.invite(server=self.url, subject="test", can=RIGHTS, ttl_s=3600, now=time.time()).url
        try:
            shell(SWITCH.format(**self._names))
            for number, name in enumerate(HOSTS):
                names = {"host": self._names[name], "switch": self._names["switch"]}
                shell(HOST.format(number=number, address=address(name), **names))
            self.start("signaling", "signal", "--host", address("signaling"), "--port", PORT, "--room", keys.room)
        except BaseException:
            self.close()
            raise

    def within(self, name: str) -> Sequence[str]:
        """How a command line begins that runs on a host."""
        return ("ip", "netns", "exec", self._names[name])

    def start(self, host: str, *arguments: object) -> Process:
        """A ``mesh …`` on a host; it ends with the hosts."""
        process = Process(*arguments, "--json", within=self.within(host))
        self._processes.append(process)
        process.ready()
        return process

    def worker(self, name: str, role: str, *, engine: str) -> Process:
        """On the host of its name."""
        join = ("--join", self.invite, "--name", name, *labels(name, role), "--engine", engine)
        return self.start(name, "worker", *join)

    def tab(self, playwright: Playwright, folder: Path) -> Browser:
        """A browser on a host of its own, with a tab that serves."""
        command = folder / "chromium"
        command.write_text(f'#!/bin/sh\nexec {" ".join(self.within("tab"))} {CHROMIUM} "$@"\n')
        command.chmod(0o755)
        secure = f"--unsafely-treat-insecure-origin-as-secure={self.url}"  # a page over plain HTTP has no WebCrypto
        return open_tab(playwright, self.url, self.invite, "tab", executable=command, flags=[secure])

    def cut(self, one: str, other: str) -> None:
        """From now on no UDP passes between these two; TCP does."""
        self._rules(one, CUT.format(address=address(other)))

    def heal(self, one: str) -> None:
        self._rules(one, "flush ruleset\n")

    def _rules(self, host: str, rules: str) -> None:
        subprocess.run([*self.within(host), "nft", "-f", "-"], input=rules, text=True, check=True)

    def close(self) -> None:
        for process in self._processes:
            process.end()
        for name in self._names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def address(host: str) -> str:
    return f"10.77.0.{HOSTS.index(host) + 1}"


def shell(commands: str) -> None:
    subprocess.run(["sh", "-e", "-c", commands], check=True)
