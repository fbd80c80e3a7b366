"""This tool's own names, as they stand on hosts. A host keeps what earlier runs left: none of these may change."""

from __future__ import annotations

NAME = "hkn-migration"
"""Of the journal's folder, of locks, of transient units, in the system's log, and to web servers."""

KEEPER = "hkn-putback"
"""Of the transient units that put back what a killed step had done."""

INTERPRETER = "ruby"
"""The program that runs the application's own: what it is told on its command line cannot be seen beforehand."""
