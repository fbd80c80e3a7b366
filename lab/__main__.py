"""``python -m lab``."""

from lab.cli import app
from lab.command_line import COMMAND

if __name__ == "__main__":
    app(prog_name=f"{COMMAND} lab")
