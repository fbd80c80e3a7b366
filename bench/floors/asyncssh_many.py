"""The floor for many hosts: asyncssh, all connections at the same time in one process, one exec each."""

import asyncio
import sys

import asyncssh


async def one(address: str, port: int, user: str, key: str, known_hosts: str, command: str, data: bytes) -> int:
    """Characters of the answer; raises if there is none."""
    there = asyncssh.connect(
        address, port, username=user, client_keys=[key], known_hosts=known_hosts, config=None, agent_path=None
    )
    async with there as connection:
        done = await connection.run(command, input=data, encoding=None, check=False)
    return len(done.stdout or b"")


async def main(count: int, address: str, port: str, user: str, key: str, known_hosts: str, line: str, stdin: str) -> None:
    """Ask `count` times at once; print how many answered, and the shortest answer's length."""
    with open(line, encoding="utf-8") as file:
        command = file.read()
    with open(stdin, "rb") as file:
        data = file.read()
    jobs = [one(address, int(port), user, key, known_hosts, command, data) for _ in range(count)]
    lengths = await asyncio.gather(*jobs)
    print(f"{len(lengths)} answered, {min(lengths)} bytes at least")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
