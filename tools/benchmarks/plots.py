"""Plots as SVG, the same octets for the same figures; each gives the line of the page that shows it."""

import pathlib

import matplotlib
import matplotlib.pyplot

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "hallmark", "svg.fonttype": "none", "font.size": 9})


class Plots:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _save(self, name, title, figure):
        figure.savefig(self.folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        matplotlib.pyplot.close(figure)
        return f"![{title}](performance/{name}.svg)\n"

    def bars(self, name, title, unit, values, series):
        """values: {label: [one for each of `series`]}; the greatest on top."""
        labels = sorted(values, key=lambda label: values[label][0])
        figure, axes = matplotlib.pyplot.subplots(figsize=(7, 0.5 * len(labels) + 1))
        height = 0.8 / len(series)
        for index, one in enumerate(series):
            axes.barh([place - index * height for place in range(len(labels))], [values[label][index] for label in labels],
                      height, label=one)
        axes.set_yticks([place - height * (len(series) - 1) / 2 for place in range(len(labels))], labels)
        axes.set_xlabel(unit)
        axes.set_title(title)
        axes.legend()
        return self._save(name, title, figure)

    def line(self, name, title, x_name, y_name, x, y, base=2):
        figure, axes = matplotlib.pyplot.subplots(figsize=(7, 3))
        axes.plot(x, y, marker="o")
        axes.set_xscale("log", base=base)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(x_name)
        axes.set_ylabel(y_name)
        axes.set_title(title)
        axes.grid(alpha=0.3)
        return self._save(name, title, figure)
