"""What Ray costs and gives: one replica against a run without Ray, two and sixteen against one, a million rows.

The engine takes a fixed time for every batch and no processor, so that replicas on two cores stand for machines.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.ray_jobs import BATCH, benchmark_request, write_source

from mindgap_data.run.cluster.run import ClusterOptions, run_work
from mindgap_data.run.job import RunFiles, RunOptions

DELAY = 0.1  # seconds a batch of the engine


def timed(source: Path, cluster: ClusterOptions | None, delay: float = DELAY) -> tuple[float, float]:
    """One run: its seconds, and the longest time that an engine was open."""
    files = RunFiles.beside(source.with_name(f"{source.stem}.out.jsonl"))
    began = time.perf_counter()
    _, result = run_work(benchmark_request(source, delay), cluster, RunOptions(files, quiet=True))
    seconds = time.perf_counter() - began
    files.output.unlink()
    return seconds, max((replica["seconds"] for replica in result.replicas), default=seconds)


def ratios(folder: Path, seconds: int, many: int) -> None:
    """Plain, one replica, two and ``many``, on a job of so many seconds of one engine."""
    from ray.cluster_utils import Cluster

    rows = int(seconds / DELAY) * BATCH
    source = write_source(folder / "in.jsonl", rows)
    plain, _ = timed(source, None)
    print(f"plain: {rows} rows, {plain:.1f} s", flush=True)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=many)
    try:
        address = str(cluster.address)
        one, one_open = timed(source, ClusterOptions(address, 1))
        print(f"1 replica: {one:.1f} s, {one / plain:.2f} x the plain run", flush=True)
        two, _ = timed(source, ClusterOptions(address, 2))
        print(f"2 replicas on 2 nodes: {two:.1f} s, {two / one:.2f} x that of one", flush=True)
        larger = write_source(folder / "larger.jsonl", rows * many // 2)
        all_, all_open = timed(larger, ClusterOptions(address, many))
        faster = (rows * many / 2 / all_open) / (rows / one_open)
        print(
            f"{many} replicas: {rows * many // 2} rows, {all_:.1f} s, of which {all_open:.1f} with the engines open: "
            f"{faster:.1f} x the rows a second of one",
            flush=True,
        )
    finally:
        cluster.shutdown()


def one_size(rows: int) -> None:
    """One run with an engine that answers at once; prints its rows a second and the driver's peak memory as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        source = write_source(Path(folder) / "in.jsonl", rows)
        began = time.perf_counter()
        files = RunFiles.beside(Path(folder) / "out.jsonl")
        run_work(benchmark_request(source, 0), ClusterOptions("local", 1), RunOptions(files, quiet=True))
        seconds = time.perf_counter() - began
        with files.output.open() as lines:
            ids = [json.loads(line)["id"] for line in lines]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    once = ids == [f"row-{n}" for n in range(rows)]
    figures = {"rows": rows, "each_once": once, "rows_per_second": round(rows / seconds), "peak_mib": round(peak, 1)}
    print(json.dumps(figures))


def main() -> None:
    """All of it, or what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of one engine's work")
    parser.add_argument("--replicas", type=int, default=16)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the run with an engine that answers at once")
    parser.add_argument("--only", choices=["ratios", "rows"])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one_size(arguments.one)
        return
    if arguments.only != "rows":
        with tempfile.TemporaryDirectory() as folder:
            ratios(Path(folder), arguments.seconds, arguments.replicas)
    if arguments.only != "ratios":
        peaks = []
        for rows in (10_000, arguments.rows):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.ray_scale", "--one", str(rows)], capture_output=True, text=True
            )
            print(done.stdout.strip() or done.stderr.strip(), flush=True)
            peaks.append(json.loads(done.stdout)["peak_mib"])
        print(f"driver's peak memory ratio {peaks[1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
