"""The cluster: the way in, what its nodes have, and whether they may work on one output together."""

import hashlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mindgap_data
from mindgap_data.engines.open import Policy
from mindgap_data.errors import UserError, one_line
from mindgap_data.policy.models import files_revision
from mindgap_data.run.cluster.folder import WorkFolder

CONNECT_SECONDS = 10.0
# What a record's log-probs depend on, besides mindgap itself.
_PACKAGES = ("transformers", "torch", "vllm")


@dataclass(frozen=True)
class Node:
    """What a node has room for."""

    id: str
    name: str
    cpus: int
    gpus: int

    def replicas(self, gpus: int) -> int:
        """How many replicas of so many GPUs fit; one without takes a processor."""
        return self.gpus // gpus if gpus else self.cpus


@dataclass(frozen=True)
class Report:
    """What a node says of itself; what differs from the driver's would make other records."""

    shared: bool  # it sees the work folder
    facts: Mapping[str, str | None]  # versions, and the model's weights where they are files


@contextmanager
def connected(address: str) -> Iterator[list[Node]]:
    """The cluster's nodes, while the driver is connected.

    Args:
        address: host:port; "auto": $RAY_ADDRESS or the cluster of this machine; "local": one for this run.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise UserError("--ray: Ray is not installed; run: pip install 'mindgap[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its notes on actors are not for the user
    import ray

    address = os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address
    _refuse_silent(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except Exception as error:  # Ray has no exception of its own for it
        raise UserError(
            f"--ray {address}: there is no Ray cluster: {one_line(error, 120)}; start one with `ray start --head`, "
            "or give its host:port"
        ) from error
    try:
        yield [
            Node(node["NodeID"], node["NodeManagerAddress"], int(found.get("CPU", 0)), int(found.get("GPU", 0)))
            for node in ray.nodes()
            if node["Alive"] and (found := node["Resources"])
        ]
    finally:
        ray.shutdown()


def replicas_on(nodes: Sequence[Node], wanted: int | None, gpus: int) -> int:
    """How many replicas to run, each of ``gpus`` GPUs; ``wanted`` None is as many as fit.

    Without GPUs a replica takes a processor, and one of the cluster's stays free: it reads and writes.

    Raises:
        UserError: the cluster has no room for so many.
    """
    room = sum(node.replicas(gpus) for node in nodes) - (0 if gpus else 1)
    if room >= (wanted or 1):
        return wanted or room
    has = ", ".join(
        f"{node.name} {_counted(node.gpus, 'GPU') if gpus else _counted(node.cpus, 'CPU')}" for node in nodes
    )
    takes = _counted(gpus, "GPU") if gpus else "1 CPU, and 1 reads and writes"
    raise UserError(
        f"--replicas {wanted or 'auto'}: a replica takes {takes}; the cluster has room for {max(room, 0)} ({has})"
    )


def gpus_of_replica(policy: Policy, nodes: Sequence[Node]) -> int:
    """GPUs that one engine takes: none where a server or the processor runs the model, or no node has any.

    Raises:
        UserError: the engine is to run on several and the cluster has none.
    """
    settings = policy.settings
    if settings.engine == "openai" or settings.base_url or policy.spec.device == "cpu":
        return 0
    sizes = [settings.engine_args.get(name, 1) for name in ("tensor_parallel_size", "pipeline_parallel_size")]
    wanted = int(sizes[0]) * int(sizes[1])
    if any(node.gpus for node in nodes):
        return wanted
    if wanted > 1:
        raise UserError(f"--engine-arg tensor_parallel_size: a replica takes {wanted} GPUs, and the cluster has none")
    return 0


def survey(nodes: Sequence[Node], folder: WorkFolder, model: str) -> None:
    """Ask every node whether it may take part.

    Raises:
        UserError: one may not; the message says why.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    own, directory = report(folder, model, Path.cwd()), Path.cwd()
    asking = ray.remote(num_cpus=0, max_retries=0)(report)
    asked = [
        asking.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(
            folder, model, directory
        )
        for node in nodes
    ]
    for node, answer in zip(nodes, asked, strict=True):
        try:
            theirs = ray.get(answer)
        except (ray.exceptions.NodeDiedError, ray.exceptions.TaskUnschedulableError):
            continue  # it has died since it was listed, and takes no part
        except ray.exceptions.RayError as error:
            reason = one_line(getattr(error, "cause", None) or error, 200)
            raise UserError(f"node {node.name} cannot run mindgap: {reason}; install it there as it is here") from error
        refuse_other(node.name, own, theirs, folder)


def refuse_other(node: str, own: Report, theirs: Report, folder: WorkFolder) -> None:
    """Raise UserError where a node lacks the work folder or would make other records than the driver."""
    if not theirs.shared:
        raise UserError(
            f"{folder.path}: node {node} does not see this folder; choose an -o on a file system that all nodes share"
        )
    other = [
        f"{name} {theirs.facts[name] or 'missing'}, here {mine or 'missing'}"
        for name, mine in own.facts.items()
        if theirs.facts.get(name) != mine
    ]
    if other:
        raise UserError(f"node {node} has {'; '.join(other)}: its records would differ; install the same on all nodes")


def report(folder: WorkFolder, model: str, directory: Path) -> Report:
    """What this machine says of itself; relative paths start from ``directory`` where it is there."""
    if directory.is_dir():
        os.chdir(directory)
    facts: dict[str, str | None] = {"mindgap": f"{mindgap_data.__version__} (source {_source()})"}
    facts.update((name, _version(name)) for name in _PACKAGES)
    facts[f"model {model}"] = files_revision(model)
    return Report(folder.is_shared(), facts)


def _version(package: str) -> str | None:
    try:
        return version(package).partition("+")[0]  # torch 2.13.0+cpu computes what 2.13.0+cu130 does
    except PackageNotFoundError:
        return None


@cache
def _source() -> str:
    """Fingerprint of the code that runs: two checkouts may call themselves the same version."""
    digest = hashlib.sha256()
    root = Path(mindgap_data.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def _refuse_silent(address: str) -> None:
    """Raise UserError where nothing listens: Ray itself would wait for a minute."""
    if address in ("auto", "local"):
        return
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdigit()) or "/" in host:
        raise UserError(f"--ray {address}: give the address as host:port, such as head:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(f"--ray {address}: no Ray answers there: {error.strerror or error}") from error


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def rows_in_flight(policy: Policy) -> int:
    """Rows that a replica should have at hand, so that its engine is never short of them."""
    settings: Any = policy.settings
    if settings.engine == "openai" or settings.base_url:
        return 2 * int(settings.concurrency or 128)
    return max(4 * int(settings.batch_size), 2 * int(settings.engine_args.get("max_num_seqs", 128)))
