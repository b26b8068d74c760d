"""Every type, between every two shapes of deployment, plain, over TLS, and as ElastiCache is."""
from __future__ import annotations

import pytest

from conftest import Deployments
from harness import cluster, data, debian, elasticache, oracle
from harness.checks import assert_copies
from harness.faults import Writer
from harness.run import EQUAL, TROUBLE, longhaul, replicate
from harness.servers import Fleet, Options
from harness.tls import Certificates

SHAPES = [("standalone", "standalone"), ("standalone", "cluster"), ("cluster", "standalone"), ("cluster", "cluster")]
PAIRS = pytest.mark.parametrize("shapes", SHAPES, ids=["-to-".join(shapes) for shapes in SHAPES])
PROFILES = pytest.mark.parametrize("profile", ["plain", "tls", "elasticache"])


@PROFILES
@PAIRS
@pytest.mark.sanitize
def test_every_type_arrives(deployments: Deployments, shapes: tuple[str, str], profile: str) -> None:
    source = deployments.get("source", shapes[0], profile)
    target = deployments.get("target", shapes[1], profile)
    keys = data.load(source, data.mixed(11, 660)) + data.load(source, data.odd())
    assert_copies(source, target, keys, "--compare", "full")


@pytest.mark.parametrize("shapes, profile", [(SHAPES[0], "plain"), (SHAPES[3], "plain"), (SHAPES[1], "elasticache"),
                                             (SHAPES[2], "elasticache")])
def test_debian_packages_arrive(deployments: Deployments, shapes: tuple[str, str], profile: str) -> None:
    """Real data with its natural skew."""
    source = deployments.get("source", shapes[0], profile)
    target = deployments.get("target", shapes[1], profile)
    data.load(source, debian.items())
    assert_copies(source, target, oracle.count(source))


@PAIRS
@pytest.mark.threads
def test_several_threads(deployments: Deployments, shapes: tuple[str, str]) -> None:
    source, target = deployments.get("source", shapes[0]), deployments.get("target", shapes[1])
    keys = data.load(source, data.many(12, 20000))
    assert_copies(source, target, keys, "--threads", 3)


@PAIRS
def test_source_is_written_to_during_the_copy(deployments: Deployments, shapes: tuple[str, str]) -> None:
    """Keys that change, appear and vanish meanwhile are no error, and do not disturb the others."""
    source, target = deployments.get("source", shapes[0]), deployments.get("target", shapes[1])
    data.load(source, data.many(13, 10000))
    prefix = b"live:" if shapes[0] == "standalone" else b"live{x}:"
    node = source.primaries()[0] if shapes[0] == "standalone" else source.owner(cluster.slot_of(prefix))
    with Writer(node, 14, prefix) as writer:
        result = replicate(source, target, "--compare", "none", "--rate", 8000).expect(EQUAL)
    assert writer.writes > 100 and result.json["keys"]["given_up"] == 0
    assert [each for each in oracle.differences(source, target) if not each.key.startswith(b"live")] == []


def test_cluster_is_recognised_from_any_node(deployments: Deployments) -> None:
    source, target = deployments.get("source", "cluster"), deployments.get("target", "cluster")
    keys = data.load(source, data.plain(15, 300))
    for left, right in zip(source.nodes, reversed(target.nodes)):
        target.flush()
        said = replicate(left, right).expect(EQUAL).json
        assert said["source"]["topology"] == said["target"]["topology"] == "cluster"
        assert said["source"]["primaries"] == said["target"]["primaries"] == 3
        oracle.assert_equal(source, target, at_least=keys)


@pytest.mark.parametrize("flags", [["--source-cluster", "--target-cluster"], ["--cluster"], ["--source-cluster"]])
def test_cluster_flags_are_accepted(deployments: Deployments, flags: list[str]) -> None:
    source, target = deployments.get("source", "cluster"), deployments.get("target", "cluster")
    keys = data.load(source, data.plain(16, 300))
    assert_copies(source, target, keys, *flags)


@pytest.mark.parametrize("flag, shapes", [("--source-cluster", SHAPES[1]), ("--target-cluster", SHAPES[2]),
                                          ("--cluster", SHAPES[0])])
def test_cluster_flag_that_is_wrong_is_an_error(deployments: Deployments, flag: str, shapes: tuple[str, str]) -> None:
    source, target = deployments.get("source", shapes[0]), deployments.get("target", shapes[1])
    data.load(source, data.plain(17, 10))
    result = replicate(source, target, flag).expect(TROUBLE)
    assert "cluster" in result.error_line and oracle.count(target) == 0


def test_database_other_than_zero_of_a_cluster_is_an_error(deployments: Deployments, source: object) -> None:
    target = deployments.get("target", "cluster")
    result = replicate(source, f"redis://{target.endpoint}/1", "--timeout", "5s").expect(TROUBLE)
    assert target.endpoint in result.error_line


def test_replicas_are_read_where_wanted(fleet: Fleet, target: object) -> None:
    source = cluster.build(fleet, 3, 3)
    # Without streams: a replica keeps other times of its consumers than its primary does.
    keys = data.load(source, data.mixed(18, 600, kinds=data.without_streams()))
    for primary in source.primaries():
        source.wait_replicated(primary)
    source.wait_replicas_shown(1)
    for node in source.nodes:
        node.command("CONFIG", "RESETSTAT")
    replicate(source, target, "--source-read-from", "replica").expect(EQUAL)
    for node in source.nodes:
        read = set(node.admin().info("commandstats")) & {"cmdstat_get", "cmdstat_mget", "cmdstat_dump"}
        assert bool(read) == (node in source.replicas()), (node.port, read)
    oracle.assert_equal(source, target, at_least=keys)


def test_configuration_endpoint_gives_host_names(fleet: Fleet, certificates: Certificates, source: object) -> None:
    """ElastiCache: one name to start with, other names in CLUSTER SLOTS, whose certificates are verified by name."""
    target = cluster.build(fleet, 3, 0, elasticache.options(Options(tls=certificates)), hostname=True)
    keys = data.load(source, data.plain(19, 1000))
    entrance = f"rediss://127.0.0.1:{target.nodes[0].tls_port}"
    result = longhaul("replicate", "--output", "json", source.endpoint, entrance, "--target-cacert",
                      certificates.path("ca.crt")).expect(EQUAL)
    assert result.json["keys"]["copied"] == keys
    oracle.assert_equal(source, target, at_least=keys)


@pytest.mark.sanitize
@PAIRS
def test_empty_source(deployments: Deployments, shapes: tuple[str, str]) -> None:
    source, target = deployments.get("source", shapes[0]), deployments.get("target", shapes[1])
    said = replicate(source, target).expect(EQUAL).json
    assert said["keys"]["scanned"] == said["keys"]["copied"] == 0
