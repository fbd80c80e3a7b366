"""script/bootstrap where nothing has been prepared: bare Debian roots with git and Python, and machines that lack those."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
RELEASES = ("bookworm", "trixie")
OFFICER = 1000
HOME = "/home/officer"
CHECKOUT = f"{HOME}/hkn-migration"
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def carried_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What pip needs to know of the way out of this machine: its own settings, certificates, proxies."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PIP_") or name in CERTIFICATES or name.lower() in {"http_proxy", "https_proxy", "no_proxy"}
    }


def carry_files(root: Path, environment: Mapping[str, str]) -> None:
    """Put the files that the environment names, and those of name resolution and pip, at the same paths in `root`."""
    named = [value for value in environment.values() if value.startswith("/")]
    for path in [*named, "/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf"]:
        there = root / path.lstrip("/")
        if not Path(path).exists():
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        # What is in the way is removed, not written to: a link in the root would lead to a file of this machine.
        content = "/." if Path(path).is_dir() else ""
        subprocess.run(["cp", "-RLT", "--remove-destination", f"{path}{content}", there], capture_output=True, check=False)


def carry_checkout(root: Path) -> None:
    """The checkout as git would hand it out, with what is changed here, owned by a person who is not root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TOP, check=True, capture_output=True
    )
    there = root / CHECKOUT.lstrip("/")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (TOP / name).is_file():
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, there / name)
    subprocess.run(["chown", "-R", f"{OFFICER}:{OFFICER}", root / HOME.lstrip("/")], check=True)


def make_root(release: str, folder: Path) -> Path:
    """A Debian of that release with git and Python (venv included), the checkout, and nothing else."""
    root = folder / release
    made = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=apt", "--include=git,python3,python3-venv", release, root],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    carry_files(root, carried_environment(os.environ))
    carry_checkout(root)
    return root


def command(root: Path, *words: str) -> list[str]:
    """A command line that runs `words` in `root` as a person who is not root, from a directory that is not the checkout."""
    carried = [f"{name}={value}" for name, value in carried_environment(os.environ).items()]
    environment = [f"HOME={HOME}", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", *carried]
    return ["chroot", f"--userspec={OFFICER}:{OFFICER}", str(root), "env", "-i", *environment, *words]


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(root, *words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    lacking = "root" if os.geteuid() else "" if shutil.which("mmdebstrap") else "mmdebstrap"
    if lacking and os.environ.get("CI"):
        pytest.fail(f"bare Debian roots need {lacking}, and in CI they must be made")
    if lacking:
        pytest.skip(f"bare Debian roots need {lacking}")
    folder = tmp_path_factory.mktemp("roots")
    with ThreadPoolExecutor() as pool:
        return dict(zip(RELEASES, pool.map(lambda release: make_root(release, folder), RELEASES), strict=True))


@pytest.mark.parametrize("release", RELEASES)
def test_a_bare_debian_gets_the_environment_and_a_second_run_costs_nothing(roots: dict[str, Path], release: str) -> None:
    root = roots[release]
    first = run(root, f"{CHECKOUT}/script/bootstrap")
    assert first.returncode == 0, first.stderr
    assert ".venv is ready" in first.stdout
    python = f"{CHECKOUT}/.venv/bin/python"
    assert run(root, python, "-c", "import msgspec, paramiko, pytest, pytest_html, requests, typer").returncode == 0
    assert run(root, python, "-m", "pip", "check").returncode == 0

    began = time.monotonic()
    again = run(root, f"{CHECKOUT}/script/bootstrap")
    assert (again.returncode, again.stdout) == (0, "")
    assert time.monotonic() - began < 0.3


@pytest.mark.parametrize("release", RELEASES)
def test_what_was_installed_is_enough_to_look_at_production(roots: dict[str, Path], release: str) -> None:
    root = roots[release]
    assert run(root, f"{CHECKOUT}/script/bootstrap").returncode == 0
    listed = run(
        root, "sh", "-c", f"cd {CHECKOUT} && .venv/bin/python -m pytest verify/ --target production --collect-only -q"
    )
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert "UNIT-3" in listed.stdout or "test_app_unit" in listed.stdout


def test_a_run_that_was_killed_half_way_is_mended_by_the_next_one(roots: dict[str, Path]) -> None:
    root = roots["bookworm"]
    assert run(root, "rm", "-rf", f"{CHECKOUT}/.venv").returncode == 0
    with subprocess.Popen(
        command(root, f"{CHECKOUT}/script/bootstrap"), stdout=subprocess.DEVNULL, start_new_session=True
    ) as killed:
        site = root / CHECKOUT.lstrip("/") / ".venv/lib"
        deadline = time.monotonic() + 60
        while not list(site.glob("python3*/site-packages/pip")) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(killed.pid, signal.SIGKILL)
    mended = run(root, f"{CHECKOUT}/script/bootstrap")
    assert mended.returncode == 0, mended.stderr
    assert "making .venv" in mended.stdout
    assert run(root, f"{CHECKOUT}/.venv/bin/python", "-m", "pytest", "--version").returncode == 0


def machine_with(folder: Path, pythons: Mapping[str, str]) -> Path:
    """A PATH on which only the tools that bootstrap names exist, with stand-ins for Python."""
    for tool in ("sh", "dirname", "cat", "cmp", "grep", "rm", "flock"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    for name, body in pythons.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def bootstrap_on(path: Path, checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    shutil.copytree(TOP / "script", checkout / "script")
    for name in ("requirements.txt", "requirements-dev.txt"):
        shutil.copyfile(TOP / name, checkout / name)
    return subprocess.run(
        ["/bin/sh", checkout / "script/bootstrap", *arguments],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("pythons", "said"),
    [
        ({}, "Python 3.11, 3.12 or 3.13 is needed, and this machine has no python3 at all"),
        ({"python3": 'case $1 in --version) echo "Python 3.9.2";; *) exit 1;; esac'}, "this machine has Python 3.9.2"),
        ({"python3": "case $2 in *ensurepip*) exit 1;; *) exit 0;; esac"}, "apt-get install python3-venv"),
    ],
)
def test_what_the_machine_lacks_is_one_sentence(tmp_path: Path, pythons: dict[str, str], said: str) -> None:
    (tmp_path / "bin").mkdir()
    done = bootstrap_on(machine_with(tmp_path / "bin", pythons), tmp_path / "checkout")
    assert done.returncode == 4
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "checkout/.venv").exists()


def test_an_unknown_argument_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    done = bootstrap_on(machine_with(tmp_path / "bin", {}), tmp_path / "checkout", "--develop")
    assert done.returncode == 4
    assert "unknown argument '--develop'" in done.stderr


def pins(name: str) -> set[str]:
    lines = (TOP / name).read_text(encoding="utf-8").splitlines()
    return {line.removesuffix("\\").strip() for line in lines if "==" in line}


def test_every_pin_has_hashes_and_names_no_index() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (TOP / name).read_text(encoding="utf-8")
        assert "://" not in text
        assert "--find-links" not in text
        for block in text.split("==")[1:]:
            assert "--hash=sha256:" in block


def test_the_development_pins_hold_all_others() -> None:
    assert pins("requirements.txt") <= pins("requirements-dev.txt")
