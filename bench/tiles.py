"""How fast the processor multiplies tiles (AMX) while others are measured: a neighbor on the same core makes it several
times slower, now and then."""

from common import progress

SLOW = 0.5  # of the fastest: from here on tiles are in their fast mode


class TileWatch:
    """Asks a ktg-bench after every round. One whose processor has no AMX is not asked, and all its rounds count."""

    def __init__(self, server):
        self.server = server if server.ready.get("bf16") == "AMX" else None
        self.gflops = []

    def look(self):
        if self.server:
            self.gflops.append(self.server.ask("tiles")["gflops"])
            progress(f"    tiles: {self.gflops[-1]:.0f} GFLOP/s")

    def is_fast(self):
        """By round: whether the tiles were in their fast mode behind it, and behind the one before."""
        fast = [gflops > SLOW * max(self.gflops) for gflops in self.gflops]
        return [now and before for now, before in zip(fast, [True, *fast])]

    def fast_rounds(self, times):
        """The times, by server, of the rounds in the fast mode; of all, where there is none."""
        fast = self.is_fast()
        if not any(fast):
            return times
        return {server: [ms for ms, keep in zip(values, fast) if keep] for server, values in times.items()}
