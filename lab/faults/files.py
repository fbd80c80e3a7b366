"""Faults of the trees: the shared folder, the links into it, and what is left of the migrate tree."""

from __future__ import annotations

from lab.faults.model import Fault, as_user, fault
from lab.payload.places import MIGRATE, PROD, SHARED

_LEGACY_RELEASE = f"{MIGRATE}/releases/20181126204600"

FAULTS: tuple[Fault, ...] = (
    fault(
        "linked-dir-missing",
        "the shared folder has no tmp/sockets",
        "FS-1",
        as_user(f"rmdir {SHARED}/tmp/sockets"),
    ),
    fault("linked-file-empty", "the shared database.yml is empty", "FS-1", as_user(f": > {SHARED}/config/database.yml")),
    fault(
        "shared-apart",
        "the migrate tree is back, with a shared folder of its own",
        "FS-2 FS-8",
        as_user(f"mkdir -p {MIGRATE}/shared/private"),
    ),
    fault(
        "linked-path-real",
        "the current release has a folder of its own where a link to the shared one belongs",
        "FS-3",
        as_user(f"rm {PROD}/current/public/pictures; mkdir {PROD}/current/public/pictures"),
    ),
    fault(
        "data-stranded",
        "a file lies in an old migrate release and nowhere else",
        "FS-4 FS-8",
        as_user(
            f"mkdir -p {_LEGACY_RELEASE}/public/files; ln -s {SHARED} {MIGRATE}/shared\n"
            f"echo 'seen by nobody' > {_LEGACY_RELEASE}/public/files/lost.txt"
        ),
    ),
    fault(
        "link-through-migrate",
        "a link in the shared folder leads through the migrate tree",
        "FS-5",
        as_user(f"ln -sfn {MIGRATE}/shared/public/images/officers {SHARED}/public/pictures/officers"),
    ),
    fault("secrets-open", "everybody may read secrets.yml", "FS-7", as_user(f"chmod 644 {SHARED}/config/secrets.yml")),
    fault(
        "migrate-tree-left",
        "an old migrate tree stands beside production",
        "FS-8",
        as_user(f"mkdir -p {MIGRATE}/releases; ln -s {SHARED} {MIGRATE}/shared"),
    ),
    fault(
        "half-deploy",
        "revisions.log does not know the current release, as after a deploy that broke off",
        "DEP-1",
        as_user(f"sed -i '$d' {PROD}/revisions.log"),
    ),
    fault(
        "assets-missing",
        "the current release has lost what was made of its assets",
        "DEP-1",
        as_user(f"rm {PROD}/current/public/assets/app.css"),
    ),
    fault(
        "logs-rotated-away",
        "the log was removed under the running application",
        "LOG-1",
        as_user(f"rm {SHARED}/log/production.log; touch {SHARED}/log/production.log"),
    ),
)
