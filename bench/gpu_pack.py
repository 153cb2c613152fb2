"""`bench/gpu pack`: the programs for a machine that has a GPU and PyTorch, but no Rust and no network."""

import json
import os
import re
import subprocess
from pathlib import Path

import common
from common import ROOT, TARGET, Failure

PROGRAMS = ["ktg", "ktg-bench"]
TCH = {"2.13": "0.26.0", "2.11": "0.24.0"}  # by PyTorch's version (docs/gpu.md)


def pack(folder):
    home = os.environ.get("VIRTUAL_ENV")
    if not home or not Path(home, "bin", "python").exists():
        reason = f"there is no {home}/bin/python (VIRTUAL_ENV)" if home else "VIRTUAL_ENV is not set"
        raise Failure(f"{reason}: activate an environment with the PyTorch of the GPU's machine (docs/gpu.md)", 2)
    torch = common.check_python(str(Path(home, "bin", "python")), ["torch"])["torch"]
    tch = TCH.get(".".join(torch.split(".")[:2]))
    if tch is None:
        raise Failure(f"{home} has PyTorch {torch}; ktg can be built with PyTorch {' and '.join(TCH)}", 2)
    info = {"commit": commit(), "torch": torch, "tch": tch}
    # torch-sys asks the first `python` where the library is.
    os.environ |= {"LIBTORCH_USE_PYTORCH": "1", "PATH": f"{home}/bin{os.pathsep}{os.environ['PATH']}"}
    build(tch)
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        run("strip", "-o", str(folder / name), str(TARGET / "release" / name))
    common.write_json(folder / "pack.json", info)
    size = sum((folder / name).stat().st_size for name in PROGRAMS) / 2**20
    print(f"{folder}: {' and '.join(PROGRAMS)}, {size:.0f} MiB; {json.dumps(info)}")


def build(tch):
    """With this version of tch, which may be another than the committed one: Cargo.lock is as it was afterwards."""
    lock = ROOT / "Cargo.lock"
    committed = lock.read_bytes()
    try:
        if not re.search(rf'name = "tch"\nversion = "{re.escape(tch)}"', committed.decode()):
            for name in ("tch", "torch-sys"):
                run("cargo", "update", "--quiet", "-p", name, "--precise", tch)
        common.build("--features", "ktg/torch,ktg-bench/torch", *(word for name in PROGRAMS for word in ("-p", name)))
    finally:
        if lock.read_bytes() != committed:
            lock.write_bytes(committed)


def commit():
    changed = run("git", "status", "--porcelain", "--untracked-files=no").strip()
    return run("git", "rev-parse", "HEAD").strip() + (", changed" if changed else "")


def run(*command):
    """What it prints; its messages go to ours."""
    try:
        result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise Failure(f"cannot run {command[0]}: {error.strerror}") from None
    if result.returncode != 0:
        raise Failure(f"`{' '.join(command)}` failed in {ROOT}; its messages are above")
    return result.stdout
