#!/usr/bin/env python3
"""In the place of python, ktg, ktg-bench, cargo, strip and git: computes nothing, and answers as the file says that the
variable PRETEND names."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

NAME, WORDS = Path(sys.argv[0]).name, sys.argv[1:]
SAID = json.loads(Path(os.environ["PRETEND"]).read_text())


def option(name):
    return WORDS[WORDS.index(name) + 1] if name in WORDS else None


def log(line):
    with open("log", "a") as out:
        print(line, file=out)


def about_torch():
    if "get_device_properties" not in WORDS[1]:
        return print(SAID["torch"])
    torch = {"version": SAID["torch"], "cuda": SAID["cuda"], "cudnn": 91900}
    gpu = {"name": "A GPU", "memory_mib": 1000}
    print(json.dumps({"torch": torch, "gpu": gpu, "libraries": ["/there/torch/lib"]}))


def train():
    drift = 0 if option("--device") == "cpu" else SAID["drift"]
    run = Path(option("--out"))
    run.mkdir()
    with open(run / "metrics.jsonl", "w") as out:
        for step in range(1, 11):
            loss = 2.0 * (1 + drift) if step == 7 else 2.0
            edge = {"from": "label", "to": 1, "loss": loss}
            print(json.dumps({"kind": "step", "step": step, "edges": [edge]}), file=out)
        print(json.dumps({"kind": "epoch"}), file=out)


def serve():
    ours = NAME == "ktg-bench"
    precision = "f32" if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0" else "tf32"
    if "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE" in os.environ and precision == "f32":
        return print(json.dumps({"error": "f32 and TF32 at once"}))
    if ours:
        library = os.environ["LD_LIBRARY_PATH"]
        if os.environ["KTG_DEVICE"] != "cuda" or not library.startswith("/there/torch/lib"):
            return print(json.dumps({"error": "not on the GPU, or without PyTorch's library"}))
        precision = option("--precision") or precision
    elif (option("--precision") == "f32") != (precision == "f32") or option("--device") != "cuda":
        return print(json.dumps({"error": "precision and environment differ"}))
    else:
        precision = option("--precision")
    program = "ktg" if ours else option("--memory-format") + (" compiled" if "--compile" in WORDS else "")
    me = f"{program} {precision}"
    ms = SAID["ms"][program] / {"f32": 1, "tf32": 2, "bf16": 4}[precision]
    if '"2 -> 1"' not in Path(option("--graph")).read_text():
        ms -= 0.25
    if SAID.get("broken") == me:
        return print(json.dumps({"error": "no such precision"}), flush=True)
    time.sleep(0.5 if SAID.get("slow") == me else 0)
    log(f"{me} is ready")
    print(json.dumps({"parameters": 5}), flush=True)
    for line in sys.stdin:
        log(f"{me} trains")
        if SAID.get("hang") == me:
            time.sleep(60)
        print(json.dumps({"ms": ms * int(line.split()[1]), "loss": 1.0}), flush=True)


def cargo():
    lock = Path("Cargo.lock")
    if WORDS[0] == "update":
        return lock.write_text(lock.read_text().replace('version = "0.26.0"', f'version = "{option("--precise")}"'))
    if SAID.get("broken") == "build":
        sys.exit(1)
    for program in ("ktg", "ktg-bench"):
        Path("target/release").mkdir(parents=True, exist_ok=True)
        Path("target/release", program).write_text(lock.read_text() + os.environ["LIBTORCH_USE_PYTORCH"])


if NAME == "python" and WORDS[0] == "-c":
    about_torch()
elif NAME == "ktg":
    train() if "train" in WORDS else print("cuda:0  A GPU")
elif NAME == "cargo":
    cargo()
elif NAME == "strip":
    shutil.copy(WORDS[2], WORDS[1])
elif NAME == "git":
    print("abc" if WORDS[0] == "rev-parse" else "")
else:
    serve()
