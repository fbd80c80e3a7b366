"""The guarded shell in which every step acts: POSIX sh for the oldest host.

A step's script is a prelude, the settings (``settings``), this library, its conditions and its acts. Each act writes into
the step's log what it is about to do and keeps what was there before; so one undo, ``cv_undo``, fits every step: it goes
through the log backwards and refuses where somebody changed something since. A step of which an act fails, or is refused,
puts back by it what its acts before have done. Programs of a step (``Run``) may call
``aside PATH``, ``put PATH MODE <content``, ``relink PATH TARGET``, ``supplant FOLDER TARGET``, ``unit VERB NAME`` and
``chmode PATH MODE``, and are undone as far as they do; also ``cv_signal PID SIGNAL STARTED CMDLINE CWD CGROUP``, the act
``Signal``, which nothing undoes. ``leads_to WHO`` changes nothing: it notes for the report whom the site leads to from now
on.
"""

from __future__ import annotations

from enum import IntEnum


class Rc(IntEnum):
    """How a step's script ends; programs of a step cannot be mistaken for these."""

    DONE = 0
    BUSY = 10
    FAILED = 70
    TIMED_OUT = 71
    MOVED = 75
    WRONG_HOST = 76
    REFUSED = 77
    REPEATED = 78
    VANISHED = 79
    UNLOCKED = 80
    ROLLED_BACK = 81


MARK = "::converge:"
"""What the lines begin with in which a script says why it ended, on stderr."""

NICED = "renice -n 10 -p $$ >/dev/null 2>&1"
"""At the head of what is sent to a host: others work there. It is inherited and nobody can take it back, so what is to stay
must be started by the user manager, which is not niced."""

_CORE = r"""
umask 022
CV_LATE= CV_GIVES_BACK= CV_GIVING=
# What ends it reaches the act itself; its caller waits for what the act still puts back, and begins nothing more.
trap 'CV_LATE=yes' TERM INT HUP
# It may lead to a folder of a boot before this one.
[ ! -L "$CV_STEP/ended" ] || (umask 077; mkdir -p "$(dirname "$(readlink "$CV_STEP/ended")")")
: >"$CV_STEP/ended"
cv_say() { printf '%s%s: %s\n' '::converge:' "$1" "$2" >&2; }
cv_end() { cv_say "$1" "$2"; printf '%s' "$3" >"$CV_STEP/ended"; exit "$3"; }
cv_refuse() { cv_end refused "$1" 77; }
cv_moved() { cv_end moved "$1" 75; }
cv_fail() { cv_say failed "$1"; return 1; }
cv_root_of() {
  CV_ROOT=
  while IFS= read -r cv_r; do
    [ -n "$cv_r" ] || continue
    cv_r=$(readlink -m -- "$cv_r")
    case "$1/" in "$cv_r"/*) CV_ROOT=$cv_r; return 0 ;; esac
  done <<CV_EOF
$CV_ROOTS
CV_EOF
  return 1
}
cv_not_protected() {
  while IFS= read -r cv_r; do
    [ -n "$cv_r" ] || continue
    cv_r=$(readlink -m -- "${cv_r%/*}")/${cv_r##*/}
    case "$cv_r/" in "$CV_P"/*) cv_refuse "$CV_P is protected (it is, or holds, $cv_r): not touched" ;; esac
  done <<CV_EOF
$CV_PROTECTED
CV_EOF
}
cv_place() {
  case "$1" in /*) ;; *) cv_refuse "$1 is not an absolute path" ;; esac
  CV_NAME=${1##*/}
  case "$CV_NAME" in ''|.|..) cv_refuse "$1 does not name one thing in a folder" ;; esac
  CV_DIR=$(readlink -m -- "${1%/*}/")
  CV_P=$CV_DIR/$CV_NAME
  cv_root_of "$CV_DIR" || cv_refuse "$1 leads to $CV_P, which is outside the roots that this target allows"
  cv_not_protected
}
cv_log() {
  CV_SLOT=$CV_STEP/$(($(wc -l <"$CV_STEP/log") + 1))
  mkdir -p -- "$CV_SLOT" && printf '%s %s\n' "$1" "$2" >>"$CV_STEP/log"
}
cv_sum() { sha256sum <"$1" | cut -d' ' -f1; }
cv_moment() { cut -d' ' -f1 /proc/uptime; }
leads_to() { # WHO [MOMENT]: by a clock that cannot be set; where no line can be written any more it is only not known
  [ -z "${CV_LEADS:-}" ] || printf '%s %s\n' "${2:-$(cv_moment)}" "$1" >>"$CV_LEADS" || :
}
cv_here() { [ -e "$1" ] || [ -L "$1" ]; }
cv_store() {
  CV_STORE=$CV_SLOT
  if [ "$(stat -c %d -- "$CV_DIR")" != "$(stat -c %d -- "$CV_SLOT")" ]; then
    CV_STORE=$CV_ROOT/.attic/$CV_RUN/$CV_KEY/${CV_SLOT##*/}
    (umask 077 && mkdir -p -- "$CV_STORE") || return 1
    [ "$(stat -c %d -- "$CV_DIR")" = "$(stat -c %d -- "$CV_STORE")" ] ||
      cv_refuse "$CV_P is on another file system than $CV_STORE: it would be copied, not moved"
  fi
  printf '%s' "$CV_STORE" >"$CV_SLOT/store"
}
cv_mount() {
  [ "$(stat -c %d -- "$CV_P")" = "$(stat -c %d -- "$CV_DIR")" ] || cv_refuse "$CV_P is a mount point: not moved"
}
cv_stow() {
  cv_mount
  cv_store && mv -nT -- "$CV_P" "$CV_STORE/kept" && ! cv_here "$CV_P"
}
"""

_ACTS = r"""
put() {
  cv_place "$1"
  [ ! -L "$CV_P" ] || cv_refuse "$CV_P is a symlink: nothing is written through or over one"
  if [ -e "$CV_P" ] && [ ! -f "$CV_P" ]; then cv_refuse "$CV_P is not a regular file: not written over"; fi
  cv_log put "$CV_P" && mkdir -p -- "$CV_DIR" || return 1
  cv_t=$CV_DIR/.$CV_NAME.cv-$$
  cat >"$cv_t" && chmod -- "$2" "$cv_t" || return 1
  if [ -e "$CV_P" ]; then cp -p -- "$CV_P" "$CV_SLOT/old"; else : >"$CV_SLOT/absent"; fi || return 1
  cv_sum "$cv_t" >"$CV_SLOT/new" && mv -T -- "$cv_t" "$CV_P"
}
relink() {
  cv_place "$1"
  if cv_here "$CV_P" && [ ! -L "$CV_P" ]; then cv_refuse "$CV_P is not a symlink: not replaced by one"; fi
  cv_log relink "$CV_P" && mkdir -p -- "$CV_DIR" || return 1
  if [ -L "$CV_P" ]; then readlink -- "$CV_P" >"$CV_SLOT/old"; else : >"$CV_SLOT/absent"; fi || return 1
  printf '%s\n' "$2" >"$CV_SLOT/new" || return 1
  cv_t=$CV_DIR/.$CV_NAME.cv-$$
  ln -s -- "$2" "$cv_t" && mv -T -- "$cv_t" "$CV_P"
}
cv_swap() ( # COMES GOES: COMES takes the place of CV_P, which becomes GOES; only KILL comes between
  trap '' TERM INT HUP
  mv -nT -- "$CV_P" "$2" && ! cv_here "$CV_P" && mv -nT -- "$1" "$CV_P" && ! cv_here "$1" && return 0
  cv_here "$CV_P" || mv -nT -- "$2" "$CV_P"
  return 1
)
supplant() {
  cv_place "$1"
  if [ -L "$CV_P" ] || [ ! -d "$CV_P" ]; then cv_refuse "$CV_P is not a folder: no link takes its place"; fi
  cv_mount
  cv_log supplant "$CV_P" && cv_store && printf '%s\n' "$2" >"$CV_SLOT/new" || return 1
  ln -s -- "$2" "$CV_STORE/link" && cv_swap "$CV_STORE/link" "$CV_STORE/kept"
}
cv_listens() { # whether a line of ss is about CV_P: other file systems have sockets of the same inode number
  awk -v i="ino:$(stat -c %i -- "$CV_P")" -v d="$(stat -c '0/%d %Hd/%Ld' -- "$CV_P")" -v near="$CV_DIR/" '
    BEGIN { split(d, device, " ") }
    { same = 0; dev = ""
      for (n = 1; n <= NF; n++) { if ($n == i) same = 1; if (sub(/^dev:/, "", $n)) dev = $n }
      # How ss writes a device differs between its versions; then the name decides by which the socket was bound.
      if (same && (dev == "" || dev == device[1] || dev == device[2] || index($5, near) == 1)) found = 1 }
    END { exit !found }'
}
aside() {
  cv_place "$1"
  cv_here "$CV_P" || cv_moved "$CV_P is not there any more"
  if [ -S "$CV_P" ]; then
    cv_ss=$(ss -xle 2>/dev/null) || cv_refuse "$CV_P is a socket, and ss cannot tell whether somebody listens: not moved"
    if printf '%s\n' "$cv_ss" | awk '$2 == "LISTEN" && $5 ~ /^\// && !/ ino:/ { blind = 1 } END { exit !blind }'; then
      cv_refuse "$CV_P is a socket, and ss does not tell which socket a listener is (no ino:): not moved"
    fi
    if printf '%s\n' "$cv_ss" | cv_listens; then
      cv_refuse "$CV_P is a socket that a process listens on: not moved"
    fi
  fi
  cv_log aside "$CV_P" && cv_stow
}
chmode() {
  cv_place "$1"
  [ ! -L "$CV_P" ] || cv_refuse "$CV_P is a symlink: its target's mode is not changed through it"
  cv_here "$CV_P" || cv_moved "$CV_P is not there any more"
  cv_log chmode "$CV_P" && stat -c %a -- "$CV_P" >"$CV_SLOT/old" || return 1
  chmod -- "$2" "$CV_P" && stat -c %a -- "$CV_P" >"$CV_SLOT/new"
}
cv_enabled() { systemctl --user is-enabled "$1" 2>/dev/null; }
cv_active() { systemctl --user show "$1" -p ActiveState | cut -d= -f2-; }
cv_prop() { systemctl --user show "$1" -p "$2" | cut -d= -f2-; }
cv_idle() {
  if systemctl --user list-jobs --no-legend 2>/dev/null | grep -qF " $1 "; then
    cv_moved "somebody else's job for $1 is queued in the user manager"
  fi
}
cv_unit_allowed() {
  printf '%s\n' "$CV_UNITS" | grep -qxF -- "$1" || cv_refuse "unit $1 is not one of this target's: not touched"
}
unit() {
  case "$1" in
    daemon-reload) cv_log reload - && systemctl --user daemon-reload; return ;;
    reset-failed) cv_unit_allowed "$2"; systemctl --user reset-failed "$2" 2>/dev/null; return 0 ;;
  esac
  cv_unit_allowed "$2"
  cv_idle "$2"
  cv_log "$1" "$2" && cv_active "$2" >"$CV_SLOT/active" || return 1
  cv_enabled "$2" >"$CV_SLOT/enabled"
  systemctl --user "$1" "$2" || return 1
  case "$1" in
    enable) [ "$(cv_enabled "$2")" = enabled ] ||
      cv_fail "enable $2 returned 0, but is-enabled says $(cv_enabled "$2")" ;;
    disable) [ "$(cv_enabled "$2")" != enabled ] ||
      cv_fail "disable $2 returned 0, but it is still enabled" ;;
    stop)
      case "$(cv_active "$2")" in inactive|failed) return 0 ;; esac
      cv_fail "stop $2 returned 0, but it is $(cv_active "$2")" ;;
    start|restart)
      case "$(cv_active "$2")" in active|activating) return 0 ;; esac
      cv_i="$(cv_prop "$2" Type) $(cv_prop "$2" ConditionResult) $(cv_prop "$2" Result)"
      [ "$cv_i" != "oneshot yes success" ] || return 0
      cv_fail "$1 $2 returned 0, but it is $(cv_active "$2") (condition met: $(cv_prop "$2" ConditionResult))" ;;
  esac
}
cv_signal() {
  [ "$1" -gt 1 ] || cv_refuse "process $1 is never signalled"
  [ -r "/proc/$1/stat" ] || cv_moved "process $1 has ended, or is not ours to see"
  [ "$(stat -c %u "/proc/$1")" = "$(id -u)" ] ||
    cv_refuse "process $1 belongs to another user: not signalled"
  [ "$(sed 's/^.*) //' "/proc/$1/stat" | cut -d' ' -f20)" = "$3" ] ||
    cv_moved "process $1 is another one than the plan saw (start time)"
  tr '\0' ' ' <"/proc/$1/cmdline" | grep -qF -- "$4" || cv_moved "process $1 does not run '$4'"
  if [ -n "$5" ]; then
    cv_i=$(readlink "/proc/$1/cwd")
    case "$cv_i" in *"$5"*) ;; *) cv_moved "process $1 works in $cv_i, not in $5" ;; esac
  fi
  if [ -n "$6" ]; then grep -qF -- "$6" "/proc/$1/cgroup" || cv_moved "process $1 is not in $6"; fi
  kill -s "$2" "$1"
}
"""

_UNDO = r"""
cv_unput() {
  [ -e "$CV_SLOT/new" ] || return 0
  if [ ! -L "$CV_P" ] && [ -f "$CV_P" ] && [ "$(cv_sum "$CV_P")" = "$(cat "$CV_SLOT/new")" ]; then
    if [ -e "$CV_SLOT/absent" ]; then cv_stow; return; fi
    cv_t=$CV_DIR/.$CV_NAME.cv-$$
    cp -p -- "$CV_SLOT/old" "$cv_t" && mv -T -- "$cv_t" "$CV_P"
    return
  fi
  if [ -e "$CV_SLOT/absent" ]; then cv_here "$CV_P" || return 0
  elif [ -f "$CV_P" ] && [ "$(cv_sum "$CV_P")" = "$(cv_sum "$CV_SLOT/old")" ]; then return 0; fi
  cv_moved "$CV_P was changed since: left as it is"
}
cv_unrelink() {
  [ -e "$CV_SLOT/new" ] || return 0
  cv_now=$(readlink -- "$CV_P")
  if [ "$cv_now" = "$(cat "$CV_SLOT/new")" ]; then
    if [ -e "$CV_SLOT/absent" ]; then cv_stow; return; fi
    cv_t=$CV_DIR/.$CV_NAME.cv-$$
    ln -s -- "$(cat "$CV_SLOT/old")" "$cv_t" && mv -T -- "$cv_t" "$CV_P"
    return
  fi
  if [ -e "$CV_SLOT/absent" ]; then cv_here "$CV_P" || return 0
  elif [ "$cv_now" = "$(cat "$CV_SLOT/old")" ]; then return 0; fi
  cv_moved "$CV_P was changed since: left as it is"
}
cv_unsupplant() {
  [ -e "$CV_SLOT/store" ] || return 0
  cv_from=$(cat "$CV_SLOT/store")
  cv_here "$cv_from/kept" || return 0
  if [ ! -L "$CV_P" ] || [ "$(readlink -- "$CV_P")" != "$(cat "$CV_SLOT/new")" ]; then
    cv_unaside; return
  fi
  cv_swap "$cv_from/kept" "$cv_from/link"
}
cv_unaside() {
  [ -e "$CV_SLOT/store" ] || return 0
  cv_from=$(cat "$CV_SLOT/store")/kept
  cv_here "$cv_from" || return 0
  if cv_here "$CV_P"; then cv_moved "$CV_P is taken by something newer: the old one stays in $cv_from"; fi
  mv -nT -- "$cv_from" "$CV_P"
}
cv_unchmode() {
  [ -e "$CV_SLOT/new" ] || return 0
  [ "$(stat -c %a -- "$CV_P")" = "$(cat "$CV_SLOT/new")" ] || cv_moved "$CV_P has another mode since: left as it is"
  chmod -- "$(cat "$CV_SLOT/old")" "$CV_P"
}
cv_ununit() {
  cv_unit_allowed "$2"
  case "$1:$(cat "$CV_SLOT/active" 2>/dev/null):$(cat "$CV_SLOT/enabled" 2>/dev/null)" in
    # `disable` takes links away that others made, too: only of what had none.
    enable:*:disabled|enable:*:) systemctl --user disable "$2" ;;
    disable:*:enabled) systemctl --user enable "$2" ;;
    start:inactive:*|start:failed:*) systemctl --user stop "$2" ;;
    # What a step stops is to be down: only who takes the step back has it started again.
    stop:active:*) [ -n "$CV_GIVING" ] || { cv_reload; systemctl --user start "$2"; } ;;
    # Only when the files that it starts with are those of before again.
    restart:active:*) CV_AGAIN="$CV_AGAIN $2" ;;
  esac
}
cv_again() {
  for cv_what in $CV_AGAIN; do
    case "$(cv_active "$cv_what")" in active|activating) continue ;; esac
    systemctl --user reset-failed "$cv_what" 2>/dev/null
    systemctl --user start "$cv_what" || return 1
  done
}
cv_startable() {
  # A service that cannot come back is no reason to stop the one that serves: found out before anything is taken back.
  cv_n=0
  while read -r cv_kind cv_what; do
    cv_n=$((cv_n + 1))
    [ "$cv_kind:$(cat "$CV_STEP/$cv_n/active" 2>/dev/null)" = stop:active ] && [ ! -e "$CV_STEP/$cv_n/undone" ] || continue
    ! grep -qE "^(put|aside|relink) .*/systemd/user/(.*/)?$cv_what\$" "$CV_STEP/log" || continue
    [ "$(cv_prop "$cv_what" LoadState)" != not-found ] ||
      cv_moved "$cv_what has no unit file any more, and could not be started again: nothing of the step is taken back"
  done <"$CV_STEP/log"
}
cv_reload() { if [ -n "$CV_RELOAD" ]; then systemctl --user daemon-reload; fi; }
cv_undo() {
  CV_RELOAD= CV_AGAIN=
  cv_startable
  cv_n=$(wc -l <"$CV_STEP/log")
  while [ "$cv_n" -gt 0 ]; do
    cv_line=$(sed -n "${cv_n}p" "$CV_STEP/log")
    CV_SLOT=$CV_STEP/$cv_n
    cv_kind=${cv_line%% *} cv_what=${cv_line#* }
    cv_n=$((cv_n - 1))
    [ ! -e "$CV_SLOT/undone" ] || continue
    case "$cv_kind" in
      reload) CV_RELOAD=yes ;;
      put|relink|supplant|aside|chmode)
        cv_place "$cv_what"
        "cv_un$cv_kind" || return 1
        case "$CV_P" in */systemd/user/*) CV_RELOAD=yes ;; esac ;;
      *) cv_ununit "$cv_kind" "$cv_what" || return 1 ;;
    esac
    : >"$CV_SLOT/undone"
  done
  cv_reload && cv_again
}
cv_give_back() {
  [ -n "$CV_GIVES_BACK" ] && [ -s "$CV_STEP/log" ] || return 0
  # Told to end once more it puts back all the same; at its limit it has time for that.
  if ( trap '' TERM INT HUP; CV_GIVING=yes; cv_undo ) </dev/null; then
    cv_say given-back "what it had written, moved or linked before was put back"
  else
    ! grep -q '/systemd/user/' "$CV_STEP/log" || systemctl --user daemon-reload
    cv_say given-back "what it had written, moved or linked before could not all be put back"
  fi
}
cv_judge() { # WHAT: goes on where that ended well; else the step ends, and what it did before is put back
  cv_rc=$?
  cv_code=$(cat "$CV_STEP/ended" 2>/dev/null)
  if [ -z "$cv_code" ] && [ -n "$CV_LATE" ]; then
    cv_code=70; cv_say late "it was told to end at $1"
  elif [ -z "$cv_code" ] && [ "$cv_rc" != 0 ]; then
    cv_code=70; cv_say failed "$1 ended with status $cv_rc"
  fi
  [ -z "$cv_code" ] || { cv_give_back; exit "$cv_code"; }
}
"""

LIBRARY = _CORE + _ACTS + _UNDO
"""Functions of a step's script, and of one that takes a step back."""
