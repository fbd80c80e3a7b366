"""The step in which Solr's port changes hands: one program on the host, so that the gap is as long as a start and no longer.

The Solr that listens is ended, the next one is started, and the program waits until that tells of its core. It goes on when
the connection is lost. If the next one does not come, or somebody stops or kills the program, the former one is started
again, by the words with which it ran: they are kept in the step's folder before it ends. A program that is killed is run
again for that (``CV_AFTER``), by the phase that it kept. Taking the step back is the same program the other way round.
"""

from __future__ import annotations

import shlex

from converge.steps import Run
from facts.host.processes import Process

CORE_WAIT = 60.0
"""Seconds within which a Solr that was started must tell of its core: long enough for a busy host."""

FREE_WAIT = 30.0
"""Seconds within which a Solr that was ended must leave its port."""

LIMIT = 300.0
"""Seconds that all of it may take; what is put back then has a time of its own."""

# The user manager puts what it starts into a group of its own, with its own priority: a scope is niced as its step is, and
# nobody can take that back. Solr is left behind as a daemon, the PID file names another process than the last one, and it
# is not to end with its wrapper: so no main process is guessed. What the manager starts it with is not our environment.
_SERVICE = r"""
name=hkn-solr-$CV_RUN-${CV_KEY%%-*}SUFFIX said=$CV_STEP/solrSUFFIX.$$.said
in_service() {
  systemd-run --user --quiet --unit="$name" --service-type=forking --setenv=PATH="$PATH" "$@" \
    /bin/sh -c 'exec >"$0" 2>&1; exec "$@"' "$said" COMMAND
}
begun() { [ -e "$said" ]; }
in_service --collect --description="hkn-migration: Solr, started by run $CV_RUN; it stays" \
  -p GuessMainPID=no -p TimeoutStartSec=100 ||
  { ! begun && in_service; } || { ! begun && systemd-run --user --scope --quiet -- COMMAND 9>&-; }
rc=$?
cat "$said" 2>/dev/null
exit $rc
"""

_WORDS = r"""
up() { cut -d. -f1 /proc/uptime; }
taken() { # also where ss cannot tell
  held=$(ss -ltn "sport = :$SOLR_PORT") || return 0
  [ -n "$(printf '%s\n' "$held" | sed 1d)" ]
}
freed() {
  t=$(($(up) + FREE_WAIT))
  while taken; do [ "$(up)" -le "$t" ] || { why="port $SOLR_PORT is still taken"; return 1; }; sleep 0.25; done
}
tells() { # by a clock: a Solr that listens and never answers makes each question last 5 s
  t=$(($(up) + CORE_WAIT))
  while [ "$(up)" -lt "$t" ]; do
    curl -s -m 5 "http://127.0.0.1:$SOLR_PORT/solr/admin/cores?action=STATUS&core=$SOLR_CORE&indexInfo=false&wt=json" |
      grep -q '"instanceDir"' && return 0
    sleep 0.25
  done
  why="Solr did not tell of its core $SOLR_CORE within CORE_WAIT s"; return 1
}
javas() { # HOME: the account's Solr processes with that home, for that port: another one's may share the home
  for p in $(pgrep -u "$(id -u)" -f '^[^ ]*java .*start[.]jar'); do
    tr '\0' ' ' <"/proc/$p/cmdline" | grep -F -- "-Dsolr.solr.home=$1 " | grep -qF -- "-Djetty.port=$SOLR_PORT " && echo "$p"
  done
}
listener() { ss -ltnp "sport = :$SOLR_PORT" | sed -n 's/.*pid=\([0-9]*\),.*/\1/p' | head -n 1; }
free_pid_file() { ! [ -e "$SOLR_PID" ] || aside "$SOLR_PID"; } # whom it names has ended, and rake would believe it
by_words() { # as it ran before, from what `keep` wrote
  (start_by_words) || { why="the former Solr could not be started"; return 1; }
  tells || return 1
  listener | tr -d '\n' | put "$SOLR_PID" 644 && return
  : >"$CV_STEP/ended"
  echo "$SOLR_PID could not be written: it names no Solr"
}
by_rake() { (start_by_rake) || { why="Solr could not be started from $RELEASE"; return 1; }; tells; }
"""

_RUN = r"""
: "${CV_STATE:=}" "${CV_PHASE:=}" "${CV_AFTER:=}"
phase=before why='a part of it could not be done'
fail() { why=$1; exit 1; }
keep_phase() { # PHASE: that the former one may have been told to end, or was, for whoever comes after us if we are killed
  [ -z "$CV_PHASE" ] || { echo "$1" >"$CV_PHASE.new" && mv -T "$CV_PHASE.new" "$CV_PHASE"; } ||
    fail "what is to be put back could not be kept in $CV_PHASE"
}
settled() { phase=done; [ -z "$CV_PHASE" ] || true >"$CV_PHASE"; } # nothing is to be put back any more
tell() { [ -z "$CV_STATE" ] || printf '%s\n' "$1" >"$CV_STATE"; }
finish() { settled; tell "$1"; cv_end failed "$1" 70; }
quits() { # whether the former one lets go of the port
  t=$(($(up) + FREE_WAIT))
  while [ "$(up)" -le "$t" ]; do
    [ "$(listener)" = "$pid" ] && [ "$(started "$pid")" = "$tick" ] || return 0
    sleep 0.25
  done
  return 1
}
vacated() { # who was ended may still write to what the next one reads
  freed || return 1
  t=$(($(up) + FREE_WAIT))
  while [ -n "$(javas "$LAST_HOME")" ] && [ "$(up)" -le "$t" ]; do sleep 0.25; done
}
end_next() { # it may boot still, and would take the port later; so may a former one that was started again by one of us
  systemctl --user stop "$NEXT_UNIT.service" "$LAST_UNIT.service" 2>/dev/null
  systemctl --user reset-failed "$NEXT_UNIT.service" "$LAST_UNIT.service" 2>/dev/null
  for p in $(listener) $(javas "$NEXT_HOME") $(javas "$LAST_HOME"); do
    (cv_signal "$p" TERM "$(started "$p")" start.jar '' '')
  done
}
back() {
  trap '' TERM INT HUP; trap - EXIT
  case "$phase" in
    done) return 0 ;;
    before) settled; [ -s "$CV_STEP/ended" ] || cv_end failed "$why" 70; return 0 ;;
    # Refused: it was not the process that the plan saw, and nothing has ended.
    ending) [ ! -s "$CV_STEP/ended" ] || { settled; return 0; } ;;
  esac
  first=$why
  [ -n "$FORMER" ] || cv_end failed "$first" 70
  tell "starting the former Solr again: $first"
  end_next
  [ ! -e "$CV_STEP/solr.next" ] || mv -T "$CV_STEP/solr.next" "$CV_STEP/solr.ended" # nothing of it is to be taken back
  if vacated && (free_pid_file) && former; then
    finish "$first; the former Solr was started again, with home $LAST_HOME, and answers"
  fi
  finish "$first; the former Solr does not answer either ($why): when port $SOLR_PORT is free, type on $(uname -n): $FORMER"
}
trap back EXIT
# `timeout` signals the whole group, and a shell in its EXIT trap has forgotten that trap.
trap 'trap "" TERM INT HUP; why="it was stopped by a signal"; back; exit 0' TERM INT HUP
if [ -n "$CV_AFTER" ]; then # run again in the place of one that was killed: only what it would have put back is done
  trap '' TERM INT HUP
  read -r phase <"$CV_PHASE"
  # It may have been killed before it gave the signal that it had written down.
  [ "$phase" = over ] || quits || { phase=before; fail "it was killed; the former Solr, process $pid, goes on"; }
  phase=over
  fail "it was killed"
fi
keep && keep_phase ending || exit 1
phase=ending
quit || exit 1
phase=over
(keep_phase over) || : # then it is seen on the port whether the former one was told to end
freed || exit 1
free_pid_file || exit 1
next || exit 1
p=$(listener)
printf '%s %s\n' "$p" "$(started "$p")" >"$CV_STEP/solr.next" || echo "its number could not be kept: no way leads back"
settled
tell "Solr answers, with home $NEXT_HOME"
echo "Solr answers, with home $NEXT_HOME"
"""

_KEPT = r"""
cd "$(cat "${0%.sh}.cwd")" || exit 1
setsid xargs -0 /bin/sh -c 'case "$1" in */*) ;; *) x=$0; shift; set -- "$x" "$@" ;; esac; exec "$@"' \
  "$(cat "${0%.sh}.exe")" <"${0%.sh}.words" >/dev/null 2>&1 &
"""
"""Of the script that starts a Solr again by the words with which it ran, which lie beside it."""


def rake(release: str, task: str) -> str:
    """Shell that runs a rake task of a release as the application's own start script would: with its Ruby and bundle."""
    words = f'. ~/.rvm/scripts/rvm; cd "$1" && RAILS_ENV=production exec bundle exec rake {shlex.quote(task)}'
    return f"bash -c {shlex.quote(words)} rake {shlex.quote(release)} </dev/null"


def service(command: str, suffix: str = "") -> str:
    """Shell that runs `command`, which leaves Solr behind, as a service of its own; in a scope where there is none."""
    return _SERVICE.replace("COMMAND", command).replace("SUFFIX", suffix)


def start_script(release: str, suffix: str = "") -> str:
    """Shell that starts Solr from a release as a service of its own."""
    return service(rake(release, "sunspot:solr:start"), suffix)


def home_in(release: str) -> str:
    """Where a release has its Solr home."""
    return f"{release}/solr"


def start_program(release: str, pid_file: str) -> Run:
    """Starts Solr from a release where none listens; nothing is put back."""
    nobody = "FORMER= LAST_HOME= LAST_UNIT=$NEXT_UNIT-former\nkeep() { :; }\nquit() { :; }\nnext() { by_rake; }\n"
    return Run(_settings(release, pid_file) + nobody + _program(release))


def move_program(release: str, pid_file: str, former: Process, home: str) -> Run:
    """Ends the Solr `former`, whose home is `home`, and starts one from a release in its place."""
    return Run(
        _settings(release, pid_file, home)
        + f"""LAST_HOME=$FORMER_HOME FORMER="sh '$CV_STEP/former.sh'" folder=$CV_STEP
LAST_UNIT=$NEXT_UNIT-former pid={former.pid} tick={former.started}
keep() {{
  cat /proc/{former.pid}/cmdline >"$CV_STEP/former.words" && [ -s "$CV_STEP/former.words" ] &&
    readlink /proc/{former.pid}/exe | sed 's/ (deleted)$//' >"$CV_STEP/former.exe" &&
    readlink /proc/{former.pid}/cwd >"$CV_STEP/former.cwd" &&
    printf '%s' {shlex.quote(_KEPT)} >"$CV_STEP/former.sh" || fail "how process {former.pid} was started could not be kept"
}}
quit() {{ cv_signal "$pid" TERM "$tick" start.jar '' {shlex.quote(former.cgroup)}; }}
next() {{ by_rake; }}
former() {{ by_words; }}
"""
        + _program(release)
    )


def back_program(release: str, pid_file: str, home: str) -> Run:
    """Takes ``move_program`` back: ends the Solr that it started, and starts the former one, or else the ended one again."""
    again = rake(release, "sunspot:solr:start")
    return Run(
        f"# Solr's port goes back to the one with home {home}\n"
        + _settings(release, pid_file, home)
        + f"""folder=${{CV_STEP%-undo}} FORMER={shlex.quote(again)} LAST_HOME=$NEXT_HOME NEXT_HOME=$FORMER_HOME
LAST_UNIT=$NEXT_UNIT-back NEXT_UNIT=$NEXT_UNIT-former
[ -e "$folder/solr.next" ] || {{ echo "no Solr was left behind by it: there is nothing to take back"; exit 0; }}
[ -s "$folder/solr.next" ] || cv_moved "which Solr it started could not be kept (disk full?): Solr stays as it is"
read -r pid tick <"$folder/solr.next"
keep() {{ [ -d "$FORMER_HOME" ] || cv_moved "$FORMER_HOME is not there any more: Solr stays as it is"; }}
quit() {{ cv_signal "$pid" TERM "$tick" start.jar '' ''; }}
next() {{ by_words; }}
former() {{ by_rake; }}
"""
        + _program(release, "-back")
    )


def _settings(release: str, pid_file: str, home: str = "") -> str:
    values = {"RELEASE": release, "NEXT_HOME": home_in(release), "FORMER_HOME": home, "SOLR_PID": pid_file}
    words = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return f"{words}\nNEXT_UNIT=hkn-solr-$CV_RUN-${{CV_KEY%%-*}}\n"


def _program(release: str, suffix: str = "") -> str:
    """The common part; `suffix` tells the service of a start by rake from an earlier one of the same step."""
    by_words = service('/bin/sh "$folder/former.sh"', "-former")
    starts = f"start_by_rake() {{\n{start_script(release, suffix)}\n}}\nstart_by_words() {{\n{by_words}\n}}\n"
    words = f"{_WORDS}{starts}{_RUN}"
    return words.replace("CORE_WAIT", f"{CORE_WAIT:g}").replace("FREE_WAIT", f"{FREE_WAIT:g}")
