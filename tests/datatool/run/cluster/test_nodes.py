"""What a cluster has room for, and nodes that may not take part."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from mindgap_data.engines.open import EngineSettings, Policy
from mindgap_data.errors import UserError
from mindgap_data.policy.models import ModelSpec
from mindgap_data.run.cluster.folder import LockedFolder, WorkFolder
from mindgap_data.run.cluster.nodes import (
    Node,
    connected,
    gpus_of_replica,
    refuse_other,
    replicas_on,
    report,
)

GPUS = [Node("1", "a", 8, 4), Node("2", "b", 8, 3)]
CPUS = [Node("1", "a", 2, 0), Node("2", "b", 2, 0)]


@pytest.mark.parametrize(
    ("nodes", "gpus", "wanted", "replicas"),
    [
        (GPUS, 1, None, 7),
        (GPUS, 2, None, 3),  # a replica does not reach across nodes
        (GPUS, 2, 2, 2),
        (CPUS, 0, None, 3),  # a processor stays free for reading and writing
    ],
)
def test_as_many_replicas_as_fit(nodes: list[Node], gpus: int, wanted: int | None, replicas: int) -> None:
    assert replicas_on(nodes, wanted, gpus) == replicas


@pytest.mark.parametrize(
    ("nodes", "gpus", "wanted", "message"),
    [
        (GPUS, 2, 4, "--replicas 4: a replica takes 2 GPUs; the cluster has room for 3 (a 4 GPUs, b 3 GPUs)"),
        (GPUS, 8, None, "--replicas auto: a replica takes 8 GPUs; the cluster has room for 0 (a 4 GPUs, b 3 GPUs)"),
        (
            CPUS,
            0,
            4,
            "--replicas 4: a replica takes 1 CPU, and 1 reads and writes; the cluster has room for 3 "
            "(a 2 CPUs, b 2 CPUs)",
        ),
    ],
)
def test_more_than_the_cluster_has_is_refused(nodes: list[Node], gpus: int, wanted: int | None, message: str) -> None:
    with pytest.raises(UserError) as caught:
        replicas_on(nodes, wanted, gpus)
    assert caught.value.message == message


def policy(**settings: object) -> Policy:
    return Policy(ModelSpec(), EngineSettings(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "nodes", "gpus"),
    [
        (policy(), GPUS, 1),
        (policy(engine="vllm", engine_args={"tensor_parallel_size": 2, "pipeline_parallel_size": 2}), GPUS, 4),
        (policy(base_url="http://head:8000/v1"), GPUS, 0),
        (replace(policy(), spec=ModelSpec(device="cpu")), GPUS, 0),
        (policy(), CPUS, 0),
    ],
)
def test_an_engine_takes_as_many_gpus_as_it_is_split_over(asked: Policy, nodes: list[Node], gpus: int) -> None:
    assert gpus_of_replica(asked, nodes) == gpus


def test_a_split_engine_needs_gpus() -> None:
    with pytest.raises(UserError) as caught:
        gpus_of_replica(policy(engine_args={"tensor_parallel_size": 2}), CPUS)
    assert caught.value.message == (
        "--engine-arg tensor_parallel_size: a replica takes 2 GPUs, and the cluster has none"
    )


@pytest.fixture
def folder(tmp_path: Path) -> WorkFolder:
    with LockedFolder(tmp_path / "out.ray", restart=False) as folder:
        return folder


def test_a_node_with_another_version_or_model_or_without_the_folder_is_refused(
    folder: WorkFolder, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    own = report(folder, str(model), tmp_path)
    refuse_other("b", own, report(folder, str(model), tmp_path), folder)
    (model / "model.safetensors").write_bytes(b"others!")
    theirs = report(folder, str(model), tmp_path)
    newer = replace(theirs, facts={**theirs.facts, "vllm": "0.99"})
    with pytest.raises(UserError) as caught:
        refuse_other("b", own, newer, folder)
    key = f"model {model}"
    vllm = own.facts["vllm"] or "missing"
    assert caught.value.message == (
        f"node b has vllm 0.99, here {vllm}; {key} {theirs.facts[key]}, here {own.facts[key]}: "
        "its records would differ; install the same on all nodes"
    )
    with pytest.raises(UserError) as caught:
        refuse_other("b", own, report(WorkFolder(tmp_path / "no", folder.run), str(model), tmp_path), folder)
    assert caught.value.message == (
        f"{folder.path}: node b does not see this folder; choose an -o on a file system that all nodes share"
    )


def test_an_address_where_no_ray_answers_is_refused_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"  # bound, and nobody listens
        with pytest.raises(UserError) as caught, connected(address):
            pass
    assert caught.value.message == f"--ray {address}: no Ray answers there: Connection refused"


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "head:"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(UserError) as caught, connected(address):
        pass
    assert caught.value.message == f"--ray {address}: give the address as host:port, such as head:6379"
