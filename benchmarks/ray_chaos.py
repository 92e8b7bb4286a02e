"""A run on three nodes while a replica, a node or the driver is killed at random points, over and over.

Prints, for each repetition, what was killed, whether the file has the bytes of an undisturbed run, and how many ids
are lost and doubled.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.ray_jobs import benchmark_request, write_source

from mindgap_data.run.cluster.run import ClusterOptions, run_work
from mindgap_data.run.job import RunFiles, RunOptions

DELAY = 0.25  # seconds a batch of the engine
DRIVE = (sys.executable, "-m", "benchmarks.ray_chaos", "--drive")
VICTIMS = ("replica", "node", "driver")


class Chaos:
    """A cluster of three nodes, of which the first is the driver's."""

    def __init__(self, seed: int) -> None:
        from ray.cluster_utils import Cluster

        self.random = random.Random(seed)
        self.cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        self.workers = [self.cluster.add_node(num_cpus=2) for _ in range(2)]

    def kill(self, victim: str, driver: "subprocess.Popen[bytes]", files: RunFiles) -> bool:
        """Kill one of them; False where there was none."""
        if victim == "driver":
            driver.kill()
            return True
        if victim == "node":
            node = self.random.choice(self.workers)
            self.workers.remove(node)
            self.cluster.remove_node(node, allow_graceful=False)
            self.workers.append(self.cluster.add_node(num_cpus=2))
            return True
        states = [json.loads(path.read_text()) for path in (files.cluster / "replicas").glob("*.json")]
        processes = [int(state["replica"].rsplit("-", 2)[1]) for state in states]
        alive = [process for process in processes if Path(f"/proc/{process}").exists()]
        if not alive:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.random.choice(alive), signal.SIGKILL)
        return True


def repetition(chaos: Chaos, source: Path, files: RunFiles, times: int) -> list[str]:
    """Drive the run to its end, killing ``times`` times on the way; returns what was killed."""
    killed: list[str] = []
    victims = [chaos.random.choice(VICTIMS) for _ in range(times)]
    while not files.summary.exists():
        driver = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.ray_chaos",
                "--drive",
                str(chaos.cluster.address),
                str(source),
                str(files.output),
            ]
        )
        while driver.poll() is None:
            wait = chaos.random.uniform(2.0, 9.0)
            with suppress(subprocess.TimeoutExpired):
                driver.wait(wait if victims else None)
            if victims and driver.poll() is None and chaos.kill(victims[-1], driver, files):
                killed.append(victims.pop())
        if driver.returncode not in (0, -signal.SIGKILL):
            raise SystemExit(f"the driver ended with {driver.returncode}")
    return killed


def main() -> None:
    """So many repetitions, or the driver of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--kills", type=int, default=2, help="in each repetition")
    parser.add_argument("--rows", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        address, source, output = arguments.drive
        files = RunFiles.beside(Path(output))
        run_work(benchmark_request(Path(source), DELAY), ClusterOptions(address, 2), RunOptions(files, quiet=True))
        return
    with tempfile.TemporaryDirectory() as folder:
        source = write_source(Path(folder) / "in.jsonl", arguments.rows)
        undisturbed = RunFiles.beside(Path(folder) / "undisturbed.jsonl")
        run_work(benchmark_request(source, 1e-6), None, RunOptions(undisturbed, quiet=True))
        wanted = undisturbed.output.read_bytes()
        chaos = Chaos(arguments.seed)
        lost = doubled = same = 0
        try:
            for n in range(1, arguments.repetitions + 1):
                files, began = RunFiles.beside(Path(folder) / f"{n}.jsonl"), time.perf_counter()
                killed = repetition(chaos, source, files, arguments.kills)
                found = files.output.read_bytes()
                ids = Counter(json.loads(line)["id"] for line in found.splitlines())
                same += found == wanted
                lost += arguments.rows - len(ids)
                doubled += sum(count - 1 for count in ids.values())
                print(
                    f"{n}: killed {', '.join(killed) or 'nothing'}; {time.perf_counter() - began:.0f} s; "
                    f"{'the same bytes' if found == wanted else 'OTHER BYTES'}",
                    flush=True,
                )
        finally:
            chaos.cluster.shutdown()
        print(f"{same} of {arguments.repetitions} with the same bytes; ids lost {lost}, doubled {doubled}")


if __name__ == "__main__":
    main()
