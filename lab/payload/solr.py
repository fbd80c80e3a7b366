"""A genuine Solr of the generation that hkn-rails uses, with a small Java runtime that runs on both hosts."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
import zipfile
from pathlib import Path

from lab.errors import LabError
from lab.images import IMAGES
from lab.lab import Lab
from lab.payload.control import call
from lab.payload.render import HERE, tree_key

FILES = HERE / "solr-files"
# Restlet, which Solr 5 needs and which was never published as an artefact of its own, is inside this war.
RESTLET_CARRIER = "org.apache.solr:solr:4.10.4:war"
JAVA_MODULES = (
    "java.base,java.desktop,java.instrument,java.logging,java.management,java.naming,java.security.jgss,java.sql,"
    "java.xml,jdk.crypto.ec,jdk.management,jdk.unsupported,jdk.zipfs"
)


class SolrDoesNotStart(LabError):
    """The Solr that was built does not answer."""


class SolrFilesDiffer(LabError):
    """What was downloaded is not what is pinned in jars.sha256."""


def artefact(lab: Lab) -> Path:
    """The folder with bin/solr, server/ and jre/, built when it is missing (about 40 s)."""

    def build(target: Path) -> None:
        lab.say("fetching Solr and cutting its Java runtime (once, about 1 min)")
        shutil.copytree(FILES / "dist", target, dirs_exist_ok=True)
        fetch_jars(target / "server/lib")
        write_start_jar(target / "server")
        cut_runtime(target / "jre")
        archive_classes(target)

    return lab.artefact("solr", tree_key(FILES, Path(__file__)), build)


def fetch_jars(target: Path) -> None:
    """Download Solr's jars into ``target``; SolrFilesDiffer when one is not the pinned one."""
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        shutil.copy(FILES / "pom.xml", work)
        maven = ["mvn", "-B", "-q"]
        jars = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
        call([*maven, *jars], cwd=work, timeout=600)
        war = ["dependency:copy", f"-Dartifact={RESTLET_CARRIER}", f"-DoutputDirectory={work}"]
        call([*maven, *war], cwd=work, timeout=600)
        with zipfile.ZipFile(next(work.glob("*.war"))) as archive:
            for name in archive.namelist():
                if name.startswith("WEB-INF/lib/org.restlet"):
                    (target / Path(name).name).write_bytes(archive.read(name))
    check_jars(target)


def check_jars(folder: Path) -> None:
    """Compare a folder of jars with the pinned list; SolrFilesDiffer names every file that differs."""
    pinned = {name: digest for digest, name in (line.split() for line in _pins().splitlines())}
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    wrong = sorted(name for name in pinned.keys() | there.keys() if pinned.get(name) != there.get(name))
    if wrong:
        raise SolrFilesDiffer(
            f"{len(wrong)} downloaded file(s) of Solr are not the pinned ones: {', '.join(wrong)}. If pom.xml was "
            f"changed on purpose, renew {FILES / 'jars.sha256'}; otherwise do not use what was downloaded."
        )


def _pins() -> str:
    return (FILES / "jars.sha256").read_text()


def write_start_jar(server: Path) -> None:
    """Make start.jar, which is a class path and the name of Jetty's XML starter."""
    class_path = "Class-Path: " + " ".join(f"lib/{path.name}" for path in sorted((server / "lib").iterdir()))
    # A manifest's line holds at most 72 bytes; the next one continues it after a space.
    lines = [class_path[:70], *(f" {class_path[i : i + 69]}" for i in range(70, len(class_path), 69))]
    manifest = ["Manifest-Version: 1.0", "Main-Class: org.eclipse.jetty.xml.XmlConfiguration", *lines, "", ""]
    with zipfile.ZipFile(server / "start.jar", "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "\r\n".join(manifest))


def cut_runtime(target: Path) -> None:
    """Cut a Java runtime with the modules that Solr needs out of a JDK of the older host's release.

    What is linked there runs on the newer one as well, but not the other way round: a machine that is newer than the
    older host gets that JDK in a throw-away Debian (some 60 s more).
    """
    suite = IMAGES["werewolves"].suite
    cut = ["jlink", "--no-header-files", "--no-man-pages", "--strip-java-debug-attributes", "--compress=2"]
    cut += ["--add-modules", JAVA_MODULES, "--output"]
    if platform.freedesktop_os_release().get("VERSION_CODENAME") == suite:
        call([*cut, str(target)])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            hooks = [f'chroot "$1" {shlex.join([*cut, "/jre"])}', f"copy-out /jre {temporary}"]
            call(throw_away_debian(suite, "default-jdk-headless", hooks), timeout=900)
            shutil.move(Path(temporary) / "jre", target)
    # Java's own classes as they are in memory: a third of a second less for every start.
    call([str(target / "bin/java"), "-XX:+UseSerialGC", "-Xshare:dump"])


def throw_away_debian(suite: str, package: str, hooks: list[str]) -> list[str]:
    """The words that unpack a Debian with ``package``, run ``hooks`` (mmdebstrap's) on it and drop it, leaving no mount."""
    return [
        *("unshare", "--mount", "--propagation", "private", "--pid", "--mount-proc", "--kill-child", "--"),
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--format=null", f"--include={package}"),
        '--aptopt=Acquire::Languages "none"',
        "--aptopt=Acquire::Retries 3",
        *(f"--customize-hook={hook}" for hook in hooks),
        *(suite, "/dev/null"),
    ]


def archive_classes(dist: Path) -> None:
    """Run Solr once, on a free port of this machine, so that Java writes its classes down for later starts."""
    archive = dist / "server/solr.jsa"
    port = str(_free_port())
    with tempfile.TemporaryDirectory() as temporary:
        home = shutil.copytree(HERE / "app/solr", Path(temporary) / "home")
        process = subprocess.Popen(
            [str(dist / "bin/solr"), "start", "-f", "-p", port, "-s", str(home)],
            env={**os.environ, "SOLR_OPTS": f"-XX:ArchiveClassesAtExit={archive}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _await_core(process, f"http://127.0.0.1:{port}/solr/production/select?q=x")
            call([str(dist / "bin/solr"), "stop", "-p", port])
            process.wait(timeout=120)
        finally:
            process.kill()
            process.wait()


def _free_port() -> int:
    # Solr listens on the port for its stop too, 1000 lower.
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port - 1000))
            except OSError:
                continue
            return port


def _await_core(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SolrDoesNotStart(f"The Solr just built did not answer on {url}; is there memory for it (some 200 MB)?")


def install(dist: Path, target: Path, uid: int) -> None:
    """Copy the distribution into a home of the lab, for one user."""
    shutil.copytree(dist, target, symlinks=True)
    for path in (target, *target.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)
