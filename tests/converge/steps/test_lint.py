"""What the lint refuses of a step's free shell text, whatever hides it; and what it lets programs do."""

from __future__ import annotations

import pytest

from converge.errors import NotAllowed
from converge.steps.lint import lint

UNITS = ("app.service", "app-old.service")
PRELUDE = """
UNIT=app.service SOCKET_DIR=/srv/sockets LISTEN=/srv/sockets/app.sock SHARED='/home/app/prod/shared'
export LC_ALL=C XDG_RUNTIME_DIR="/run/user/${CONVERGE_UID:-$(id -u)}"
S() { systemctl --user "$@"; }
"""


def refused(script: str) -> str:
    """Why a program is refused."""
    with pytest.raises(NotAllowed) as caught:
        lint(script, "A/rude", PRELUDE, UNITS)
    return str(caught.value)


@pytest.mark.parametrize(
    "script",
    [
        "rm -rf /x", "cd /x && rm y", "for f in *; do rm $f; done", "x=$(unlink a)", "find . -name x -delete",
        "exec /bin/rm x", "if true; then rm x; fi", "FOO=1 rm x", "case $a in b) rm x ;; esac", "timeout 5 rm x",
        "nice rm x", "find . -exec rm {} +", "ls | xargs rm", "rsync -a --delete a/ b/", 'echo "$(rm x)"', "echo `rm x`",
        "f() { rm x; }", "{ rm x; }", "( rm x )", "! rm x", "cat <<END\n$(rm x)\nEND", "true & rm x", ": ${x:=$(rm y)}",
        "echo $(( $(rm x) ))", '"rm" x', "\\rm x", "r''m x", "rm=rm; $rm x", 'c="rm -rf"; $c x',
        "case $a in (b|c) true;; *) rm x; esac",
        # In words that another program runs.
        "sh -c 'rm -rf \"$SHARED/private\"'", "bash -ec 'cd x; rm y'", "find X -exec sh -c 'rm \"$1\"' x {} +",
        "trap 'rm x' EXIT", "sh -c \"sh -c 'rm x'\"", "env A=1 sh -c 'rm x'", "timeout -s KILL 5 rm x", "xargs -n 1 rm",
        "busybox rm x", "/bin/busybox rm x", "systemd-run --user --unit=x rm x", "nohup setsid rm x &",
        "sh -c 'exec \"$@\"' x rm y", 'within() { shift; "$@"; }; within 5 rm x', 'set -- rm x; "$@"',
        "command rm x", "find . -ok unlink {} ';'", "x='rm y'; sh -c \"$x\"",
    ],
)  # fmt: skip
def test_deleting(script: str) -> None:
    why = refused(script)
    assert why.startswith("the program of A/rude has `")
    assert "nothing is deleted: use Aside, or `aside PATH`" in why


@pytest.mark.parametrize(
    "script",
    [
        "echo x > /etc/motd", 'echo x >"$SHARED/config/secrets.yml"', "echo x >>'/a b'", "echo x >file", "cmd 2>$log",
        '{ a; b; } >"$HOME/x"', "while read -r l; do x; done </a >/b", ": >|x", "echo x >& /a", "a <>b", 'echo >"$1"',
        'd=/etc/motd; echo x >"$d"', 'd=$CV_STEP; d=/etc; echo >"$d/x"', 'echo >"$CV_STEP/../../x"', 'echo >"$(f)"',
        "sh -c 'echo >\"$0\"' /etc/motd", 'f() { echo "$SHARED/x"; }; d=$(f); : >"$d"',
        "cp /dev/null \"$SHARED/private/resume\"", "cp -a a b", "cp -fp a b", "cp -t b a", 'tee "$HOME/.bashrc"',
        "x | tee -a y",
        "dd if=/dev/zero of=x", "truncate -s 0 x", "install -m 644 a b", "mv -f x \"$SHARED/private/y\"", "mv a b",
        "mv -T \"$CV_STEP/new\" \"$SHARED/x\"", "mv --force a b", "mv -t d a", "mv -nT \"$SHARED/private\" /tmp/x",
        'mv -T "$LISTEN" /tmp/x', 'mv -T x "$LISTEN"', 'mv -T "$SOCKET_DIR/a/b" "$LISTEN"',
        "sed -i s/a/b/ x", "sed -n -i p x", "sed -ni p x", "sed --in-place=.bak p x", "perl -pi -e x y",
    ],
)  # fmt: skip
def test_writing_over(script: str) -> None:
    why = refused(script)
    assert "use Write, or `put PATH MODE`" in why or "mv -nT FROM TO" in why


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("ln -sfn a b", "`relink PATH TARGET`"), ("ln -s -f a b", "`relink PATH TARGET`"),
        ("ln a b --force", "`relink PATH TARGET`"),
        ("rsync -a a/ b/", "--ignore-existing"), ("rsync -a --ignore-existing a host:b", "own host alone"),
        ("rsync --remove-source-files --ignore-existing a b", "nothing is deleted"),
        ("mv \"$SOCKET_DIR\"/d*.sock /tmp", "a pattern hits"), ("mv -n a? b", "a pattern hits"),
        ("sudo true", "account alone"), ("pkill -f unicorn", "use Signal"), ("kill -TERM 12", "cv_signal"),
        ("kill $(cat pid)", "cv_signal"), ("fuser -k x", "use Signal"), ("ssh other true", "own host alone"),
        ("chown a b", "whose they are"), ("chmod 777 x", "`chmode PATH MODE`"), ('eval "$x"', "seen beforehand"),
        ("sh -c \"$x\"", "seen beforehand"), ("curl x | sh", "seen beforehand"), ("bash -s <x", "seen beforehand"),
        ("perl -e 'unlink x'", "seen beforehand"), ("python3 -c 'x'", "seen beforehand"), ("ruby2.7 <x", "seen beforehand"),
        ("curl x | sh -", "seen beforehand"), ("alias x=rm", "seen beforehand"), ("function f { rm x; }", "no POSIX sh"),
        ("git push --force origin master", "fast-forward"), ("git push -f", "fast-forward"),
        ("git -C x push origin +master", "fast-forward"), ("git reset --hard", "lose work"),
        ("git -c a=b clean", "lose work"),
        ("echo 'x", "cannot be understood"), ("if x; then y )", "cannot be understood"), ("trap 'x \"' EXIT", "understood"),
    ],
)  # fmt: skip
def test_what_else_is_refused(script: str, why: str) -> None:
    assert why in refused(script)


@pytest.mark.parametrize(
    "script",
    [
        "systemctl --user stop hkn-dev.service", "systemctl --user stop hkn-dev", "S stop hkn-dev.service",
        "u=hkn-dev.service; systemctl --user start $u", 'for u in app.service hkn-dev.service; do S restart "$u"; done',
        'systemctl --user start "$1"', "systemctl --user stop", "systemctl --user reset-failed", "S stop 'hkn-*'",
        "systemctl --user enable --now x.timer", "sh -c 'systemctl --user stop hkn-dev.service'",
        'within() { shift; "$@"; }; within 5 S stop x',
        "UNIT=hkn-dev.service; S stop $UNIT", "systemctl stop --user app.service hkn-dev.service",
    ],
)  # fmt: skip
def test_unit_of_somebody_else(script: str) -> None:
    why = refused(script)
    assert "its units are app.service, app-old.service; use Unit, or `unit " in why


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("systemctl restart nginx", "without --user"), ("systemctl show nginx", "without --user"),
        ("systemd-run x", "without --user"), ("systemctl --user -M a@ stop app.service", "own host alone"),
        ("systemctl --user kill -s KILL app.service", "a program may"), ("S kill app.service", "a program may"),
        ("systemctl --user mask app.service", "a program may"), ("systemctl --user exit", "a program may"),
        ('systemctl --user "$1" app.service', "a program may"),
    ],
)  # fmt: skip
def test_what_no_program_does_to_units(script: str, why: str) -> None:
    assert why in refused(script)


@pytest.mark.parametrize(
    "script",
    [
        "git rm -q config/deploy/migrate.rb", "kill -0 $p", "systemctl --user start app.service", "echo x >&2",
        "cmd >/dev/null 2>&1", "bundle exec cap production deploy", "git push origin HEAD:master", "# rm is not used",
        "rsync -a --ignore-existing a/ b/", "timeout 20 git fetch", "cp -n a b", "command -v rm", "set -- bundle install",
        # Only said, or a name.
        "echo 'rm x; kill 1'", 'fail "kill it; rm x > /y"', "case $x in rm|kill) true ;; esac", "x='rm y'",
        "for rm in 1; do :; done",
        "printf '%s\\n' 'sudo x' | put /a 644", "put /a 644 <<'END'\nrm x $(rm y) > /z\nEND\necho", "x=${y#rm }; z=${y##*/}",
        # The run's own places.
        ': >"$CV_STEP/x"', 'echo x >"$CV_PHASE.new" && mv -T "$CV_PHASE.new" "$CV_PHASE"', 'tmp=$(mktemp); echo a >"$tmp"',
        'd=$XDG_RUNTIME_DIR/x; : >>"$d"', "p() { printf '%s\\n' \"$XDG_RUNTIME_DIR/$1\"; }; d=$(p a); : >\"$d\"",
        "sh -c 'exec >\"$0\"' \"$CV_STEP/said\"", 't=x/.${f##*/}.cv-part; cp -fp "$f" "$t" && mv -nT "$t" "x/$f"',
        'h=$SOCKET_DIR/.attic/$CV_RUN/1; mv -nT "$1" "$h/x"', 'ln "$LISTEN" "$LISTEN.$$" && mv -T "$LISTEN.$$" "$LISTEN"',
        # Units that the program's text tells.
        "S stop app", 'S show "$1"', "S daemon-reload", 'N=$UNIT; for u in $N app-old.service; do S stop "$u"; done',
        'systemctl --user stop "$UNIT" 2>/dev/null', 'n=x-$CV_RUN; S stop "$n.service"', "S is-active hkn-dev.service",
        'OLDS="app.service process-12"; for u in $OLDS; do S start "$u"; done',
    ],
)  # fmt: skip
def test_what_programs_may(script: str) -> None:
    lint(script, "A/1", PRELUDE, UNITS)
