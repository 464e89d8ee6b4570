"""What else one would take to have items done by another process on this machine; see ``echoes``."""

import asyncio
import os
import socket
import sys
import threading
import time
from asyncio.subprocess import DEVNULL, Process
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, ClassVar, Final

import msgpack
from echoes import HOST, Echo, Pipe, in_loop, start
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed

PIPE_BYTES: Final = 32 * 1024  # that a pipe takes without a reader, 32 items of 1 KiB included
START_S: Final = 60.0  # for a server of another system to come up


async def serve_websocket(pipe: Pipe) -> None:
    async def on_client(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(msgpack.packb(msgpack.unpackb(message)))

    async with serve_websockets(on_client, HOST, 0, compression=None, max_size=None) as server:
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()


class WebSocket(Echo):
    """A connection straight to a server of ``websockets``, msgpack on both sides."""

    async def prepare(self) -> None:
        self._pipe = start(in_loop, serve_websocket)
        self._port = await asyncio.to_thread(self._pipe.recv)

    async def connect(self) -> None:
        url = f"ws://{HOST}:{self._port}"
        self._connection: ClientConnection = await connect_websocket(url, compression=None, max_size=None)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._connection:
            msgpack.unpackb(message)
            self.came_back()

    async def send(self, item: bytes) -> None:
        await self._connection.send(msgpack.packb(item))

    async def close(self) -> None:
        await self._connection.close()
        await self._reading


def serve_pipe(pipe: Pipe) -> None:
    """Small items straight back; large ones through a thread, or both ends might wait for each other."""
    pipe.send(None)
    large: SimpleQueue[bytes] = SimpleQueue()

    def send() -> None:
        while True:
            pipe.send_bytes(large.get())

    threading.Thread(target=send, daemon=True).start()
    with suppress(EOFError):
        while True:
            item = pipe.recv_bytes()
            large.put(item) if len(item) > PIPE_BYTES else pipe.send_bytes(item)


class PipeOfBytes(Echo):
    """``multiprocessing.Pipe`` to a process on the same machine: what no network can reach."""

    async def prepare(self) -> None:
        self._turn = asyncio.Lock()
        self._pipe = start(serve_pipe)
        await asyncio.to_thread(self._pipe.recv)

    async def connect(self) -> None:
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._read)

    def _read(self) -> None:
        self._pipe.recv_bytes()
        self.came_back()

    async def send(self, item: bytes) -> None:
        if len(item) > PIPE_BYTES:
            async with self._turn:
                await asyncio.to_thread(self._pipe.send_bytes, item)
        else:
            self._pipe.send_bytes(item)

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
        self._pipe.close()


class Mirror:
    """The actor, or the service."""

    def echo(self, item: bytes) -> bytes:
        return item


class Called(Echo):
    """A system whose calls are awaited one by one."""

    async def send(self, item: bytes) -> None:
        raise NotImplementedError("items are echoed, not sent")


class DaskActor(Called):
    """An actor of Dask ``distributed`` in a worker process; its calls go straight to it."""

    needs: ClassVar[tuple[str, ...]] = ("distributed",)

    async def prepare(self) -> None:
        from distributed import LocalCluster

        self._cluster = await LocalCluster(
            n_workers=1, threads_per_worker=1, asynchronous=True, dashboard_address=None, silence_logs=50
        )

    async def connect(self) -> None:
        from distributed import Client

        self._client = await Client(self._cluster, asynchronous=True)
        self._actor = await self._client.submit(Mirror, actor=True)

    async def echo(self, item: bytes) -> None:
        await self._actor.echo(item)

    async def close(self) -> None:
        await self._client.close()
        await self._cluster.close()


class RayActor(Called):
    """An actor of Ray in a worker process."""

    needs: ClassVar[tuple[str, ...]] = ("ray",)

    async def prepare(self) -> None:
        import ray

        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # for the worker, which unpickles Mirror
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

    async def connect(self) -> None:
        import ray

        self._actor = ray.remote(Mirror).remote()

    async def echo(self, item: bytes) -> None:
        await self._actor.echo.remote(item)

    async def close(self) -> None:
        import ray

        ray.shutdown()


async def serve_hypha(pipe: Pipe, url: str) -> None:
    from hypha_rpc import connect_to_server

    server = await connect_to_server({"server_url": url})
    service = {"id": "mirror", "config": {"visibility": "public"}, "echo": Mirror().echo}
    pipe.send((await server.register_service(service))["id"])
    await asyncio.Event().wait()


class HyphaService(Called):
    """A service of hypha-rpc: client and service are both connected to a Hypha server over WebSocket."""

    # its server needs the last two, and does not say so
    needs: ClassVar[tuple[str, ...]] = ("hypha", "hypha-rpc", "aiobotocore", "sqlmodel<0.0.25")
    _server: Process

    async def prepare(self) -> None:
        with socket.create_server((HOST, 0)) as free:
            port = free.getsockname()[1]
        self._url = f"http://{HOST}:{port}"
        self._server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hypha.server", "--host", HOST, "--port", str(port), stdout=DEVNULL, stderr=DEVNULL
        )
        await asyncio.to_thread(await_listener, port)
        self._service_id = await asyncio.to_thread(start(in_loop, serve_hypha, self._url).recv)

    async def connect(self) -> None:
        from hypha_rpc import connect_to_server

        self._client: Any = await connect_to_server({"server_url": self._url})
        self._service = await self._client.get_service(self._service_id)

    async def echo(self, item: bytes) -> None:
        await self._service.echo(item)

    async def close(self) -> None:
        await self._client.disconnect()
        self._server.terminate()
        await self._server.wait()


def await_listener(port: int) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            return socket.create_connection((HOST, port), 1.0).close()
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.2)


OTHERS: Final = {
    "websockets": WebSocket,
    "pipe": PipeOfBytes,
    "dask actor": DaskActor,
    "ray actor": RayActor,
    "hypha-rpc": HyphaService,
}
