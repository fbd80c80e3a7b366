"""A way to a host that takes longer: a TCP proxy that delivers every byte half a round trip after it came, in order.

``python -m bench.proxy ROUND_TRIP LISTEN_ADDRESS:PORT=ADDRESS:PORT ...`` (seconds). It delays chunks, not packets, and
limits no throughput: what Nagle's algorithm and delayed acknowledgements cost on a real path stays hidden. A connection is
usable after one round trip, as on a real path.
"""

from __future__ import annotations

import asyncio
import socket
import sys

CHUNK = 1 << 16


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, opened: float, trip: float) -> None:
    """Copy until the end of `reader`; nothing travels before the connection, `opened` at this time, could stand."""
    clock = asyncio.get_running_loop().time
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(max(0.0, due - clock()))
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)

    delivery = asyncio.create_task(deliver())
    try:
        while data := await reader.read(CHUNK):
            waiting.put_nowait((max(clock(), opened + trip) + trip / 2, data))
    except OSError:
        pass
    waiting.put_nowait((max(clock(), opened + trip) + trip / 2, b""))
    try:
        await delivery
    except OSError:
        pass


def at_once(writer: asyncio.StreamWriter) -> None:
    """No waiting for acknowledgements on our own side."""
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def serve(listen: tuple[str, int], target: tuple[str, int], trip: float) -> asyncio.Server:
    """Listen at one place for connections to the other."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = asyncio.get_running_loop().time()
        try:
            there, back = await asyncio.open_connection(*target)
        except OSError:
            writer.close()
            return
        at_once(writer)
        at_once(back)
        await asyncio.gather(pump(reader, back, opened, trip), pump(there, writer, opened, trip))
        for end in (writer, back):
            end.close()

    return await asyncio.start_server(connected, *listen, backlog=512)


def place(text: str) -> tuple[str, int]:
    """Address and port."""
    address, _, port = text.rpartition(":")
    return address, int(port)


async def main(trip: float, ways: list[str]) -> None:
    """Serve every way until ended; says ``ready`` when all listen."""
    servers = [await serve(place(here), place(there), trip) for here, _, there in (way.partition("=") for way in ways)]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    try:
        asyncio.run(main(float(sys.argv[1]), sys.argv[2:]))
    except KeyboardInterrupt:
        pass
