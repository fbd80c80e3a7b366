"""Draws the results. Run by the plot's own environment: ``plot.py RESULTS.json PICTURE.svg``."""

import json
import statistics
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

OURS, FLOOR, PEER = "#1b6ca8", "#9aa5ad", "#d9a441"


def colour(name: str) -> str:
    """By whose row it is."""
    if name.startswith("ours"):
        return OURS
    return FLOOR if name.startswith("floor") else PEER


def draw(axis, table) -> None:
    """One table as bars, with the spread of its rounds."""
    rows = list(reversed(table["rows"]))
    walls = [[sample["wall"] for sample in row["samples"]] for row in rows]
    middle = [statistics.median(wall) for wall in walls]
    both = list(zip(middle, walls, strict=True))
    spread = [[m - min(w) for m, w in both], [max(w) - m for m, w in both]]
    names = [row["name"] for row in rows]
    axis.barh(names, middle, xerr=spread, color=[colour(name) for name in names], ecolor="#444", capsize=2)
    for place, value in enumerate(middle):
        axis.text(value, place + 0.32, f" {value:.2f} s", va="center", fontsize=7)
    axis.set_title(table["title"], loc="left", fontsize=10)
    axis.set_xlabel("seconds, median and range", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.margins(x=0.12)


def main(results: str, picture: str) -> None:
    """Read, draw, write."""
    with open(results, encoding="utf-8") as file:
        tables = [table for table in json.load(file)["tables"] if table["section"] != "convergence"]
    if not tables:
        return
    heights = [0.6 + 0.32 * len(table["rows"]) for table in tables]
    figure, axes = pyplot.subplots(
        len(tables), 1, figsize=(9, sum(heights) + 0.6 * len(tables)), height_ratios=heights, squeeze=False
    )
    for axis, table in zip(axes[:, 0], tables, strict=True):
        draw(axis, table)
    figure.tight_layout()
    figure.savefig(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
