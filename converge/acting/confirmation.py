"""What a step is confirmed by that else puts itself back: a new connection, and a look at the site as a visitor has it."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from converge.acting.transient_unit import outcome_script
from converge.errors import ConvergeError
from converge.journal.journal import folder
from converge.probe.prober import Prober
from converge.probe.worker import AGENT, TIMEOUT
from converge.transport import Completed, Link, connect, terminal
from hosts.schema import Inventory

HURRY = "a step waits for this, answer now: "
"""Before what is asked in the middle of a run, so that nobody takes it for a late question of the beginning."""


def dial(inv: Inventory, host: str) -> Link:
    """A new connection to a host of the target.

    Raises:
        ConvergeError: there is no way to it.
    """
    person = terminal()

    def now(prompt: str, *, echo: bool = False) -> str | None:
        return person(f"{HURRY}{prompt}", echo=echo) if person else None

    return connect(inv, inv.hosts[host], ask=now if person else None)


def second_logins(links: Mapping[str, Link], confirmed: Iterable[str]) -> list[str]:
    """What a person must know beforehand, where a login will be asked for again in the middle of a step.

    `confirmed` are the hosts of steps that must be confirmed over a new connection.
    """
    asked = {host: ", ".join(getattr(links.get(host), "asks_again", ())) for host in confirmed}
    return [
        f"{host} will be logged in to a second time while a step waits to be confirmed, and asks anew then ({questions}): "
        "stay at this terminal and answer at once, within the time that the step names, or the host puts everything back; "
        "for a key or a password nobody is asked again"
        for host, questions in asked.items()
        if questions
    ]


def look(prober: Prober, link: Link) -> str:
    """What is wrong with the site as it is seen from here; empty if a page is answered.

    Where no request from here ever came through, the web server is asked on its own host, over `link`.
    """
    seen = prober.look()
    if seen.is_good:
        return ""
    wrong = f"{prober.errand.road}: {seen.error or f'status {seen.status}'}"
    if seen.status or prober.measures:
        return wrong
    return _from_its_host(prober, link, wrong)


def _from_its_host(prober: Prober, link: Link, wrong: str) -> str:
    way, page = prober.errand.road, prober.errand.questions[0]
    asked = shlex.quote(f"{way.scheme}://{way.name}:{way.port}{page.path}")
    pin = shlex.quote(f"{way.name}:{way.port}:127.0.0.1")
    script = (
        "command -v curl >/dev/null || exit 69\n"
        f"curl -sk -m {TIMEOUT:g} -A {AGENT} -o /dev/null -w '%{{http_code}}' --resolve {pin} {asked}"
    )
    done = link.exec(script, limit=4 * TIMEOUT)
    code = done.out.decode(errors="replace").strip()
    if done.rc == 0 and code.isdigit():
        return "" if 200 <= int(code) < 400 else f"the web server, asked on its host: status {code}"
    why = "there is no curl" if done.rc == 69 else f"curl ended with {done.rc}"
    return f"nobody could look at the site: not from here ({wrong}), and not on its host ({why})"


TRIES, PAUSE, LOOKS = 5, 1.0, 25.0
"""How often the site is looked at, with pauses, before it is called wrong; and seconds after which no new look begins."""


@dataclass
class Confirmation:
    """Answers one step. `dial` makes a new connection to its host; `look`, given that one, says what is wrong with the site.

    As a context manager it waits beside the step. `note` tells afterwards what was answered, and why.
    """

    link: Link
    dial: Callable[[], Link]
    look: Callable[[Link], str]
    run: str
    n: int
    limit: float
    note: str = ""

    def __enter__(self) -> Confirmation:
        threading.Thread(target=self._answer, name="confirmation", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end: the wait on the host ends with the step."""

    def find_out(self) -> Completed | None:
        """After a lost connection: what became of the step, over a new one; None if it never began, or nobody answers."""
        end = time.monotonic() + self.limit
        while time.monotonic() < end:
            try:
                link = self.dial()
            except ConvergeError:
                time.sleep(PAUSE)
                continue
            try:
                done = link.exec(outcome_script(self.run, self.n, self.limit), limit=self.limit)
                return None if done.out == b"never\n" else done
            except ConvergeError:
                time.sleep(PAUSE)
            finally:
                link.close()
        return None

    def _answer(self) -> None:
        try:
            waiting = self.link.exec(self._wait(), limit=self.limit)
            if waiting.out.strip() != b"asked":
                return
            link = self.dial()
            try:
                seen = self._seen(link)
                done = link.exec(self._reply(seen), limit=20)
            finally:
                link.close()
            answer = f"not confirmed: {seen}" if seen else "confirmed over a new connection"
            self.note = answer if done.rc == 0 else f"the answer could not be given (status {done.rc})"
        except ConvergeError as problem:
            self.note = f"not confirmed: {problem}"

    def _seen(self, link: Link) -> str:
        seen, end = "", time.monotonic() + LOOKS
        for _ in range(TRIES):
            seen = self.look(link)
            if not seen or time.monotonic() > end:
                break
            time.sleep(PAUSE)
        return seen

    def _wait(self) -> str:
        return (
            f"J={folder(self.run)}; n={int(self.limit * 5)}\n"
            f'while [ $n -gt 0 ] && [ ! -s "$J/{self.n}.rc" ]; do\n'
            f'  [ ! -e "$J/{self.n}.asked" ] || {{ echo asked; exit 0; }}\n'
            "  n=$((n - 1)); sleep 0.2\ndone\n"
        )

    def _reply(self, seen: str) -> str:
        word = "no" if seen else "yes"
        return (
            f'J={folder(self.run)}; [ -e "$J/{self.n}.asked" ] || exit 1\n'
            f"(umask 077; printf '%s\\n' {shlex.quote(seen or 'yes')} >\"$J/{self.n}.{word}.new\") && "
            f'mv -T "$J/{self.n}.{word}.new" "$J/{self.n}.{word}"\n'
        )
