"""The lint of a step's free shell text: what no program of a step may do, found before anything of it is run.

It is for slips: a remedy whose author forgot that `mv` replaces, or that a unit is another application's. It is no fence
against an adversary, and cannot be one: what shell does is known only when it runs. Each command is judged as it stands in
the text, with the values that variables have in the text so far, wherever it stands: in substitutions, functions, and in
the words that `sh -c`, `trap`, `find -exec`, `xargs` and the like run. Not seen is what a script in a file does, what a
variable holds that only the run tells (also where it names the program), in which order functions are called, what awk,
rake or git do by themselves, and a file that a program writes by an option of its own. What must hold whatever a program
does is guarded where it acts: by the typed acts, and by the functions of ``converge/shell/library.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from converge.errors import NotAllowed
from converge.steps.lint_rules import (
    DELETED,
    DEVICE,
    FORBIDDEN,
    LOOKING,
    NO_FILE,
    NO_UNIT,
    NOT_OURS,
    ONE_HOST,
    OUR_NAME,
    OUR_PLACES,
    OUR_VARIABLES,
    PROGRAMS,
    RUN_ANOTHER,
    SHELLS,
    SUBSTITUTION,
    UNSEEN,
    VARIABLE,
    VERBS,
    WRITTEN,
)
from converge.steps.shell_words import Command, Script, Unreadable, Word, read
from hosts.tool import INTERPRETER


def lint(script: str, of: str = "a step", prelude: str = "", units: Collection[str] = ()) -> None:
    """Refuse a program that deletes, signals, escapes, writes over files outright or acts on a unit other than `units`.

    `of` is the step; `prelude` is shell that comes before it, of which the variables and functions are known.

    Raises:
        NotAllowed: names the step, what was seen and what to use instead.
    """
    try:
        before, program = read(prelude), read(script)
    except Unreadable as problem:
        raise NotAllowed(f"the program of {of} cannot be understood, so what it does is not known: {problem}") from None
    linter = _Linter(of, units, {}, {})
    linter.knows(before)
    for command in before.commands:
        linter.takes(command)
    for name in [name for name in linter.values if name.startswith(OUR_VARIABLES)]:
        del linter.values[name]  # paths are told to be ours by these
    linter.judge(program)


class _Linter:
    def __init__(
        self, of: str, units: Collection[str], functions: dict[str, Command | None], values: Mapping[str, str]
    ) -> None:
        self.of, self.units = of, units
        self.functions, self.values = functions, dict(values)

    def knows(self, script: Script) -> None:
        """The functions that a script defines can be called from now on."""
        self.functions |= script.functions

    def takes(self, command: Command) -> None:
        """Variables have from now on the values that a command gives them."""
        given = list(command.assigned)
        match [word.text for word in command.words]:
            case ["export" | "readonly" | "local", *words]:
                given += [(name, value) for name, sign, value in (word.partition("=") for word in words) if sign]
            case ["read", *names]:
                given += [(name, "$(read)") for name in names]
            case ["shift", *_]:
                self.values = {name: value for name, value in self.values.items() if not name.isdigit()}
        for name, value in given:
            self.values[name] = self.resolved(value)

    def resolved(self, text: str) -> str:
        """Text with the values of variables, as far as the program's text tells them."""
        text = VARIABLE.sub(lambda found: self.values.get(found[1], found[0]), text)
        return SUBSTITUTION.sub(lambda found: self._printed(found[1]) or found[0], text)

    def _printed(self, function: str) -> str:
        """What a function prints that does nothing else."""
        body = self.functions.get(function)
        match [word.text for word in body.words] if body else []:
            case ["printf", "%s\\n" | "%s", text] | ["echo", text]:
                return text
        return ""

    def judge(self, script: Script) -> None:
        self.knows(script)
        for command in script.commands:
            self.takes(command)
            for operator, target in command.redirected:
                self._redirection(operator, self.resolved(target))
            words = [Word(self.resolved(word.text), word.globs, word.quoted) for word in command.words]
            if words and not words[0].quoted:
                words = [*map(Word, words[0].text.split()), *words[1:]]
            self.command(words)

    def refuse(self, seen: str, why: str) -> None:
        raise NotAllowed(f"the program of {self.of} has `{seen}`: {why}")

    def _redirection(self, operator: str, target: str) -> None:
        if operator in ("<", "<&") or (operator == ">&" and NO_FILE.fullmatch(target)):
            return
        if not DEVICE.fullmatch(target) and not is_ours(target):
            self.refuse(f"{operator}{target}", f"it writes over what is there; {WRITTEN}")

    def command(self, words: Sequence[Word]) -> None:
        """Judge a command, and what it runs."""
        words = self._meant(words)
        if not words:
            return
        self._one(words)
        program = words[0].text
        if program.rpartition("/")[2] in RUN_ANOTHER or program in self.functions:
            looks = program == "command" and words[1:2] and words[1].text in ("-v", "-V")
            for first in range(1, 1 if looks else len(words)):
                # A function's words are paths of the site as well.
                text = words[first].text
                if program not in self.functions or not text.startswith("/") or PROGRAMS.match(text):
                    self._one(self._meant(words[first:]))

    def _meant(self, words: Sequence[Word]) -> Sequence[Word]:
        """The command for which a function stands that only hands its words on; any other command is what it is."""
        body = self.functions.get(words[0].text) if words else None
        return [*body.words[:-1], *words[1:]] if body and body.words and body.words[-1].text == "$@" else words

    def _one(self, words: Sequence[Word]) -> None:
        program, texts = words[0].text.rpartition("/")[2] if words else "", [word.text for word in words]
        if program in FORBIDDEN and texts[:2] != ["kill", "-0"]:
            self.refuse(" ".join(texts[:4]), FORBIDDEN[program])
        check = _shell if program in SHELLS else CHECKS.get(program.rstrip("0123456789.") or program)
        if check and (why := check(self, words)):
            self.refuse(" ".join(texts[:6]), why)

    def nested(self, text: str, arguments: Sequence[Word] = ()) -> None:
        """Judge a program in a word, which gets the arguments as `$0`, `$1` and so on."""
        given = {str(number): word.text for number, word in enumerate(arguments)}
        try:
            _Linter(self.of, self.units, dict(self.functions), {**self.values, **given}).judge(read(text))
        except Unreadable as problem:
            self.refuse(text.strip().partition("\n")[0], f"it cannot be understood: {problem}")

    def allows(self, unit: str) -> bool:
        """Whether a unit is the target's, or a transient one that bears the run's number."""
        full = unit if "." in unit else f"{unit}.service"
        return full in self.units or "${CV_RUN}" in unit or bool(NO_UNIT.fullmatch(unit))

    def is_socket(self, path: str) -> bool:
        """Whether it is a name in a folder of sockets, which are names and hold no data."""
        folders = {self.values.get("SOCKET_DIR", ""), self.values.get("LISTEN", "").rpartition("/")[0]} - {""}
        return path.rpartition("/")[0] in folders


def is_ours(path: str) -> bool:
    """Whether a path is in the run's own folders, in the runtime directory, or a name of our own beside its place."""
    if ".." in path.split("/"):
        return False
    return path.startswith(OUR_PLACES) or "/.attic/${CV_RUN}/" in path or bool(OUR_NAME.search(path))


def _flags(words: Sequence[Word], *, takes: str = "") -> tuple[set[str], list[Word]]:
    """A command's options, short ones singly and long ones by name, and its operands; `takes`: short ones with a value."""
    flags, operands, rest = set[str](), list[Word](), list(words[1:])
    while rest:
        word = rest.pop(0)
        if word.text == "--":
            return flags, [*operands, *rest]
        if word.text.startswith("--"):
            flags.add(word.text[2:].partition("=")[0])
        elif word.text.startswith("-") and word.text != "-":
            letters = word.text[1:]
            for place, letter in enumerate(letters, 1):
                flags.add(letter)
                if letter in takes:
                    if place == len(letters):
                        rest = rest[1:]
                    break
        else:
            operands.append(word)
    return flags, operands


def _shell(linter: _Linter, words: Sequence[Word]) -> str:
    flags, operands = _flags(words, takes="oO")
    if "c" not in flags:
        return "" if operands and operands[0].text != "-" else UNSEEN
    if not operands or operands[0].text == "$@" or VARIABLE.fullmatch(operands[0].text):
        return UNSEEN
    linter.nested(operands[0].text, operands[1:])
    if "$@" in operands[0].text:
        linter.command(operands[2:])
    return ""


def _trap(linter: _Linter, words: Sequence[Word]) -> str:
    if len(words) > 2:
        linter.nested(words[1].text)
    return ""


def _set(linter: _Linter, words: Sequence[Word]) -> str:
    """Its words may be run as ``"$@"``."""
    texts = [word.text for word in words]
    if "--" in texts:
        linter.command(words[texts.index("--") + 1 :])
    return ""


def _find(linter: _Linter, words: Sequence[Word]) -> str:
    for place, word in enumerate(words, 1):
        if word.text == "-delete":
            return DELETED
        if word.text in ("-exec", "-execdir", "-ok", "-okdir"):
            linter.command(words[place:])
    return ""


def _move(linter: _Linter, words: Sequence[Word]) -> str:
    flags, operands = _flags(words, takes="tS")
    if any(word.globs for word in operands):
        return "which files a pattern hits is not known beforehand: name each, and move what is to go by `aside PATH`"
    if "f" in flags or "force" in flags:
        return f"it replaces what is there; {WRITTEN}"
    if len(operands) < 2 or flags & {"t", "target-directory"}:
        return "say what is moved where: mv -nT FROM TO"
    *sources, target = [word.text for word in operands]
    harmless = all(map(is_ours, sources)), is_ours(target), bool(flags & {"n", "no-clobber"})
    if sum(harmless) >= 2 or all(map(linter.is_socket, [*sources, target])):
        return ""
    return f"it moves or replaces what is not the run's own: use `aside PATH` for what is to go; {WRITTEN}"


def _copy(_: _Linter, words: Sequence[Word]) -> str:
    flags, operands = _flags(words, takes="tSmog")
    last = not flags & {"t", "target-directory"}
    if flags & {"n", "no-clobber"} or (last and (len(operands) < 2 or is_ours(operands[-1].text))):
        return ""
    return f"it writes over what is there (`cp -n` does not); {WRITTEN}"


def _link(_: _Linter, words: Sequence[Word]) -> str:
    flags, _operands = _flags(words, takes="tS")
    return "ln -f is not atomic: use Link, or `relink PATH TARGET` in a program" if flags & {"f", "force"} else ""


def _edit(_: _Linter, words: Sequence[Word]) -> str:
    flags, _operands = _flags(words, takes="efl")
    return f"files are not edited in place; {WRITTEN}" if flags & {"i", "in-place"} else ""


def _interpreter(_: _Linter, words: Sequence[Word]) -> str:
    flags, operands = _flags(words)
    if "i" in flags and "perl" in words[0].text:
        return f"files are not edited in place; {WRITTEN}"
    return UNSEEN if flags & {"e", "E", "c"} or not operands else ""


def _rsync(_: _Linter, words: Sequence[Word]) -> str:
    flags, operands = _flags(words, takes="efM")
    if any(flag.startswith(("del", "remove")) for flag in flags):
        return DELETED
    if any(":" in word.text for word in operands):
        return ONE_HOST
    return "" if "ignore-existing" in flags else "it writes over what is there: use --ignore-existing"


def _git(_: _Linter, words: Sequence[Word]) -> str:
    rest = list(words)
    while len(rest) > 2 and rest[1].text in ("-C", "-c"):
        rest[1:3] = []
    flags, operands = _flags(rest)
    verb = operands[0].text if operands else ""
    if verb in ("clean", "reset"):
        return "git clean and git reset lose work"
    forced = "f" in flags or any(flag.startswith("force") for flag in flags)
    if verb == "push" and (forced or any(word.text.startswith("+") for word in operands)):
        return "git push by force: only fast-forward pushes"
    return ""


def _fuser(_: _Linter, words: Sequence[Word]) -> str:
    flags, _operands = _flags(words)
    return "fuser -k: use Signal" if flags & {"k", "kill"} else ""


def _systemctl(linter: _Linter, words: Sequence[Word]) -> str:
    flags, operands = _flags(words)
    if "user" not in flags:
        return "without --user: only the account's own units are touched"
    if flags & {"H", "M", "host", "machine"}:
        return ONE_HOST
    verb, *named = [word.text for word in operands] or [""]
    if verb in LOOKING or verb in ("daemon-reload", "$@"):
        return ""
    if verb not in VERBS:
        return f"a program may {', '.join(sorted(VERBS))} units, best by `unit VERB NAME`, and look at them; nothing else"
    units = [name for text in named for name in text.split()]
    for name in units or ["(no unit)"]:
        if not linter.allows(name):
            known = ", ".join(linter.units) or "none"
            unknown = "which unit it is cannot be seen: set it in the program" if "$" in name else NOT_OURS
            return f"{name}: {unknown}; its units are {known}; use Unit, or `unit {verb} NAME` in a program"
    return ""


def _systemd_run(_: _Linter, words: Sequence[Word]) -> str:
    return "" if any(word.text == "--user" for word in words) else "without --user: a step acts as the account alone"


CHECKS: Mapping[str, Callable[[_Linter, Sequence[Word]], str]] = {
    "trap": _trap,
    "set": _set,
    "find": _find,
    "mv": _move,
    "cp": _copy,
    "install": _copy,
    "ln": _link,
    "sed": _edit,
    **dict.fromkeys(("perl", "python", "node", INTERPRETER), _interpreter),
    "rsync": _rsync,
    "git": _git,
    "fuser": _fuser,
    "systemctl": _systemctl,
    "systemd-run": _systemd_run,
}
"""Why a command of a program is refused; empty if it is not."""
