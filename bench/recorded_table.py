"""The recorded objective: every graph of two networks and its ensemble's accuracy after each of 8 epochs.

The table has one row per class of graphs that are equal up to swapping the two networks. Cut edges are left out of the
graph's text, a label edge gated by "correct" is written "through", and graphs in which a network learns from nothing
are not in the table at all.
"""

import csv
import itertools
import math

EPOCHS = 8
GATES = ["through", "cutoff", "linear", "correct"]
DESIGNS = [f"{what} {way}" for what in ("probability", "attention", "both") for way in ("closer", "apart")]

# The parameters of a study, in the order of `Table.curve`'s choices.
SPACE = {
    "label -> 1 gate": ["through"],
    "label -> 2 gate": ["through", "linear", "cutoff"],
    "2 -> 1 design": DESIGNS,
    "2 -> 1 gate": GATES,
    "1 -> 2 design": DESIGNS,
    "1 -> 2 gate": GATES,
}


def canonical(label_1, label_2, design_21, gate_21, design_12, gate_12):
    """A key that is equal for all choices that lead to the same graph (swaps aside)."""

    def label(gate):
        return {"cutoff": None, "correct": "through"}.get(gate, gate)

    def transfer(design, gate):
        return None if gate == "cutoff" else (design, gate)

    return label(label_1), label(label_2), transfer(design_21, gate_21), transfer(design_12, gate_12)


class Table:
    def __init__(self, path):
        self.curves = {}  # canonical key, in both orders of the networks -> accuracies after epochs 1 to 8
        self.final = []  # accuracies after the last epoch, one per row
        self.missing = 0  # rows in which an accuracy is missing or NaN
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                self._add(row)
        self.final.sort(reverse=True)

    def _add(self, row):
        edges = {"label -> 1": None, "label -> 2": None, "2 -> 1": None, "1 -> 2": None}
        for text in row["graph"].split("; "):
            source, _, target, *what = text.split(" ")
            edges[f"{source} -> {target}"] = (None if what[0] == "cutoff" else what[0]) if source == "label" else (" ".join(what[:-1]), what[-1])
        curve = [float(row[f"epoch {epoch}"] or "nan") for epoch in range(1, EPOCHS + 1)]
        if any(map(math.isnan, curve)):
            self.missing += 1
            curve = [0.0 if math.isnan(value) else value for value in curve]
        key = tuple(edges.values())
        self.curves[key] = curve
        self.curves[key[1], key[0], key[3], key[2]] = curve
        self.final.append(curve[-1])

    def curve(self, choices):
        """Accuracies after epochs 1 to 8; zeros for a graph that is not in the table."""
        return self.curves.get(canonical(*choices), [0.0] * EPOCHS)

    def threshold(self, fraction):
        """The least accuracy that is in the best `fraction` of the rows."""
        return self.final[math.ceil(fraction * len(self.final)) - 1]

    def describe(self):
        combinations = list(itertools.product(*SPACE.values()))
        finals = [self.curve(choices)[-1] for choices in combinations]
        found = sum(canonical(*choices) in self.curves for choices in combinations)
        print(f"{len(self.final)} rows, {self.missing} of them with missing values, final accuracy: best {self.final[0]}, "
              f"median {self.final[len(self.final) // 2]}, worst {self.final[-1]}; {found} of {len(combinations)} "
              "combinations of choices are in the table")
        for fraction in (0.01, 0.05):
            least = self.threshold(fraction)
            rows, hits = sum(value >= least for value in self.final), sum(value >= least for value in finals)
            print(f"top {fraction:.0%}: at least {least}, {rows} rows, {hits} combinations "
                  f"({hits / len(finals):.2%}; random search needs {len(finals) / hits:.0f} trials on average)")


if __name__ == "__main__":
    Table("recorded-m2.csv").describe()
