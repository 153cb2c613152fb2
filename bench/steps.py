"""Programs that do training or inference steps in turns: ktg-bench and pytorch_step.py (README.md)."""

import argparse
import math
import re
import time

from common import Failure, OthersWatch, progress

# architecture:batch:side:classes
GRID = [
    "abn-resnet-18:16:224:120",
    "abn-resnet-18:32:112:120",
    "abn-resnet-18:16:64:120",
    "abn-resnet-18:32:32:81",
    "abn-resnet-34:16:112:120",
    "resnet-50:8:224:200",
    "abn-resnet-cifar-20:128:32:10",
    "abn-resnet-cifar-20:16:32:10",
    "abn-resnet-cifar-32:64:32:100",
    "abn-resnet-cifar-8:64:16:100",
    "abn-resnet-cifar-8:25:14:10",
    "efficientnet-lite0:32:160:81",
    "convnext-tiny:32:128:81",
    "vit-tiny-16:32:128:81",
]
MEMORY_FORMATS = ["nchw", "channels_last"]
WARM_UP = 2  # steps
SLOW = 3.0  # seconds of a step from which on one is enough to warm up, and fewer rounds to measure
PAUSE = 0.05  # seconds between turns, in which the other programs' worker threads fall asleep


def step(server, work, count):
    """Milliseconds of one of so many steps."""
    time.sleep(PAUSE)
    reply = server.ask(f"{work} {count}")
    # JSON has no NaN: some programs print null instead.
    if reply["loss"] is None or not math.isfinite(reply["loss"]):
        raise Failure(f"{server.name}: the loss is {reply['loss']}, so its times mean nothing")
    return reply["ms"] / count


def warm_up(server, work):
    """Seconds of a step, after those that prepare and compile."""
    for _ in range(WARM_UP):
        seconds = step(server, work, 1) / 1000
        if seconds > SLOW and "compiled" not in server.name:
            break
    return seconds


def check_alike(name, servers):
    """Fails if the programs train networks of different sizes."""
    sizes = {}
    for server in servers:
        counts = server.ready["parameters"]
        # One number, or one for each node; all nodes are alike.
        sizes[server.name] = set(counts if isinstance(counts, list) else [counts])
    if len(set.union(*sizes.values())) > 1:
        raise Failure(f"{name}: the programs train different networks: {sizes} parameters")


def take_turns(servers, work, rounds, turn, after_round=lambda: None):
    """Milliseconds of a step in every turn of every server; who begins changes from round to round. `servers` has the
    seconds of a step of each: it does as many as fit into `turn` seconds, at least one."""
    counts = {server: max(1, min(1000, round(turn / seconds))) for server, seconds in servers.items()}
    watch = OthersWatch(servers)
    times = {server: [] for server in servers}
    for i in range(rounds):
        order = list(servers) if i % 2 == 0 else list(reversed(servers))
        for server in order:
            times[server].append(step(server, work, counts[server]))
        said = ", ".join(f"{server.name} {values[-1]:.2f} ms" for server, values in times.items())
        progress(f"  round {i + 1}/{rounds}: {said}")
        after_round()
    return times, watch.share()


def case(text):
    # The numbers are checked here, the architecture by the programs.
    if not re.fullmatch(r"[a-z0-9-]+(:[1-9]\d*){3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not ARCHITECTURE:BATCH:SIDE:CLASSES, such as {GRID[0]}")
    return text
