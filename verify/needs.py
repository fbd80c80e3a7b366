"""What several statements need alike."""

from __future__ import annotations

DEPLOY = (
    *("REPO-1", "REPO-2", "REPO-3", "REPO-4", "REPO-5", "REPO-6", "REPO-7", "REPO-9"),
    *("FS-1", "FS-2", "RUBY-1", "UNIT-1", "SOLR-4", "DEP-5"),
)
"""What must be proven before anything is deployed, whichever statement asks for it."""
