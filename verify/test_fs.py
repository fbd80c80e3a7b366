"""The stages' trees: one shared folder, complete, with nothing hidden beside it."""

from __future__ import annotations

from converge.checking.statement import Severity, require, statement
from facts.fs import StrandedData, StrayLink, Trees, linked
from hosts.schema import Inventory
from verify.needs import DEPLOY

SHOWN = 8


def listed(items: list[str]) -> str:
    """Items for a message, not more than a person reads."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return "; ".join(items[:SHOWN]) + more


@statement("FS-1", severity=Severity.BLOCKER, seed=["C1", "P4"], needs=["HOST-3"], remedy="fs.complete_shared")
def test_shared_folder_is_real_and_complete(trees: Trees, inv: Inventory, at: str) -> None:
    """The target stage's shared folder is a real folder with every linked folder and file in it, none of them empty."""
    shared = trees.get(inv.shared)
    require(
        shared is not None and shared.is_dir,
        expected=f"{inv.shared} is a real folder",
        seen=trees.describe(inv.shared),
        where=at,
    )
    wrong = []
    for name in inv.stages.linked_dirs:
        found = trees.get(f"{inv.shared}/{name}")
        if found is None or not found.is_dir:
            wrong.append(trees.describe(f"{inv.shared}/{name}"))
    for name in inv.stages.linked_files:
        found = trees.get(f"{inv.shared}/{name}")
        if found is None or found.kind != "regular file" or not found.size:
            wrong.append(trees.describe(f"{inv.shared}/{name}"))
    require(
        not wrong,
        expected="every linked folder, and every linked file with something in it",
        seen=listed(wrong),
        where=f"{inv.shared} on {at}",
        do="a missing linked file (its contents are secret) comes from the officers' password store, typed in by a person"
        if any(f"{inv.shared}/{name} " in text for name in inv.stages.linked_files for text in wrong)
        else "",
    )


@statement("FS-2", severity=Severity.BLOCKER, seed=["C1", "P4"], needs=["FS-1"], remedy="fs.join_shared")
def test_legacy_shared_is_a_link(trees: Trees, inv: Inventory, at: str) -> None:
    """While a legacy stage exists, its shared folder is a link to the target stage's."""
    for stage in inv.legacy_stages:
        if not trees.get(stage):
            continue
        found = trees.get(f"{stage}/shared")
        if found is None and trees.get(f"{stage}/current") is None:
            continue  # what is left of a stage that is being retired
        require(
            found is not None and found.is_link and found.resolved == _real(trees, inv.shared),
            expected=f"{stage}/shared is a link to {inv.shared}",
            seen=trees.describe(f"{stage}/shared"),
            where=at,
        )


@statement("FS-3", severity=Severity.BLOCKER, seed=["C1"], needs=["DEP-1", "FS-4", *DEPLOY], remedy="deploy.deploy")
def test_current_release_links_to_shared(trees: Trees, inv: Inventory, at: str) -> None:
    """Every linked path of the current release is a link straight into the target stage's shared folder."""
    wrong = []
    for name in linked(inv):
        found = trees.get(f"{inv.current}/{name}")
        if found is None or not found.is_link or found.target.rstrip("/") != f"{inv.shared}/{name}":
            wrong.append(trees.describe(f"{inv.current}/{name}"))
    require(
        not wrong,
        expected=f"each linked path leads to {inv.shared}",
        seen=listed(wrong),
        where=f"{inv.current} on {at}",
    )


@statement("FS-4", severity=Severity.BLOCKER, seed=["C1", "P4"], needs=["FS-1"], remedy="fs.rescue")
def test_no_data_is_stranded(stranded: StrandedData, inv: Inventory, at: str) -> None:
    """No file lies in a release where a link should be, unless the shared folder has the same one."""
    seen = [f"{file.path} ({'not in' if file.state == 'missing' else 'other than in'} shared)" for file in stranded.files]
    differing = [f"{file.path} and {file.shared_path}" for file in stranded.differing]
    require(
        stranded.count == 0,
        expected=f"every file in a release's own folders is in {inv.shared} too",
        seen=f"{stranded.count} files: {listed(seen)}",
        where=at,
        do=f"two versions exist, a person must say which one counts: {listed(differing)}" if differing else "",
    )


@statement("FS-5", severity=Severity.MAJOR, seed=["C1", "CT"], needs=["FS-1", "FS-3"], remedy="fs.straighten")
def test_nothing_leads_through_the_legacy_stage(stray_links: tuple[StrayLink, ...], inv: Inventory, at: str) -> None:
    """No symlink in the shared folder, the current release or among the units leads through a legacy stage."""
    require(
        not stray_links,
        expected=f"links that lead into {inv.stage} directly",
        seen=listed([f"{link.path} -> {link.target}" for link in stray_links]),
        where=f"{inv.shared}, {inv.current} and {inv.units_dir} on {at}",
    )


@statement("FS-7", severity=Severity.MINOR, seed=["C1"], needs=["FS-1"], remedy="fs.close_secrets")
def test_secrets_are_closed(trees: Trees, inv: Inventory, at: str) -> None:
    """The linked files, which hold secrets, can be read by the account alone."""
    paths = [f"{inv.shared}/{name}" for name in inv.stages.linked_files]
    wide = [found for path in paths if (found := trees.get(path)) and found.mode & 0o066]
    require(
        not wide,
        expected="no permission to read or write for group and others",
        seen=", ".join(f"{found.path} has mode {found.mode:o}" for found in wide),
        where=at,
    )


@statement(
    "FS-8",
    severity=Severity.MINOR,
    seed=["CT"],
    needs=["UNIT-4", "UNIT-5", "FS-2", "FS-4", "FS-5", "SOLR-2"],
    remedy="fs.retire_legacy",
    late=True,
    soak=True,
)
def test_legacy_stage_is_retired(trees: Trees, inv: Inventory, at: str) -> None:
    """The legacy stage's tree is gone from the stages' folder (moved aside counts)."""
    left = [stage for stage in inv.legacy_stages if trees.get(stage)]
    require(
        not left,
        expected="no tree of a legacy stage",
        seen=listed([trees.describe(stage) for stage in left]),
        where=f"{inv.stages.root} on {at}",
    )


def _real(trees: Trees, path: str) -> str:
    found = trees.get(path)
    return found.resolved if found and found.is_link else path
