"""What `bench/gpu` makes sure of before it measures: machine, versions, and that losses agree with our kernels'."""

import json
import os
import subprocess

import common
from common import Failure, progress

# Of the PyTorch that both programs use. The library's own folder, and those of what pip has installed beside it.
ABOUT_TORCH = """
import json, pathlib, torch
library = pathlib.Path(torch.__file__).parent / "lib"
folders = [library, *sorted(library.parent.parent.glob("nvidia/*/lib"))]
gpu = None
if torch.cuda.is_available():
    about = torch.cuda.get_device_properties(0)
    gpu = {"name": about.name, "memory_mib": about.total_memory >> 20}
print(json.dumps({
    "torch": {"version": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()},
    "gpu": gpu, "libraries": [str(folder) for folder in folders],
}))
"""
# Ten steps on images that come with the program; few are judged. At this rate, losses differ by 4e-6 between our
# kernels and PyTorch on the CPU (at 0.001 by up to 3e-4: rounding grows), and without any update they would by 5e-2.
TRAINING = """
    train --preset dml --nodes 2 --architecture abn-resnet-cifar-8 --epochs 1 --batch-size 32 --learning-rate 0.0001
    --seed 1 --log-every 1 --no-check
    --set split.train_share=0.1 --set split.evaluate_on=search-split --set split.search_share=0.7
"""
STEPS = 10
LIMIT = 1e-4  # relative
SMALL = 0.01  # losses below are compared as if they were so large


# ---- environments ----


def environment(precision):
    """For both programs: TF32 nowhere in f32, else everywhere that PyTorch can; without a precision, as it comes."""
    modes = {"f32": {"NVIDIA_TF32_OVERRIDE": "0"}, None: {}}
    mode = modes.get(precision, {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"})
    neither = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")
    return {name: value for name, value in os.environ.items() if name not in neither} | mode


def with_library(variables, folders):
    """Our programs look for PyTorch's library where they were built."""
    before = variables.get("LD_LIBRARY_PATH")
    return variables | {"LD_LIBRARY_PATH": os.pathsep.join([*folders, *([before] if before else [])])}


# ---- machine and versions ----


def facts(args):
    """What all cells of a result have in common, and the folders of PyTorch's library."""
    pack = read_pack(args.pack)
    about = json.loads(common.ask_python(args.python, ["torch"], ABOUT_TORCH))
    version = about["torch"]["version"]
    if version.split("+")[0] != pack["torch"].split("+")[0]:
        raise Failure(
            f"{args.pack} is for PyTorch {pack['torch']}, and {args.python} has {version}; "
            f"pack again in an environment with PyTorch {version.split('+')[0]}",
            2,
        )
    gpu = None
    if args.device != "torch":
        if about["gpu"] is None:
            raise Failure(f"the PyTorch of {args.python} finds no GPU; `--device torch` rehearses on the CPU", 2)
        gpu = about["gpu"] | {"driver": driver()}
    found = {"device": args.device, "machine": common.machine(), "gpu": gpu, "torch": about["torch"], "pack": pack}
    return found, about["libraries"]


def read_pack(folder):
    try:
        pack = json.loads((folder / "pack.json").read_text())
        return {key: pack[key] for key in ("commit", "torch", "tch")}
    except (OSError, ValueError, KeyError, TypeError):
        message = f"{folder} has no programs: `bench/gpu pack` makes them, where Rust is (docs/gpu.md)"
        raise Failure(message, 2) from None


def driver():
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        lines = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        lines = []
    return lines[0] if lines else "unknown"


def label_edges(graph):
    """The same graph without edges between networks."""
    return "".join(line for line in graph.splitlines(keepends=True) if "->" not in line or "label ->" in line)


# ---- losses ----


def devices(args):
    return ktg(args, ["devices"])


def agreement(args, scratch):
    """The largest relative difference between a few steps' losses on the device and by our kernels."""
    progress("training a few steps on the CPU and on the device")
    ours, theirs = (losses(args, device, scratch / f"run-{device}") for device in ("cpu", args.device))
    largest, where = difference(ours, theirs)
    found = {"steps": STEPS, "largest": largest, "where": where, "limit": LIMIT}
    if args.device != "torch":
        # Were it no larger, nothing would show that the other one was without.
        found["tf32"], _ = difference(ours, losses(args, args.device, scratch / "run-tf32", "--tf32"))
    return found


def difference(ours, theirs):
    """The largest, and where."""
    if ours.keys() != theirs.keys():
        raise Failure(f"the two trainings do not log the same losses: {sorted(ours.keys() ^ theirs.keys())[:3]}")
    differences = {where: abs(ours[where] - theirs[where]) / max(abs(ours[where]), SMALL) for where in ours}
    where = max(differences, key=differences.get)
    return differences[where], where


def losses(args, device, run, *options):
    """Of every edge in every step."""
    ktg(args, ["--device", device, *options, *TRAINING.split(), "--out", str(run)])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    if len(steps) != STEPS:
        raise Failure(f"the training on {device} has logged {len(steps)} steps, not {STEPS}")
    return {f"step {s['step']}, {e['from']} -> {e['to']}": e["loss"] for s in steps for e in s["edges"]}


def ktg(args, words):
    command = [str(args.pack / "ktg"), *words]
    # Whether there is TF32 is the program's affair.
    variables = with_library(environment(None), args.libraries)
    try:
        result = subprocess.run(command, env=variables, capture_output=True, text=True)
    except OSError as error:
        raise Failure(f"cannot start {command[0]}: {error.strerror}") from None
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise Failure(f"`ktg {' '.join(words[:3])} ...` failed with exit status {result.returncode}: {reason}")
    return result.stdout.rstrip()
