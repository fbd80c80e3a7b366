"""The answers of one moment: asked for all at once, voided by any act, never older than the last one.

Every answer knows how many steps had been sent when it was asked for, so that one which is older than the last step can
be told whatever was voided, and whenever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from converge.errors import ConnectionLost, ConvergeError, Unobservable
from converge.readings import batch
from converge.readings.evidence import Evidence, Tally
from converge.readings.reading import Context, Raw, Reading
from converge.readings.testinfra import AnswerBackend, AnswerHost, ModuleReading, command, is_command
from converge.text.masking import mask
from converge.transport import Link
from converge.transport.link import NoPosixShell
from hosts.schema import Inventory

T = TypeVar("T")
CONTROL = "control"
LOCAL = "local"
HERE = (CONTROL, LOCAL)
"""Who answers without a connection: a shell of this machine, and this process."""

FRESH = 5.0
"""Seconds for which answers count as those of now while nothing of ours acts: others may act at any time."""

Key = tuple[Reading[Any], str]


def _command(text: str, name: str) -> Reading[Raw]:
    return command(text, "control" if name == CONTROL else "here")


class Store:
    """Reads hosts through `links` (host name or ``control`` to an open link).

    `prelude` is shell put before every snippet. A reading that was not asked for with `prefetch` goes out singly and is
    counted as late in `tally`.
    """

    def __init__(self, inv: Inventory, links: Mapping[str, Link], prelude: str) -> None:
        self.inv, self.links, self.prelude = inv, links, prelude
        self.tally = Tally()
        self.asked_by = ""
        """The statement that is judged, by which a late reading is asked for; empty where nobody said."""
        self.evidence: dict[Key, Evidence] = {}
        self._raw: dict[Key, Raw | Unobservable] = {}
        self._local: dict[Key, Any] = {}
        self._parsed: dict[Key, Any] = {}
        self._hosts: dict[str, Any] = {}
        self._commands: dict[Key, list[Key]] = {}
        self._guard = threading.Lock()
        self._under_way: list[threading.Thread] = []
        self._asked: set[Key] = set()
        self._sent: list[str] = []
        self._epochs: dict[Key, int] = {}
        self._since: float | None = None
        self._unsettled = False
        self._deaf: NoPosixShell | None = None

    def where(self, reading: Reading[Any], at: str | None) -> list[str]:
        """Names of the hosts that a reading asks, for an instance at host `at` (None: no host of its own)."""
        if reading.on == "control":
            return [CONTROL]
        if reading.on == "live":
            return [h.name for h in self.inv.live]
        if reading.on == "here" and at and at != CONTROL:
            return [at]
        return [self.inv.app_host.name]

    def void(self, acted: str | None = None) -> None:
        """Forget every answer; if only host `acted` has been acted on, not those that no step on a host changes."""
        elsewhere = acted not in {None, CONTROL}
        # What was not understood is asked again in any case, and so is what an earlier step may have changed.
        kept = {k for k in self._parsed if elsewhere and k[0].changes == CONTROL and self._good_through(k) == self.epoch}
        self._forget({*self._raw, *self._local} - kept)
        self._since, self._unsettled = None, False

    def ask_again(self, wanted: Iterable[tuple[Reading[Any], str | None]]) -> None:
        """Ask anew for all that is wanted, and for every command of testinfra's that was sent."""
        places = {(reading, name) for reading, at in wanted for name in self.where(reading, at)}
        keys = {key for reading, name in places for key in self._parts(reading, name)}
        keys |= {key for key in self._raw if is_command(key[0])}
        self._forget(keys | places)
        self.prefetch(keys)

    def _forget(self, keys: set[Key]) -> None:
        for answers in (self._raw, self._parsed, self.evidence, self._local, self._epochs):
            for key in keys:
                answers.pop(key, None)
        self._hosts.clear()

    def sent(self, host: str) -> None:
        """A step is sent to `host`, or a person was left to act there: whatever becomes of it, an epoch ends."""
        self._sent.append(host)

    def unsettle(self) -> None:
        """Time was let pass so that something changes."""
        self._unsettled = True

    @property
    def epoch(self) -> int:
        """How many steps were sent."""
        return len(self._sent)

    @property
    def is_stale(self) -> bool:
        """Whether anything may have changed since the answers: a step was sent, or time passed."""
        late = self._since is not None and time.monotonic() - self._since > FRESH
        return late or self._unsettled or any(self._good_through(key) < self.epoch for key in self._epochs)

    def renew(self, acted: str | None = None) -> None:
        """Forget as ``void`` does, unless the answers are those of now."""
        if self.is_stale:
            self.void(acted)

    def epoch_of(self, readings: Iterable[Reading[Any]], at: str | None) -> int:
        """Up to which epoch the answers to all these readings are good: the present one, or they are too old."""
        keys = [key for r in readings for name in self.where(r, at) for key in self._parts(r, name)]
        return min([self.epoch, *(self._good_through(key) for key in keys if key in self._epochs)])

    def _good_through(self, key: Key) -> int:
        """The epoch that ended with the first step which may have changed an answer; the present one if none did."""
        asked = self._epochs.get(key, self.epoch)
        changed = (n for n in range(asked, self.epoch) if key[0].changes == "any" or self._sent[n] == CONTROL)
        return next(changed, self.epoch)

    def begin(self, wanted: Iterable[tuple[Reading[Any], str | None]]) -> None:
        """Start with what this machine reads itself, before the hosts are connected to; ``prefetch`` waits for it."""
        self._start({name: keys for name, keys in self._unknown(wanted).items() if name in HERE})

    def prefetch(self, wanted: Iterable[tuple[Reading[Any], str | None]]) -> None:
        """Ask all hosts at the same time for all that is wanted and not yet known; one exec a host.

        Raises:
            NoPosixShell: a host can be asked nothing.
        """
        began = time.monotonic()
        self._start(self._unknown(wanted))
        while self._under_way:
            self._under_way.pop().join()
        now = time.monotonic()
        self.tally.seconds += now - began
        if self._asked and self._since is None:
            self._since = now
        self._asked.clear()
        if self._deaf:
            raise self._deaf

    def _unknown(self, wanted: Iterable[tuple[Reading[Any], str | None]]) -> dict[str, list[Key]]:
        """What is neither known nor asked for, by who is to answer."""
        keys = dict.fromkeys(key for r, at in wanted for name in self.where(r, at) for key in self._parts(r, name))
        groups: dict[str, list[Key]] = {}
        for key in keys:
            if key not in self._raw and key not in self._local and key not in self._asked:
                groups.setdefault(LOCAL if key[0].local else key[1], []).append(key)
        return groups

    def _start(self, groups: Mapping[str, list[Key]]) -> None:
        for name, keys in groups.items():
            self._asked.update(keys)
            self._epochs.update(dict.fromkeys(keys, self.epoch))
            thread = threading.Thread(target=self._job(name, keys), daemon=True)
            thread.start()
            self._under_way.append(thread)

    def __call__(self, what: Reading[T], at: str | None = None) -> T:
        """The value of a reading; for ``on="live"`` a mapping from host name to value.

        Raises:
            Unobservable: it could not be read, with the reason.
        """
        names = self.where(what, at)
        if any(key not in self._raw and key not in self._local for n in names for key in self._parts(what, n)):
            by = f", asked by {self.asked_by}" if self.asked_by else ""
            self.tally.late.append(f"{what.name} at {', '.join(names)}{by}")
            self.prefetch([(what, at)])
        if what.on == "live":
            return cast(T, {name: self._value(what, name) for name in names})
        return self._value(what, names[0])

    def testinfra_host(self, name: str) -> Any:
        """testinfra's ``Host``, answered from here; a command that no reading foresaw goes out singly, as a miss."""
        if name not in self._hosts:
            self._hosts[name] = AnswerHost(AnswerBackend(name, lambda text: self(_command(text, name), name)))
        return self._hosts[name]

    def evidence_of(self, readings: Iterable[Reading[Any]], at: str | None) -> list[Evidence]:
        """What was answered to these readings, for the report."""
        keys = [key for r in readings for name in self.where(r, at) for key in self._parts(r, name)]
        return [self.evidence[key] for key in keys if key in self.evidence]

    def _parts(self, what: Reading[Any], name: str) -> list[Key]:
        """What is sent to a host for a reading: its own script, or the commands of a module of testinfra's."""
        if not isinstance(what, ModuleReading):
            return [(what, name)]
        if (what, name) not in self._commands:
            self._commands[what, name] = [(_command(text, name), name) for text in what.commands(self._context(name))]
        return self._commands[what, name]

    def _value(self, what: Reading[T], name: str) -> T:
        key = (what, name)
        if isinstance(what, ModuleReading):
            build = what.build
            return cast(T, self._understood(what, name, lambda: build(self.testinfra_host(name), self._context(name))))
        answer = self._local[key] if what.local else self._raw[key]
        if isinstance(answer, Unobservable):
            raise answer
        if what.local:
            return cast(T, answer)
        if key not in self._parsed:
            parse, raw = what.parse, cast(Raw, answer)
            assert parse is not None
            self._parsed[key] = self._understood(what, name, lambda: parse(raw, self._context(name)))
        return cast(T, self._parsed[key])

    def _understood(self, what: Reading[T], name: str, understand: Callable[[], T]) -> T:
        try:
            return understand()
        except (ValueError, LookupError, TypeError) as problem:
            raise Unobservable(
                f"{name}: the answer to {what.name} cannot be understood ({type(problem).__name__}: {problem})"
            ) from None

    def _context(self, name: str) -> Context:
        return Context(self.inv, self.inv.hosts.get(name))

    def _job(self, name: str, keys: list[Key]) -> Callable[[], None]:
        return lambda: self._read_locally(keys) if name == LOCAL else self._read(name, keys)

    def _read_locally(self, keys: list[Key]) -> None:
        for what, name in keys:
            assert what.local is not None
            began = time.monotonic()
            try:
                value = what.local(self._context(name))
                note = mask(repr(value))
            except Unobservable as problem:
                value, note = problem, str(problem)
            except Exception as problem:  # a bug in one reading must not take the others with it
                value, note = Unobservable(f"{what.name}: {type(problem).__name__}: {problem}"), repr(problem)
            with self._guard:
                self._local[what, name] = value
                self.evidence[what, name] = Evidence(what.name, name, "(read by the control process)", None, note, "", 0.0)
                self.tally.add(what.name, time.monotonic() - began)

    def _scripts(self, name: str, keys: list[Key]) -> dict[Key, str]:
        """What is to be sent; a reading whose question cannot be put takes no other with it."""
        context, texts = self._context(name), dict[Key, str]()
        for key in keys:
            what = key[0]
            try:
                texts[key] = what.script(context) if what.script else ""
            except Exception as problem:  # in a thread of its own: nobody else would hear of it
                with self._guard:
                    self._keep(key, "", None, f"its question could not be put: {type(problem).__name__}: {problem}")
        return texts

    def _read(self, name: str, wanted: list[Key]) -> None:
        asked = self._scripts(name, wanted)
        keys, texts = list(asked), list(asked.values())
        if not keys:
            return
        limits = [what.limit for what, _ in keys]
        questions = list(zip(texts, limits, strict=True))
        nonce = batch.new_nonce()
        problem = "the answer ended before it"
        raws: list[Raw | None]
        try:
            limit = sum(limits) + 30.0
            text = batch.script(questions, self.prelude, nonce)
            done = self.links[name].exec(text, limit=limit)
            raws = batch.answers(done.out, done.err, nonce, len(keys))
            if not done.out:
                problem = f"no answer, exit status {done.rc}: {done.err.decode('utf-8', 'replace').strip()[:200]}"
        except ConnectionLost as lost:  # what had come by then is as good as ever
            problem, raws = str(lost), batch.answers(lost.out, lost.err, nonce, len(keys))
        except NoPosixShell as shell:
            self._deaf, problem, raws = shell, str(shell), [None] * len(keys)
        except (ConvergeError, OSError) as failure:  # in a thread of its own: nobody else would hear of it
            problem, raws = str(failure), [None] * len(keys)
        with self._guard:
            self.tally.execs += 1
            for key, command, raw in zip(keys, texts, raws, strict=True):
                self.tally.add(key[0].name, raw.seconds if raw else 0.0)
                self._keep(key, command, raw, problem)

    def _keep(self, key: Key, command: str, raw: Raw | None, problem: str) -> None:
        what, name = key
        if raw is None:
            self._raw[key] = Unobservable(f"{name}: {what.name} could not be read: {problem}")
            self.evidence[key] = Evidence(what.name, name, command.strip(), None, "", "", 0.0, problem)
            return
        note = ""
        if raw.rc in batch.TIMED_OUT:
            note = f"stopped after its limit of {what.limit:g} s"
            self._raw[key] = Unobservable(f"{name}: {what.name} {note}")
        else:
            self._raw[key] = raw
        self.evidence[key] = Evidence(
            what.name, name, command.strip(), raw.rc, mask(raw.out), mask(raw.err), raw.seconds, note
        )
