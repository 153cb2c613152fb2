"""Rounds in which a neighbor keeps the tiles busy do not count."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tiles import TileWatch


class Server:
    def __init__(self, bf16, gflops=()):
        self.ready = {"bf16": bf16}
        self.gflops = list(gflops)

    def ask(self, command):
        assert command == "tiles"
        return {"gflops": self.gflops.pop(0)}


class Tiles(unittest.TestCase):
    def test_only_rounds_in_the_fast_mode_count(self):
        watch = TileWatch(Server("AMX", [1000, 990, 260, 980, 950]))
        for _ in range(5):
            watch.look()
        times = {"ktg": [1, 2, 3, 4, 5], "torch": [6, 7, 8, 9, 10]}
        # The third ended slow, and so the fourth began.
        self.assertEqual(watch.fast_rounds(times), {"ktg": [1, 2, 5], "torch": [6, 7, 10]})

    def test_without_tiles_nobody_is_asked_and_all_rounds_count(self):
        for instructions in ("AVX-512-BF16", None):
            watch = TileWatch(Server(instructions))
            watch.look()
            self.assertEqual(watch.fast_rounds({"ktg": [1, 2]}), {"ktg": [1, 2]})

    def test_where_no_round_is_fast_all_count(self):
        watch = TileWatch(Server("AMX", [100, 1000, 100]))
        for _ in range(3):
            watch.look()
        self.assertEqual(watch.is_fast(), [False, False, False])
        self.assertEqual(watch.fast_rounds({"ktg": [1, 2, 3]}), {"ktg": [1, 2, 3]})


if __name__ == "__main__":
    unittest.main()
