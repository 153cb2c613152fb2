"""Compares samplers on a recorded search space of two networks: how soon is a good graph found?

    python optuna_search.py recorded-m2.csv [--part whole|halving|all] [--seeds 20] [--rows whole.csv] [--more other.csv ...]

Part "whole" trains every graph to the end. It prints the best accuracy so far after some numbers of trials, and how
many trials it took until a graph of the best 1 % and 5 % of the table (a graph proposed again counts again, and a
graph that is not in the table counts as 0). --more adds rows that other programs measured, in the format of --rows.

Part "halving" adds successive halving: every epoch's accuracy is reported, and after every epoch, the last included,
the pruner is asked. It prints how many trials and epochs it took until one of them was complete and good.
"""

import argparse
import csv
import sys
import time
from collections import defaultdict
from statistics import mean, stdev

import optuna
from optuna.pruners import SuccessiveHalvingPruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState

from recorded_table import SPACE, Table, canonical

MARKS = (25, 50, 100, 200, 400)  # trials after which the best accuracy so far is noted
WHOLE_CAP = 800  # trials
HALVING_CAP = 2000  # trials
FRACTIONS = (0.01, 0.05)  # of the table's rows; the smaller first
COLUMNS = ("sampler", "seed", *map(str, MARKS), "top 1 %", "top 5 %", "distinct", "micros")

SAMPLERS = {
    "Optuna random": lambda seed: RandomSampler(seed=seed),
    "Optuna TPE default": lambda seed: TPESampler(seed=seed),
    "Optuna TPE multivariate=True": lambda seed: TPESampler(seed=seed, multivariate=True),
    "Optuna TPE multivariate=False": lambda seed: TPESampler(seed=seed, multivariate=False),
}
HALVED = ("Optuna random", "Optuna TPE default", "Optuna TPE multivariate=False")


def choose(trial):
    return [trial.suggest_categorical(name, choices) for name, choices in SPACE.items()]


def unordered(choices):
    """Equal for graphs that are equal up to swapping the networks."""
    label_1, label_2, edge_21, edge_12 = map(str, canonical(*choices))
    return min((label_1, label_2, edge_21, edge_12), (label_2, label_1, edge_12, edge_21))


# ---- every graph trained to the end ----


def whole(name, seed, table):
    """One study; a row of COLUMNS."""
    study = optuna.create_study(direction="maximize", sampler=SAMPLERS[name](seed))
    least = [table.threshold(fraction) for fraction in FRACTIONS]
    best, marks, first, graphs = float("-inf"), [], [""] * len(FRACTIONS), set()
    started = time.perf_counter()
    number = 0
    while number < WHOLE_CAP and (number < MARKS[-1] or "" in first):
        number += 1
        trial = study.ask()
        choices = choose(trial)
        value = table.curve(choices)[-1]
        study.tell(trial, value)
        best = max(best, value)
        first = [at or (number if value >= bar else "") for at, bar in zip(first, least)]
        if number in MARKS:
            marks.append(best)
        if number <= MARKS[-1]:
            graphs.add(unordered(choices))
    micros = round(1e6 * (time.perf_counter() - started) / number)
    return dict(zip(COLUMNS, (name, seed, *marks, *first, len(graphs), micros)))


def print_whole(rows):
    by_sampler = defaultdict(list)
    for row in rows:
        by_sampler[row["sampler"]].append(row)
    header = [f"best at {mark}" for mark in MARKS] + ["trials to top 1 %", "trials to top 5 %", "distinct of 400", "ms/trial"]
    print("\n| sampler | " + " | ".join(header) + " |\n|---" + "|---" * len(header) + "|")
    for name, rows in by_sampler.items():
        cells = [spread([float(row[str(mark)]) for row in rows], 2) for mark in MARKS]
        cells += [capped([row[f"top {n} %"] for row in rows], WHOLE_CAP) for n in (1, 5)]
        cells += [f"{mean(int(row['distinct']) for row in rows):.0f}"]
        cells += [f"{mean(int(row['micros']) for row in rows) / 1000:.2f}"]
        print(f"| {name} | " + " | ".join(cells) + " |")


# ---- successive halving ----


def halving(name, seed, table):
    """One study; for each fraction the trials and epochs until a complete trial of it, or None."""
    pruner = SuccessiveHalvingPruner(min_resource=1, reduction_factor=2, min_early_stopping_rate=0)
    study = optuna.create_study(direction="maximize", sampler=SAMPLERS[name](seed), pruner=pruner)
    least = [table.threshold(fraction) for fraction in FRACTIONS]
    found = [None] * len(FRACTIONS)
    epochs = complete = 0
    for number in range(1, HALVING_CAP + 1):
        trial = study.ask()
        curve = table.curve(choose(trial))
        for epoch, value in enumerate(curve, start=1):
            epochs += 1
            trial.report(value, epoch)
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, curve[-1])
            complete += 1
            found = [at or ((number, epochs) if curve[-1] >= bar else None) for at, bar in zip(found, least)]
            if None not in found:
                break
    return {"sampler": name, "seed": seed, "found": found, "trials": number, "epochs": epochs, "complete": complete}


def print_halving(runs):
    print("\n| sampler | until | trials | epochs | not found | epochs per trial | complete |\n|---|---|---|---|---|---|---|")
    by_sampler = defaultdict(list)
    for run in runs:
        by_sampler[run["sampler"]].append(run)
    for name, runs in by_sampler.items():
        for at, fraction in enumerate(FRACTIONS):
            reached = [run["found"][at] or (run["trials"], run["epochs"]) for run in runs]
            missed = sum(run["found"][at] is None for run in runs)
            trials, epochs = ([pair[i] for pair in reached] for i in (0, 1))
            rest = ""
            if at == 0:
                rest = f"{mean(run['epochs'] / run['trials'] for run in runs):.2f}"
                rest += f" | {mean(run['complete'] / run['trials'] for run in runs):.1%}"
            print(f"| {name} | top {fraction:.0%} | {spread(trials, 0)} | {spread(epochs, 0)} | {missed} | {rest or ' | '} |")


# ---- both ----


def spread(numbers, digits):
    deviation = stdev(numbers) if len(numbers) > 1 else 0
    return f"{mean(numbers):.{digits}f} ± {deviation:.{digits}f}"


def capped(firsts, cap):
    """What was not found counts as the cap, and how often that was is told."""
    missed = sum(first == "" for first in firsts)
    return spread([int(first or cap) for first in firsts], 0) + (f" ({missed} not found)" if missed else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--part", choices=("whole", "halving", "all"), default="all")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", help="file for the rows of part whole")
    parser.add_argument("--more", nargs="*", default=[], help="rows of other programs")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = Table(args.table)
    table.describe()
    if args.part != "halving":
        rows = [whole(name, seed, table) for name in SAMPLERS for seed in range(args.seeds)]
        if args.rows:
            with open(args.rows, "w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
        for path in args.more:
            with open(path, newline="") as file:
                rows += csv.DictReader(file)
        print_whole(rows)
        sys.stdout.flush()
    if args.part != "whole":
        print_halving([halving(name, seed, table) for name in HALVED for seed in range(args.seeds)])


if __name__ == "__main__":
    main()
