"""Logging in: agent, key files, then what only a person can answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from paramiko import Agent, PKey, Transport
from paramiko.pkey import PublicBlob
from paramiko.ssh_exception import AuthenticationException, BadAuthenticationType, SSHException

from converge.transport import known_hosts
from converge.transport.credentials import REMEMBERED, Remembered, Whom, is_lasting
from converge.transport.link import Ask, Unreached
from converge.transport.route import Way

PATIENCE = 120.0
"""Seconds that a person has to answer; sshd gives as much (LoginGraceTime)."""
TRIES = 3


@dataclass
class Login:
    """One login over a transport that has proven the host's key. `ask` is None if there is nobody to ask.

    A person is not asked what is `remembered`. `asks_again` are the questions that only a person can answer the next time.
    """

    transport: Transport
    way: Way
    ask: Ask | None
    tried: list[str] = field(default_factory=list)
    locked: list[Path] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    agents: ExitStack = field(default_factory=ExitStack)
    remembered: ClassVar[Remembered] = REMEMBERED
    asks_again: list[str] = field(default_factory=list)
    whom: Whom = field(init=False)

    def run(self) -> str:
        """Log in; says by what.

        Raises:
            Unreached: nothing that could be offered was accepted.
        """
        with self.agents:
            return self._run()

    def _run(self) -> str:
        self.whom = self._proven()
        self.transport.auth_timeout = max(self.way.timeout, 1.0)
        for label, key in self._keys():
            if self._offer(label, key):
                return label
            if self.allowed and "publickey" not in self.allowed:
                break
        # Who answered before may have left the terminal meanwhile, or put the program into the background.
        # A host that asks for a code is not tried without them: whoever dials again and again would get the account locked.
        ask = self.ask or (_nobody if self.remembered.suffices(self.whom) else None)
        if ask and (method := self._answer(ask)):
            return method
        raise self._refused()

    def _keys(self) -> Iterator[tuple[str, PKey]]:
        """Keys in the order of least effort: the agent's that are named, its others, files, files with a passphrase."""
        files = list(self._files())
        blobs = {key.asbytes() for _, key in files} | {b for f in self.way.identities if (b := _public(f))}
        agent = self._agent_keys()
        offered = [k for k in agent if k.asbytes() in blobs]
        if not self.way.identities_only:
            offered += [k for k in agent if k.asbytes() not in blobs]
        for key in offered:
            yield f"agent key {getattr(key, 'comment', '') or key.get_name()}", key
        seen = {key.asbytes() for key in offered}
        yield from ((label, key) for label, key in files if key.asbytes() not in seen)
        for file in self.locked:
            if _public(file) not in seen and (unlocked := self._unlock(file)):
                yield f"key file {file}", unlocked

    def _agent_keys(self) -> list[PKey]:
        try:
            agent = Agent()
            self.agents.callback(agent.close)
            return list(agent.get_keys())
        except Exception:  # an agent that does not answer is as good as none
            return []

    def _files(self) -> Iterator[tuple[str, PKey]]:
        for file in self.way.identities:
            try:
                yield f"key file {file}", PKey.from_path(file)
            except FileNotFoundError:
                continue
            except TypeError:  # what the cryptography library raises for a key with a passphrase
                self.locked.append(file)
            except Exception as problem:
                self.tried.append(f"{file} (unusable: {problem})")

    def _unlock(self, file: Path) -> PKey | None:
        if known := self.remembered.key(file):
            return known
        for _ in range(TRIES if self.ask else 0):
            assert self.ask is not None
            secret = self.ask(f"Passphrase of {file}: ")
            if secret is None:
                return None
            try:
                key = PKey.from_path(file, secret.encode())  # type: ignore[arg-type]  # bytes, whatever its stubs say
            except Exception:
                continue
            self.remembered.keep_key(file, key)
            return key
        return None

    def _offer(self, label: str, key: PKey) -> bool:
        self.tried.append(label)
        try:
            self.allowed = list(self.transport.auth_publickey(self.way.user, key))
        except BadAuthenticationType as problem:
            self.allowed = list(problem.allowed_types)
            return False
        except AuthenticationException:
            self._still_there()
            return False
        except Exception as problem:
            raise self._broken(problem) from None
        return not self.allowed

    def _answer(self, ask: Ask) -> str | None:
        self.transport.auth_timeout = PATIENCE
        for _ in range(TRIES):
            for method in self._methods():
                try:
                    if self._by(method, ask):
                        return method
                    break
                except BadAuthenticationType as problem:
                    self.allowed = list(problem.allowed_types)
                except AuthenticationException:
                    self._still_there()
                    if ask is _nobody:
                        return None  # what is remembered was not enough, and nobody has anything else to say
                    break
                except _NoAnswer:
                    return None
                except Exception as problem:
                    raise self._broken(problem) from None
        return None

    def _methods(self) -> list[str]:
        """What a person can answer and the host accepts."""
        if not self.allowed:
            try:
                self.allowed = list(self.transport.auth_none(self.way.user))
            except BadAuthenticationType as problem:
                self.allowed = list(problem.allowed_types)
            except Exception as problem:
                raise self._broken(problem) from None
        return [m for m in ("keyboard-interactive", "password") if m in self.allowed]

    def _by(self, method: str, ask: Ask) -> bool:
        self.tried.append(method)
        given: dict[str, str] = {}
        try:
            if method == "password":
                self.allowed = list(self._password(ask, given))
            else:
                self.allowed = list(self._interactive(ask, given))
        except AuthenticationException:
            for question in given:
                self.remembered.drop(self.whom, question)
            raise
        for question, answer in given.items():
            self.remembered.keep(self.whom, question, answer)
        return not self.allowed

    def _password(self, ask: Ask, given: dict[str, str]) -> list[str]:
        question = f"Password of {self._who}: "
        secret = self.remembered.answer(self.whom, question) or ask(question)
        if secret is None:
            raise _NoAnswer
        given[question] = secret
        return self.transport.auth_password(self.way.user, secret, fallback=False)

    def _interactive(self, ask: Ask, given: dict[str, str]) -> list[str]:
        asks_again: list[str] = []

        def handler(_title: str, _instructions: str, fields: list[tuple[str, bool]]) -> list[str]:
            answers = []
            for prompt, echo in fields:
                question, lasting = f"{self._who}: {prompt}", is_lasting(prompt, echo=echo)
                known = self.remembered.answer(self.whom, question) if lasting else None
                answers.append(answer := known or ask(question, echo=echo) or "")
                if not lasting:
                    asks_again.append(question)
                    self.remembered.wants_person(self.whom)
                elif answer:
                    given[question] = answer
            return answers

        done = self.transport.auth_interactive(self.way.user, handler)
        self.asks_again += asks_again
        return done

    @property
    def _who(self) -> str:
        return f"{self.way.user}@{self.way.address}"

    def _proven(self) -> Whom:
        """Who asks; a host that has hung up cannot be asked any more."""
        try:
            shown = self.transport.get_remote_server_key().asbytes()
        except SSHException:
            raise self._broken(EOFError("it ended the connection")) from None
        return Whom(self.way.user, self.way.at, known_hosts.fingerprint(shown))

    def _still_there(self) -> None:
        """A host that has had enough ends the connection instead of saying no once more."""
        if not self.transport.is_active():
            raise self._broken(EOFError("it ended the connection"))

    def _broken(self, problem: Exception) -> Unreached:
        seen = f"the login as {self.way.user} at {self.way.at} broke off ({problem or type(problem).__name__})"
        seen += f" after trying {', '.join(self.tried) or 'nothing'}"
        mend = (
            "If it had enough of too many keys: name one in ssh_config with IdentityFile and IdentitiesOnly yes."
            if len(self.tried) > 1
            else "Try again; if it stays so, ask those who run the host what its sshd logs."
        )
        return Unreached(self.way.name, "login", seen, mend)

    def _refused(self) -> Unreached:
        offered = f"refused {', '.join(self.tried)}" if self.tried else "no key to offer"
        accepts = f"; it accepts {', '.join(self.allowed)}" if self.allowed else ""
        seen = f"no login as {self.way.user} at {self.way.at}: {offered}{accepts}"
        if self.locked and not self.ask:
            mend = f"{self.locked[0]} has a passphrase: run `ssh-add {self.locked[0]}` first."
        else:
            mend = (
                f"Put a key there (`ssh-copy-id {self.way.user}@{self.way.address}`) or name the right one with "
                "IdentityFile in ssh_config; a password or a code is asked for only at a terminal."
            )
        return Unreached(self.way.name, "login", seen, mend)


def _nobody(prompt: str, *, echo: bool = False) -> str | None:  # noqa: ARG001
    return None


class _NoAnswer(Exception):
    """The person gave up."""


def _public(file: Path) -> bytes | None:
    """The public half beside a key file, which tells which of the agent's keys it is."""
    try:
        return bytes(PublicBlob.from_file(f"{file}.pub").key_blob)
    except Exception:
        return None
