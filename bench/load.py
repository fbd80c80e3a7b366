"""Sixty clients that ask a site as fast as it answers, slow pages and searches among them; every answer is recorded.

``python -m bench.load ADDRESS NAME FILE`` asks until its standard input ends, and writes one JSON line for each request.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path

CLIENTS = 60
SLOW_EVERY, SEARCH_EVERY = 200, 100
SLOW, SEARCH, PAGE = "/slow?s=1", "/coursesurveys/search/exam", "/"
LIMIT = 60.0


def question(number: int) -> tuple[str, str]:
    """Kind and path of the request of this number."""
    if number % SLOW_EVERY == 0:
        return "slow", SLOW
    return ("search", SEARCH) if number % SEARCH_EVERY == SEARCH_EVERY // 2 else ("page", PAGE)


async def ask(address: str, name: str, path: str) -> int:
    """One request on a connection of its own; its status, 0 for no answer."""
    reader, writer = await asyncio.open_connection(address, 80)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: bench\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), LIMIT)
        head = answer.split(b" ", 2)
        return int(head[1]) if len(head) > 1 and head[1].isdigit() else 0
    finally:
        writer.close()


async def client(address: str, name: str, numbers: itertools.count[int], over: asyncio.Event, out: list[str]) -> None:
    """Ask, and ask again at once."""
    while not over.is_set():
        kind, path = question(next(numbers))
        sent = time.time()
        try:
            status = await ask(address, name, path)
        except (OSError, TimeoutError):
            status = 0
            # Whoever is refused at once would fill the record with nothing else.
            await asyncio.sleep(0.02)
        out.append(json.dumps({"sent": sent, "answered": time.time(), "status": status, "kind": kind}))


async def main(address: str, name: str, file: str) -> None:
    """Ask until standard input ends."""
    over, out, numbers = asyncio.Event(), list[str](), itertools.count()
    clients = [asyncio.create_task(client(address, name, numbers, over, out)) for _ in range(CLIENTS)]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    over.set()
    await asyncio.gather(*clients)
    Path(file).write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
