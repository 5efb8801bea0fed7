"""Samples of one figure, and how a table shows them."""

import statistics


def median(samples):
    return statistics.median(samples)


def number(value):
    """Three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def shown(samples):
    """The median, and the spread as a percentage of it: half of what lies between the least and the greatest."""
    middle = median(samples)
    if len(samples) < 2 or middle == 0:
        return number(middle)
    return f"{number(middle)} ±{(max(samples) - min(samples)) / 2 / middle * 100:.0f} %"


SHARES = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}


def latency(loads, quantile):
    """In ms, of what dkimload says of each sample. "-" where a sample has so few messages that this is the slowest by another name."""
    if any(load["latency_us"]["count"] * (1 - SHARES[quantile]) < 1 for load in loads):
        return "-"
    return shown([load["latency_us"][quantile] / 1000 for load in loads])


def table(columns, rows):
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
