"""The account's systemd units: what its manager says of them, and which processes they run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from converge.errors import TooYoung, Unobservable
from converge.readings import Context, Raw, reading
from facts.host.processes import ABOUT, Process, processes
from facts.parsing import every, number, observed, pairs, sections, time_span
from facts.units.files import SharedDropIn

STABLE = 15.0
"""Seconds that a main process must have run before it may be called running: a crash loop looks active in between."""

LOOP = 3
"""So many restarts by the manager itself are a crash loop, not a start."""

GATE = "90-migration-gate.conf"
"""Name of the runtime drop-in that keeps the app's unit from starting until the cutover takes it away."""

GATE_SHUT = "ConditionPathExists=!/"
"""What makes it one: no file can open it, so none that lies about does; it is opened by moving the drop-in away."""

GRACEFUL = "90-migration-graceful.conf"
"""Name of the runtime drop-in that lets a unit stop without dropping requests."""

SIGQUIT = 3

_PROPERTIES = (
    "Names ControlGroup LoadState ActiveState SubState MainPID Result FragmentPath DropInPaths NeedDaemonReload"
    " ConditionResult KillSignal KillMode TimeoutStopUSec ExecStop NRestarts"
)


@dataclass(frozen=True, slots=True)
class UnitState:
    """A unit as the manager of one host knows it; `enablement` is what ``is-enabled`` prints, or ``not-found``.

    `restarts` is how often the manager restarted it by itself since somebody started it (0 where it does not count).
    """

    name: str
    host: str
    load: str
    active: str
    sub: str
    main_pid: int
    enablement: str
    fragment: str
    drop_ins: tuple[str, ...]
    needs_reload: bool
    kill_signal: int
    kill_mode: str
    stop_timeout: float
    exec_stop: str
    result: str
    processes: int
    restarts: int

    @property
    def runs(self) -> bool:
        """Whether the manager calls it active; says nothing about whose process that is."""
        return self.active in {"active", "activating", "reloading", "deactivating"}

    @property
    def starts_again(self) -> bool:
        """Whether the manager keeps it running: it is active, or will be again; not one that is about to end."""
        return self.runs and self.active != "deactivating"

    @property
    def exists(self) -> bool:
        """Whether the manager finds a unit file of this name."""
        return self.load != "not-found"


@dataclass(frozen=True, slots=True)
class OurUnits:
    """The target's units on one host, and where that host keeps runtime drop-ins."""

    host: str
    runtime_dir: str
    app: UnitState
    legacy: tuple[UnitState, ...]
    logrotate: UnitState
    timer: UnitState
    shared_drop_ins: tuple[SharedDropIn, ...] = ()
    shuts: bool = False
    """Whether the gate's file, as it lies there, has the condition that is never met."""

    @property
    def gate(self) -> str:
        """Where the gate before the app's unit is, or would be."""
        return self.drop_in(self.app.name, GATE)

    @property
    def gate_is_closed(self) -> bool:
        """Whether the app's unit cannot be started: the manager has the gate, and it is one that nothing opens."""
        return self.shuts and self.gate in self.app.drop_ins

    @property
    def surprising_drop_ins(self) -> tuple[str, ...]:
        """Drop-ins of the app's unit alone; a closed gate counts only where it could stop a unit that runs."""
        shared = {drop_in.path for drop_in in self.shared_drop_ins}
        own = (path for path in self.app.drop_ins if path not in shared)
        return tuple(path for path in own if path != self.gate or self.app.active == "active")

    @property
    def harmful_drop_ins(self) -> tuple[SharedDropIn, ...]:
        """Drop-ins of other units too, by which the app's runs otherwise than its file says."""
        return tuple(drop_in for drop_in in self.shared_drop_ins if drop_in.changes)

    @property
    def all(self) -> tuple[UnitState, ...]:
        """Every unit of the target."""
        return (self.app, *self.legacy, self.logrotate, self.timer)

    def drop_in(self, unit: str, name: str) -> str:
        """Path of a drop-in that is this host's alone and gone after a reboot."""
        return f"{self.runtime_dir}/systemd/user/{unit}.d/{name}"


SHOWN = r"""
shown() { printf '%s\n' "$all" | awk -v RS= -v n="$1" 'NR == n'; }
"""
"""Shell: `shown N` prints what is said of the Nth unit in `$all`, the output of one ``show`` of several."""

# One call for all: each is a process and a round trip to the manager. ``is-enabled`` says nothing of some of several units.
_OUR_UNITS = f"""{SHOWN}
echo "runtime=$XDG_RUNTIME_DIR"
! grep -qxF '{GATE_SHUT}' "$XDG_RUNTIME_DIR/systemd/user/$UNIT.d/{GATE}" 2>/dev/null || echo gate=shut
set -- "$UNIT" $LEGACY_UNITS "$LOGROTATE_UNIT" "$LOGROTATE_TIMER"
all=$(S show "$@" {" ".join(f"-p {name}" for name in _PROPERTIES.split())}) || exit 1
n=0
for u in "$@"; do
  n=$((n + 1))
  echo "[$u]"
  shown "$n"
  echo "Enablement=$(S is-enabled "$u" 2>/dev/null | head -n 1)"
  g=$(shown "$n" | sed -n 's/^ControlGroup=//p')
  [ -z "$g" ] || echo "Processes=$(cat "/sys/fs/cgroup$g/cgroup.procs" "/sys/fs/cgroup/systemd$g/cgroup.procs" 2>/dev/null | sort -u | wc -l)"
done
for d in $(shown 1 | sed -n 's/^DropInPaths=//p'); do
  case "$d" in "$UNITS/$UNIT.d/"*|"$XDG_RUNTIME_DIR/systemd/user/$UNIT.d/"*) continue ;; esac
  echo "[$d]"; sed 's/^/|/' "$d" || exit 1
done
"""  # noqa: E501


def make_sure(name: str, said: Mapping[str, str], at: str) -> None:
    """Make sure that the manager answered for a unit, and that its answer was not taken for another one's.

    Raises:
        Unobservable: it was not so.
    """
    if "ActiveState" not in said:
        raise Unobservable(f"{at}: the account's systemd manager said nothing about {name}")
    if (names := said.get("Names")) and name not in names.split():
        raise Unobservable(f"{at}: what the account's systemd manager said about {name} is about {names}")


def parse_unit(name: str, lines: list[str], at: str) -> UnitState:
    """One unit from the lines of ``systemctl show`` and ``is-enabled``.

    Raises:
        Unobservable: the manager did not answer for it.
    """
    said = pairs(lines)
    make_sure(name, said, at)
    return UnitState(
        name=name,
        host=at,
        load=said.get("LoadState", ""),
        active=said["ActiveState"],
        sub=said.get("SubState", ""),
        main_pid=number(said.get("MainPID") or "0", f"the main process of {name}", at),
        enablement=said.get("Enablement") or "not-found",
        fragment=said.get("FragmentPath", ""),
        drop_ins=tuple(said.get("DropInPaths", "").split()),
        needs_reload=said.get("NeedDaemonReload") == "yes",
        kill_signal=number(said.get("KillSignal") or "0", f"the stop signal of {name}", at),
        kill_mode=said.get("KillMode", ""),
        stop_timeout=time_span(said.get("TimeoutStopUSec", "")),
        exec_stop=said.get("ExecStop", ""),
        result=said.get("Result", ""),
        processes=number(said.get("Processes") or "0", f"the number of processes of {name}", at),
        restarts=number(said.get("NRestarts") or "0", f"the restarts of {name}", at),
    )


@reading(_OUR_UNITS, on="here")
def our_units(raw: Raw, c: Context) -> OurUnits:
    """The app's unit, the legacy ones, the log rotation and its timer, as this host's manager knows them."""
    lines = observed(raw, c.at).lines
    found = sections(lines)
    said = pairs(lines[:2])
    app = c.inv.app

    def unit(name: str) -> UnitState:
        return parse_unit(name, found.get(name, []), c.at)

    return OurUnits(
        c.at,
        said.get("runtime", ""),
        unit(app.unit),
        tuple(unit(name) for name in app.legacy_units),
        unit(app.logrotate_unit),
        unit(app.logrotate_timer),
        tuple(
            SharedDropIn(path, "\n".join(line[1:] for line in text))
            for path, text in found.items()
            if path.startswith("/")
        ),
        said.get("gate") == "shut",
    )


@dataclass(frozen=True, slots=True)
class Masters:
    """The application servers' master processes of the account on one host, however they were started."""

    host: str
    current: str
    all: tuple[Process, ...]

    def of(self, unit: UnitState) -> Process | None:
        """The unit's main process."""
        return next((p for p in self.all if p.pid == unit.main_pid and p.pid > 1), None)

    def settled(self, unit: UnitState) -> Process | None:
        """The unit's main process, once it is old enough to be judged by what it does.

        Raises:
            TooYoung: it still boots, or may be about to die; not raised for a unit that dies again and again.
        """
        main = self.of(unit)
        if main and main.age < STABLE and unit.restarts < LOOP:
            raise TooYoung(f"{self.host}: the main process of {unit.name}", STABLE - main.age)
        return main


@reading(
    ABOUT
    + r"""
need pgrep
echo "current=$(readlink -f "$CURRENT")"
for p in $(pgrep -u "$(id -u)" -f '^unicorn[^ ]* master'; prop "$UNIT" MainPID); do echo "$p"; done | sort -un |
  while read -r p; do [ "$p" -gt 1 ] && about "$p"; done
true
""",
    on="here",
)
def masters(raw: Raw, c: Context) -> Masters:
    """Unicorn's masters on this host, with their cgroup, working directory and age; and the current release."""
    lines = observed(raw, c.at).lines
    return Masters(c.at, pairs(lines[:1]).get("current", ""), processes(lines, c.at))


@dataclass(frozen=True, slots=True)
class Rotation:
    """Log rotation as its configuration says, and what a dry run of it complains about."""

    config: str
    text: str
    complaints: tuple[str, ...]
    considered: tuple[str, ...]


@reading(
    lambda c: (
        f"""
conf={shlex.quote(c.inv.app.logrotate_config)}
[ -r "$conf" ] || {{ echo absent; exit 0; }}
[ -x /usr/sbin/logrotate ] || {{ echo "logrotate is not installed" >&2; exit 69; }}
sed 's/^/|/' "$conf"
/usr/sbin/logrotate -d -s /dev/null "$conf" 2>&1 </dev/null | sed -n -e 's/^error: /error=/p' -e 's/^considering log /log=/p'
"""
    )
)
def rotation(raw: Raw, c: Context) -> Rotation:
    """The rotation's configuration with a dry run that keeps no state."""
    lines = observed(raw, c.at).lines
    config = c.inv.app.logrotate_config
    if lines[:1] == ["absent"]:
        return Rotation(config, "", (f"{config} does not exist",), ())
    text = "\n".join(line[1:] for line in lines if line.startswith("|")) + "\n"
    return Rotation(config, text, tuple(every(lines, "error")), tuple(every(lines, "log")))
