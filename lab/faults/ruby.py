"""Faults of Ruby and of the gems."""

from __future__ import annotations

from lab.faults.model import Fault, fault
from lab.lab import Lab
from lab.payload.control import login
from lab.payload.places import ATTIC, HOME, SHARED, USER


def _version(lab: Lab) -> str:
    return str(lab.facts["ruby"]["version"])


def _ruby_not_executable(lab: Lab) -> None:
    lab.app.run(f"chmod a-x {HOME}/.rvm/rubies/ruby-{_version(lab)}/bin/ruby", user=USER)


def _ruby_replaced(lab: Lab) -> None:
    ruby = f"{HOME}/.rvm/rubies/ruby-{_version(lab)}/bin/ruby"
    lab.app.run(f"cp -p {ruby} {ruby}.new && mv {ruby}.new {ruby}", user=USER)


def _old_extension(lab: Lab) -> None:
    lab.app.run(
        f"""
        set -e
        old=$(find {ATTIC}/bundle/ruby/3.1* -name unicorn_http.so | head -n 1)
        new=$(find {SHARED}/bundle-{_version(lab)} -name unicorn_http.so | head -n 1)
        cp "$old" "$new.old" && mv "$new.old" "$new"
        """,
        user=USER,
    )


def _gem_missing(lab: Lab) -> None:
    bundle = f"{SHARED}/bundle-{_version(lab)}"
    lab.app.run(f"rm {bundle}/ruby/*/specifications/rack-test-*.gemspec", user=USER)


def _old_bundle_left(lab: Lab) -> None:
    lab.app.run(f"cp -a {ATTIC}/bundle {SHARED}/bundle", user=USER)


def _moved_gems_used(lab: Lab) -> None:
    gems = f"{ATTIC}/bundle/ruby/3.1*/gems"
    login(lab, lab.app.name, f"cd {gems} || exit 1; setsid sleep infinity </dev/null >/dev/null 2>&1 &")


FAULTS: tuple[Fault, ...] = (
    fault("ruby-not-executable", "the Ruby of the site cannot be executed", "RUBY-1 RUBY-4", _ruby_not_executable),
    fault("ruby-replaced", "Ruby was installed anew under the running application", "RUBY-2", _ruby_replaced),
    fault("gem-of-old-host", "one gem's compiled part was built on the old host", "RUBY-3", _old_extension),
    fault("gem-missing", "a gem of the bundle is gone", "RUBY-4", _gem_missing),
    fault("old-bundle-left", "the old host's gems lie beside the current ones", "RUBY-5", _old_bundle_left),
    fault("moved-gems-used", "a process works in the old host's gems, which were moved aside", "RUBY-5", _moved_gems_used),
)
