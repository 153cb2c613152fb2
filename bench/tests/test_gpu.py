"""`bench/gpu` with programs that only pretend (pretender.py): python3 -m unittest discover -s bench/tests"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = 'name = "tch"\nversion = "0.26.0"\n\nname = "torch-sys"\nversion = "0.26.0"\n'
CASE = "abn-resnet-cifar-8:2:8:10"
MS = {"ktg": 4, "nchw": 6, "channels_last": 8, "nchw compiled": 2, "channels_last compiled": 1}


class Checkout(unittest.TestCase):
    """A copy of the scripts, beside which everything else is made up."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = Path(temporary.name)
        bench, programs = self.root / "bench", self.root / "bin"
        bench.mkdir()
        for file in [*HERE.parent.glob("*.py"), HERE.parent / "gpu", HERE.parent / "graph.toml"]:
            shutil.copy(file, bench)
        self.pretender(programs, "python", "cargo", "strip", "git")
        self.pretender(bench / "gpu-pack", "ktg", "ktg-bench")
        (bench / "gpu-pack" / "pack.json").write_text(json.dumps({"commit": "abc", "torch": "2.11.0", "tch": "0.24.0"}))
        self.pretend()

    def pretender(self, folder, *names):
        folder.mkdir()
        for name in names:
            shutil.copy(HERE / "pretender.py", folder / name)
            (folder / name).chmod(0o755)

    def pretend(self, **said):
        said = {"torch": "2.11.0+cu130", "cuda": "13.0", "drift": 0, "ms": MS, **said}
        (self.root / "said.json").write_text(json.dumps(said))

    def gpu(self, *words, code):
        """Output and messages of the script, which must end with this code."""
        variables = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
        variables |= {"PRETEND": str(self.root / "said.json"), "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}"}
        # The script must take back what does not go with a precision.
        variables |= {"NVIDIA_TF32_OVERRIDE": "0", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
        variables |= {"VIRTUAL_ENV": str(self.root)}
        command = [sys.executable, str(self.root / "bench" / "gpu"), *words]
        result = subprocess.run(command, cwd=self.root, env=variables, capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        return result.stdout + result.stderr

    def measure(self, *words, code=0):
        return self.gpu("--quick", "--python", str(self.root / "bin" / "python"), "--out", "out", *words, code=code)

    def result(self):
        return json.loads((self.root / "out" / "gpu.json").read_text())


class Measuring(Checkout):
    def test_every_cell_is_measured_and_in_the_table(self):
        self.measure()
        cells = self.result()["cells"]
        self.assertEqual(self.result()["missing"], [])
        # What the pretender says, by precision: 1, 1/2, 1/4 of it.
        for precision, part in {"f32": 1, "tf32": 2, "bf16": 4}.items():
            cell = cells[f"{CASE} {precision}"]
            self.assertEqual(cell["ms"], {"ktg": 4 / part, "pytorch nchw": 6 / part, "pytorch channels_last": 8 / part})
            self.assertEqual((cell["best"], cell["ratio"]), ("pytorch nchw", 1.5))
        # Only the faster format is compiled.
        self.assertEqual(cells[f"{CASE} bf16 compiled"]["ms"], {"ktg": 1, "pytorch nchw": 0.5})
        costs = cells[f"{CASE} tf32 edges"]["costs"]
        self.assertEqual(costs, {"ktg": [2, 1.75, 0.25], "PyTorch eager": [3, 2.75, 0.25]})
        text = (self.root / "out" / "gpu.md").read_text()
        self.assertIn(f"| `{CASE}` | f32 | 4 | 0% | 6 | 0% | 1.50 | - | - |", text)
        self.assertIn(f"| `{CASE}` | tf32 | 2 | 0% | 3 | 0% | 1.50 | 1 | 0.50 |", text)
        self.assertIn("| PyTorch eager | 3 | 2.75 | 0.25 |", text)
        self.assertIn("A GPU, 1000 MiB", text)

    def test_no_program_starts_beside_a_measurement(self):
        self.pretend(slow="channels_last bf16")
        self.measure()
        ready = [line.endswith("is ready") for line in (self.root / "log").read_text().splitlines()]
        self.assertEqual(ready.index(False), 9)

    def test_losses_must_agree(self):
        self.pretend(drift=9e-5)
        self.assertIn("at most 9.0e-05 (step 7, label -> 1", self.measure())
        shutil.rmtree(self.root / "out")
        self.pretend(drift=-1.1e-4)
        self.assertIn("the losses on the device and by our kernels disagree", self.measure(code=1))
        self.assertIn("at most 1.1e-04 (step 7, label -> 1; limit: 1e-04). **They disagree.**", self.measure(code=1))

    def test_when_the_minutes_are_over_the_rest_is_missing_and_can_be_measured_later(self):
        self.pretend(hang="channels_last bf16")
        said = self.measure("--minutes", "0.25")
        self.assertEqual(list(self.result()["cells"]), [f"{CASE} f32", f"{CASE} tf32"])
        missing = [f"{CASE} {rest}" for rest in ("bf16", "tf32 edges", "tf32 compiled", "bf16 compiled")]
        self.assertEqual(self.result()["missing"], missing)
        self.assertIn(f"Not measured: {', '.join(missing)}.", said)
        self.pretend(ms={**MS, "ktg": 3})
        self.measure()
        ours = {name: cell["ms"]["ktg"] for name, cell in self.result()["cells"].items()}
        self.assertEqual((ours[f"{CASE} f32"], ours[f"{CASE} bf16"], len(ours)), (4, 0.75, 6))
        self.pretend(cuda="12.0")
        self.assertIn("gpu.json was measured with other torch", self.measure(code=2))

    def test_a_cell_that_fails_is_named_and_the_others_are_measured(self):
        self.pretend(broken="ktg bf16")
        said = self.measure(code=1)
        failed = {f"{CASE} bf16": "ktg: no such precision", f"{CASE} bf16 compiled": "ktg: no such precision"}
        self.assertEqual(self.result()["failed"], failed)
        self.assertEqual(len(self.result()["cells"]), 4)
        self.assertIn(f"Failed: {CASE} bf16: ktg: no such precision", said)

    def test_what_does_not_go_together_is_said(self):
        self.pretend(torch="2.13.0")
        self.assertIn("is for PyTorch 2.11.0, and", self.measure(code=2))
        self.assertIn("`bench/gpu pack` makes them", self.measure("--pack", str(self.root), code=2))


class Packing(Checkout):
    def setUp(self):
        super().setUp()
        self.lock = self.root / "Cargo.lock"
        self.lock.write_text(LOCK)

    def test_each_pytorch_has_its_tch_and_the_lock_stays(self):
        for torch, tch in {"2.11.0+cu130": "0.24.0", "2.13.0": "0.26.0"}.items():
            self.pretend(torch=torch)
            self.gpu("pack", code=0)
            self.assertEqual(self.lock.read_text(), LOCK)
            packed = self.root / "bench" / "gpu-pack"
            # The pretended build puts the lock that it has seen into the programs.
            self.assertEqual((packed / "ktg-bench").read_text(), LOCK.replace("0.26.0", tch) + "1")
            info = json.loads((packed / "pack.json").read_text())
            self.assertEqual(info, {"commit": "abc", "torch": torch, "tch": tch})

    def test_the_lock_stays_where_the_build_fails(self):
        self.pretend(broken="build")
        self.assertIn("failed in", self.gpu("pack", code=1))
        self.assertEqual(self.lock.read_text(), LOCK)

    def test_other_pytorchs_are_refused(self):
        self.pretend(torch="2.12.1")
        self.assertIn("has PyTorch 2.12.1; ktg can be built with PyTorch 2.13 and 2.11", self.gpu("pack", code=2))


if __name__ == "__main__":
    unittest.main()
