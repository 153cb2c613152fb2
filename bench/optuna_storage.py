"""Times Optuna's own RDBStorage at storage level, in a new study, and prints one line of JSON.

    python optuna_storage.py STORAGE_URL [--trials 200] [--params 15] [--reports 20] [--preload N]

A trial is created, gets its parameters, reports, and finishes; every operation is a transaction of its own, as it is
for users of optuna.create_study(storage=STORAGE_URL). --preload N first fills the study with N finished trials of the
same size. "trial_ms" is the mean of a whole trial, the other times are medians of one operation.
"""

import argparse
import json
import os
import random
import time
from datetime import datetime, timedelta, timezone
from statistics import mean, median

import optuna
import sqlalchemy
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.storages import get_storage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState

CHUNK = 500  # trials that are preloaded at once, which limits memory


def space(params):
    """Parameters of 4 and 6 choices, in turn."""
    choices = [[f"choice-{i}" for i in range(n)] for n in (4, 6)]
    return {f"param_{i:02}": CategoricalDistribution(choices[i % 2]) for i in range(params)}


# ---- preloading ----


def preload(storage, study_id, count, distributions, reports, rng):
    """Writes Optuna's tables directly: through its storage, thousands of trials would take minutes."""
    engine = storage._backend.engine
    for start in range(0, count, CHUNK):
        numbers = range(start, min(start + CHUNK, count))
        with engine.begin() as connection:
            trial_ids = preload_trials(connection, study_id, numbers)
            preload_rows(connection, trial_ids, distributions, reports, rng)
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")  # what the server does by itself within a minute


def preload_trials(connection, study_id, numbers):
    """Ids are left to the database, so that its sequences stay right."""
    trials = models.TrialModel.__table__
    end = datetime.now(timezone.utc).replace(tzinfo=None)
    row = {
        "study_id": study_id, "state": TrialState.COMPLETE.name,
        "datetime_start": end - timedelta(seconds=1), "datetime_complete": end,
    }
    connection.execute(trials.insert(), [{**row, "number": number} for number in numbers])
    added = sqlalchemy.select(trials.c.trial_id).where(
        trials.c.study_id == study_id, trials.c.number >= numbers.start, trials.c.number < numbers.stop
    )
    trial_ids = connection.execute(added).scalars().all()
    assert len(trial_ids) == len(numbers)
    return trial_ids


def preload_rows(connection, trial_ids, distributions, reports, rng):
    described = [(name, len(d.choices), distribution_to_json(d)) for name, d in distributions.items()]
    params = [
        {"trial_id": t, "param_name": name, "param_value": rng.randrange(n), "distribution_json": text}
        for t in trial_ids for name, n, text in described
    ]
    curves = [
        {"trial_id": t, "step": step, "intermediate_value": rng.random(), "intermediate_value_type": "FINITE"}
        for t in trial_ids for step in range(1, reports + 1)
    ]
    values = [{"trial_id": t, "objective": 0, "value": rng.random(), "value_type": "FINITE"} for t in trial_ids]
    for model, rows in [
        (models.TrialParamModel, params), (models.TrialIntermediateValueModel, curves),
        (models.TrialValueModel, values),
    ]:
        if rows:
            connection.execute(model.__table__.insert(), rows)


# ---- timing ----


class Clock:
    """Collects the milliseconds of every operation by its kind."""

    def __init__(self):
        self.times = {"create": [], "suggest": [], "report": [], "finish": []}

    def time(self, kind, operation, *args):
        start = time.perf_counter()
        result = operation(*args)
        self.times[kind].append((time.perf_counter() - start) * 1000)
        return result


def run_trial(clock, storage, study_id, distributions, reports, rng):
    trial_id = clock.time("create", storage.create_new_trial, study_id)
    for name, distribution in distributions.items():
        choice = float(rng.randrange(len(distribution.choices)))
        clock.time("suggest", storage.set_trial_param, trial_id, name, choice, distribution)
    for step in range(1, reports + 1):
        clock.time("report", storage.set_trial_intermediate_value, trial_id, step, rng.random())
    clock.time("finish", storage.set_trial_state_values, trial_id, TrialState.COMPLETE, [rng.random()])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("storage", metavar="STORAGE_URL")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--params", type=int, default=15)
    parser.add_argument("--reports", type=int, default=20)
    parser.add_argument("--preload", type=int, default=0, metavar="N")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    rng = random.Random(0)
    distributions = space(args.params)
    storage = get_storage(args.storage)  # what optuna.create_study does: _CachedStorage around RDBStorage
    name = f"storage-benchmark-{time.time_ns()}-{os.getpid()}"
    study_id = storage.create_new_study([StudyDirection.MAXIMIZE], name)
    preload(storage, study_id, args.preload, distributions, args.reports, rng)

    clock, whole = Clock(), []
    for _ in range(args.trials):
        start = time.perf_counter()
        run_trial(clock, storage, study_id, distributions, args.reports, rng)
        whole.append((time.perf_counter() - start) * 1000)
    result = {f"{kind}_ms": round(median(times), 4) if times else None for kind, times in clock.times.items()}
    result |= {"trial_ms": round(mean(whole), 4), "trials": args.trials, "params": args.params}
    result |= {"reports": args.reports, "preload": args.preload, "study": name, "optuna": optuna.__version__}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
