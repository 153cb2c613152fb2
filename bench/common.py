"""What the benchmark scripts share: programs that are asked line by line, builds, summaries, tables."""

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")


class Failure(Exception):
    """Something to tell the user in a sentence, and the exit code."""

    def __init__(self, message, code=1):
        super().__init__(message)
        self.code = code


def progress(text):
    print(text, file=sys.stderr, flush=True)


def run_script(name, main):
    """Runs `main`, turns what it raises into a sentence and an exit code, and leaves no server behind."""
    # So that `kill` ends the children like Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except Failure as failure:
        print(f"{name}: {failure}", file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    finally:
        Server.stop_all()
    return 0


# ---- programs ----


class Server:
    """A program that answers each line of input with one line of JSON; the first one it prints unasked."""

    running = []

    def __init__(self, name, command, env=None, wait=True):
        """With `wait=False` several can start at the same time; `wait_ready` must come before the first question."""
        self.name = name
        try:
            # In a session of its own, so that Ctrl-C reaches only us; stop_all() then ends the children.
            self.process = subprocess.Popen(
                command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
        except OSError as error:
            raise Failure(f"cannot start {command[0]}: {error.strerror}") from None
        Server.running.append(self)
        if wait:
            self.wait_ready()

    def wait_ready(self):
        self.ready = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"{self.name} ended early, with exit status {self.process.wait()}")
        try:
            reply = json.loads(line)
        except ValueError:
            raise Failure(f"{self.name} answered something that is not JSON: {line.strip()[:200]}") from None
        if "error" in reply:
            raise Failure(f"{self.name}: {reply['error']}")
        return reply

    def ask(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # read() reports how the program ended
        return self.read()

    def quit(self):
        try:
            self.process.stdin.write("quit\n")
            self.process.stdin.close()
            self.process.wait(timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        Server.running.remove(self)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def stop_all():
        for server in list(Server.running):
            server.kill()


def check_python(python, packages):
    """Fails with one sentence if the interpreter is missing or lacks one of the packages. Their versions, by name."""
    imports = f"import {', '.join(packages)}; print(*({', '.join(f'{name}.__version__' for name in packages)},))"
    return dict(zip(packages, ask_python(python, packages, imports).split()))


def ask_python(python, packages, program):
    """What a program prints that needs these packages and must not fail otherwise."""
    try:
        result = subprocess.run([python, "-c", program], capture_output=True, text=True)
    except OSError as error:
        raise Failure(f"cannot run {python!r} (--python): {error.strerror}", 2) from None
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        names = " and ".join("PyTorch" if name == "torch" else name for name in packages)
        raise Failure(
            f"the Python interpreter {python!r} cannot import {names} ({reason}): install with "
            f"`{python} -m pip install {' '.join(packages)}`, or name another interpreter with --python",
            2,
        )
    return result.stdout


def build(*what):
    """`cargo build --release` of `what`; the programs are then below TARGET."""
    progress(f"building {what[-1]} (the first time takes minutes) ...")
    command = ["cargo", "build", "--release", "--quiet", *what]
    try:
        result = subprocess.run(command, cwd=ROOT, stdout=sys.stderr)
    except OSError:
        raise Failure("cargo is not on the PATH; install Rust from https://rustup.rs") from None
    if result.returncode != 0:
        raise Failure(f"`{' '.join(command)}` failed in {ROOT}; its messages are above")


# ---- measuring ----


def summary(times):
    """Median, and (max - min) / median."""
    median = statistics.median(times)
    return median, (max(times) - min(times)) / median


class OthersWatch:
    """Tells what share of the processor everything but these servers took since it was made."""

    def __init__(self, servers):
        self.servers = servers
        self.start, self.others = time.monotonic(), self.others_seconds()

    def others_seconds(self):
        """Since the machine started. None if not on Linux."""
        try:
            user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
            all_programs = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
            return all_programs - sum(server.cpu_seconds() for server in self.servers)
        except (OSError, ValueError):
            return None

    def share(self):
        """The share, said where it is too large to be overlooked; None if not on Linux."""
        now = self.others_seconds()
        if self.others is None or now is None:
            return None
        share = (now - self.others) / ((time.monotonic() - self.start) * os.cpu_count())
        if share > 0.03:
            progress(f"  note: other programs took {share:.0%} of the processor meanwhile; do not trust these times")
        return share


def usable_cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def machine():
    info = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            info.setdefault(key.strip(), value.strip())
    except OSError:
        pass  # not Linux
    flags = info.get("flags", "").split()
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "flags": {name: name in flags for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")},
    }


# ---- arguments and output ----


def write_json(file, result):
    write_text(file, json.dumps(result, indent=1))


def write_text(file, text):
    """Whole or not at all."""
    temporary = file.with_name(file.name + ".tmp")
    try:
        with open(temporary, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, file)
    except OSError as error:
        raise Failure(f"cannot write {file}: {error.strerror}") from None


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def table(header, rows):
    rows = [header, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for row in rows:
        print("  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]).rstrip())
