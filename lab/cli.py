"""The lab's command line: what people, scripts and tests do with the lab in words."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from lab import needs
from lab.cache import Cache, default_root
from lab.command_line import COMMAND, typed
from lab.errors import LabError, NeedsMissing, NotRunning, UnknownName
from lab.faults import FAULTS
from lab.lab import DEFAULT_STATE, Lab
from lab.machine import ACCOUNTS, Machine
from lab.record import Record
from lab.states import STATES

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Group(TyperGroup):
    """Turns what the lab reports into one sentence and a status: 1 for an error, 130 when interrupted."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except LabError as error:
            err.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            err.print("Interrupted; nothing of what was begun is left behind.")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Two real Debian hosts on this machine: boot them, put them into a state, break one thing, look around.",
    epilog="All but states and faults need root. Commands end with 1 and one sentence when they cannot do what they were "
    "asked (no lab is running, there is no such name), with 130 when interrupted; run, shell and logs as the command on "
    "the host does.",
)

Name = Annotated[str, typer.Option("--name", help="Which lab; several run side by side.")]
HostName = Annotated[str, typer.Argument(metavar="HOST", help="werewolves or vampires.")]
AsUser = Annotated[bool, typer.Option("--user", "-u", help="As hkn in its login environment, not as root.")]
AsOther = Annotated[str | None, typer.Option("--as", metavar="USER", help="As another user: otherorg or git.")]


class Steps:
    """Says what is being done and how long each step took; with a spinner on a terminal."""

    def __init__(self) -> None:
        self._status = out.status("")
        self._text: str | None = None
        self._since = 0.0

    def __enter__(self) -> Steps:
        if out.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()
        self._status.stop()

    def say(self, text: str) -> None:
        """Begin the step ``text``."""
        self._finish()
        self._text, self._since = text, time.monotonic()
        if out.is_terminal:
            self._status.update(f"{escape(text)} ...")
        else:
            print(f"  {text} ...", flush=True)

    def _finish(self) -> None:
        if self._text is not None and out.is_terminal:
            out.print(f"  {escape(self._text)} [dim]({time.monotonic() - self._since:.1f} s)[/]")
        self._text = None


@app.command()
def up(
    name: Name = "lab",
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            help="The state to boot into, or to put a running lab into; `states` lists them.",
            show_default=f"{DEFAULT_STATE}, or as a running lab is",
        ),
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Install with apt-get what this machine lacks.")] = False,
) -> None:
    """Build what is missing, boot both hosts, wait until ready. On a running lab: nothing, unless --state names another."""
    since = time.monotonic()
    _interruptible()
    with Steps() as steps:
        lab = Lab.open(name, STATES, steps.say)
        if install:
            needs.check_root()
            needs.install(lab.cache, steps.say)
        changed = lab.up(state)
    if changed:
        into = state or DEFAULT_STATE
        out.print(f"The lab is up in the state [bold]{into}[/] after {time.monotonic() - since:.1f} s.")
        next_ = f"Check it with `{COMMAND} check{_target(name)}`; {typed('status', name)} shows the hosts."
        out.print(next_, soft_wrap=True)
    elif lab.record:
        out.print(_left_alone(lab.record, name), soft_wrap=True)


@app.command()
def state(
    wanted: Annotated[str, typer.Argument(metavar="STATE", help="One of those that `states` lists.")],
    name: Name = "lab",
) -> None:
    """Put a running lab into a named state; all changes made on the hosts since are dropped."""
    since = time.monotonic()
    _interruptible()
    with Steps() as steps:
        Lab.open(name, STATES, steps.say).state(wanted)
    out.print(f"The lab is in the state [bold]{wanted}[/] after {time.monotonic() - since:.1f} s.")


@app.command()
def states() -> None:
    """List the states with a sentence each."""
    table = _table("state", "what it is")
    for known in STATES.values():
        table.add_row(known.name, escape(known.sentence))
    out.print(table)


@app.command("break")
def break_(
    fault: Annotated[str, typer.Argument(metavar="FAULT", help="One of those that `faults` lists.")],
    name: Name = "lab",
) -> None:
    """Break exactly one thing of a running lab; `state` drops it again, `status` shows what is broken."""
    lab = Lab.open(name, STATES)
    if fault not in FAULTS:
        raise UnknownName(f"There is no fault {fault!r}; {typed('faults')} lists them.")
    lab.require_running()
    chosen = FAULTS[fault]
    if lab.record and lab.record.state != chosen.state:
        note = f"note: {fault} is meant for the state {chosen.state}, this lab was put into {lab.record.state}."
        err.print(note, soft_wrap=True)
    chosen.apply(lab)
    lab.remember_fault(fault)
    out.print(f"Broken: {escape(chosen.sentence)}")
    out.print(f"Must be seen by: {', '.join(sorted(chosen.statements)) or 'nothing'}")


@app.command()
def faults() -> None:
    """List all faults with a sentence, and the statements that must see each."""
    table = _table("fault", "what it breaks", "seen by")
    for fault in FAULTS.values():
        table.add_row(fault.name, escape(fault.sentence), ", ".join(sorted(fault.statements)))
    out.print(table)


@app.command(context_settings={"ignore_unknown_options": True})
def run(
    host: HostName,
    command: Annotated[
        list[str], typer.Argument(metavar="CMD", help="After a --, if it has options; one word goes to a shell as it is.")
    ],
    name: Name = "lab",
    user: AsUser = False,
    other: AsOther = None,
) -> None:
    """Run a command on a host, as root unless told otherwise: `run vampires --user -- systemctl --user status hkn-rails`."""
    machine = _machine(name, host)
    _become(machine, command[0] if len(command) == 1 else command, _user(user, other))


@app.command()
def shell(host: HostName, name: Name = "lab", user: AsUser = False, other: AsOther = None) -> None:
    """Open a shell on a host, root's unless told otherwise."""
    _become(_machine(name, host), ["/bin/bash", "-l"], _user(user, other), os.environ.get("TERM", "dumb"))


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def logs(host: HostName, ctx: typer.Context, name: Name = "lab") -> None:
    """Show a host's journal; further words go to journalctl (e.g. --follow, --unit nginx)."""
    _become(_machine(name, host), ["journalctl", "--no-pager", *ctx.args], None)


@app.command()
def status(name: Name = "lab") -> None:
    """Show addresses, state, what is broken, and memory; ends with 1 when the lab is not running."""
    lab = Lab.open(name, STATES)
    if not lab.record:
        out.print(f"The lab {name!r} is down.")
        raise typer.Exit(1)
    table = _table("host", "role", "address", "system", "hkn's user manager", "memory")
    for machine in lab.machines.values():
        table.add_row(machine.name, machine.role, machine.address, *_health(lab, machine))
    out.print(table)
    out.print(f"state   {lab.record.state or 'unsettled'}")
    if lab.record.faults:
        out.print(f"broken  {', '.join(lab.record.faults)}")
    out.print(f"files   {lab.directory}\ncache   {lab.cache.root}", soft_wrap=True)
    if not lab.running():
        raise typer.Exit(1)


@app.command("ssh-config")
def ssh_config(name: Name = "lab") -> None:
    """Print an ssh_config for the running lab: with it in a file F, `ssh -F F vampires` logs in as hkn."""
    lab = Lab.open(name, STATES)
    lab.require_running()
    print((lab.directory / "ssh_config").read_text(), end="")


@app.command()
def down(name: Name = "lab") -> None:
    """Power off; nothing of the hosts stays but the cache."""
    with Steps() as steps:
        Lab.open(name, STATES, steps.say).down()
    out.print(f"The lab {name!r} is down.")


@app.command()
def clean(name: Name = "lab") -> None:
    """Power off and drop the cache too: images, states, all that was built."""
    Lab.open(name, STATES).clean()
    out.print(f"The lab {name!r} is down, and {default_root()} is gone.", soft_wrap=True)


@app.command()
def check() -> None:
    """Say what this machine lacks for the lab, without changing anything."""
    needs.check_root()
    try:
        needs.check(Cache(default_root()))
    except NeedsMissing as lacking:
        out.print(escape(str(lacking)), soft_wrap=True)
        raise typer.Exit(1) from None
    out.print("This machine has what the lab needs.")


def _left_alone(record: Record, name: str) -> str:
    broken = f"and broken since by {', '.join(record.faults)}" if record.faults else "and no fault was put into it since"
    return (
        f"The lab is running already, and nothing was done: it was put into the state [bold]{record.state}[/], {broken}. "
        f"{typed(f'state {record.state}', name)} gives a clean one."
    )


def _health(lab: Lab, machine: Machine) -> tuple[str, str, str]:
    try:
        system = machine.run("systemctl is-system-running", check=False, timeout=10).stdout.strip()
        manager = machine.run("systemctl --user is-system-running", user="hkn", check=False, timeout=10)
    except NotRunning:
        return "off", "-", "-"
    return system, manager.stdout.strip() or "not reachable", f"{lab.memory(machine.name) / 1024**2:.0f} MiB"


def _machine(name: str, host: str) -> Machine:
    lab = Lab.open(name, STATES)
    if host not in lab.machines:
        raise UnknownName(f"There is no host {host!r}; the hosts are {' and '.join(lab.machines)}.")
    needs.check_root()
    lab.require_running()
    return lab.machines[host]


def _user(hkn: bool, other: str | None) -> str | None:
    if other is not None and other not in ACCOUNTS:
        raise UnknownName(f"There is no user {other!r} on the hosts; there are {', '.join(ACCOUNTS)} and root.")
    return other or ("hkn" if hkn else None)


def _become(machine: Machine, command: str | list[str], user: str | None, terminal: str = "dumb") -> NoReturn:
    """Replace this process by the command, so that terminal, signals and status are the command's own."""
    argv = machine.argv(command, user=user, terminal=terminal)
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=heading in {"state", "fault", "host"}, overflow="fold")
    return table


def _target(name: str) -> str:
    return "" if name == "lab" else f" --target lab:{name}"


def _interruptible() -> None:
    """Let an end by SIGINT, SIGTERM or SIGHUP clear up once, undisturbed by further ones.

    A script's background job has SIGINT ignored from its start, so that it is set too.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)
