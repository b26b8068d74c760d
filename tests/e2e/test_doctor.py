"""doctor: each finding is planted, and has to be found; doctor must not complain about a side that is well."""
from __future__ import annotations

import json
from typing import Any, Dict, List

import pytest

from conftest import Deployments
from harness import cluster, data, wait
from harness.encodings import has_field_expiry, has_vector_sets
from harness.faults import Stranger
from harness.live import Live
from harness.run import EQUAL, TROUBLE, Result, longhaul
from harness.servers import Fleet, Options, Server


def doctor(*args: object) -> Result:
    return longhaul("doctor", "--output", "json", *args)


def found(result: Result, severity: str, topic: str = "") -> List[Dict[str, Any]]:
    return [each for each in result.json["findings"]
            if each["severity"] == severity and (not topic or each["topic"] == topic)]


def one(result: Result, severity: str, topic: str, *words: str) -> Dict[str, Any]:
    """The finding of that topic whose text has these words."""
    hits = [each for each in found(result, severity, topic) if all(word in each["text"] for word in words)]
    assert len(hits) == 1, f"{len(hits)} findings {severity} {topic} {words}\n{result}"
    return hits[0]


def test_two_healthy_servers(source: Server, target: Server) -> None:
    result = doctor(source.endpoint, target.endpoint).expect(EQUAL)
    assert result.json["problems"] == result.json["warnings"] == 0
    assert found(result, "problem") == found(result, "warning") == []
    one(result, "ok", "versions")
    one(result, "ok", "clocks")
    one(result, "ok", "memory")
    assert result.json["source"]["commands"]["SCAN"] == "available"


def test_the_closing_line(source: Server, target: Server) -> None:
    assert longhaul("doctor", source.endpoint, target.endpoint).expect(EQUAL).stdout.endswith("\n0 problems, 0 warnings\n")
    assert longhaul("doctor", source.endpoint, "127.0.0.1:1").expect(TROUBLE).stdout.endswith("\n1 problem, 0 warnings\n")


def test_the_source_alone(source: Server) -> None:
    result = doctor(source.endpoint).expect(EQUAL)
    assert "target" not in result.json and {each["side"] for each in result.json["findings"]} == {"source"}


def test_both_are_the_same(source: Server) -> None:
    result = doctor(source.endpoint, f"localhost:{source.port}").expect(TROUBLE)
    one(result, "problem", "same", str(source.port))


def test_clusters_and_their_nodes(deployments: Deployments) -> None:
    source, target = deployments.get("source", "cluster"), deployments.get("target", "cluster")
    data.load(source, data.plain(711, 500))
    result = doctor(source.endpoint, target.endpoint).expect(EQUAL)
    side = result.json["source"]
    assert side["kind"] == "cluster" and side["primaries"] == 3 and len(side["nodes"]) == 3
    assert sum(node["keys"] for node in side["nodes"]) == 500
    said = [each["text"] for each in found(result, "ok", "server")]
    assert len(said) == 2 and all("3 primaries" in text and "16384 slots" in text for text in said)


def test_uncovered_slots(fleet: Fleet, target: Server) -> None:
    side = cluster.build(fleet, 3, 0)
    for node in side.nodes:
        node.command("CLUSTER", "DELSLOTS", 100)
    result = doctor(side.endpoint, target.endpoint).expect(TROUBLE)
    one(result, "problem", "slots", "1 of 16384")


def test_a_primary_of_the_cluster_is_down(fleet: Fleet, target: Server) -> None:
    side = cluster.build(fleet, 3, 0)
    down = side.nodes[1]
    down.kill9()
    result = doctor(side.nodes[0].endpoint, target.endpoint, "--connect-timeout", "2s").expect(TROUBLE)
    one(result, "problem", "reach", str(down.port))


def replica_of(fleet: Fleet, primary: Server) -> Server:
    replica = fleet.server()
    replica.command("REPLICAOF", "127.0.0.1", primary.port)
    wait.until(lambda: replica.admin().info("replication")["master_link_status"] == "up", "the replica")
    return replica


def test_replicas_on_either_side(fleet: Fleet, source: Server, target: Server) -> None:
    replica = replica_of(fleet, fleet.server())
    one(doctor(replica.endpoint, target.endpoint).expect(EQUAL), "note", "role", "is a replica")
    result = doctor(source.endpoint, replica.endpoint).expect(TROUBLE)
    one(result, "problem", "role", "takes no writes")
    one(result, "problem", "writes", "READONLY")


def test_sides_of_one_replication_group(fleet: Fleet) -> None:
    """The words by which a job would be refused; a target that replicates with the source is no copy."""
    primary = fleet.server()
    replica = replica_of(fleet, primary)
    one(doctor(replica.endpoint, primary.endpoint).expect(TROUBLE), "problem", "sides", "REPLICAOF NO ONE")
    one(doctor(replica.endpoint, replica_of(fleet, primary).endpoint).expect(TROUBLE), "problem", "sides", "replication group")


def test_a_target_that_was_promoted(source: Server, target: Server) -> None:
    role = {"role": "active", "since_us": 1_700_000_000_000_000, "by": "ops at b.example.com", "epoch": 4,
            "peer": "a.example.com:6379", "watermark_us": 1_700_000_000_000_000}
    target.command("HSET", "longhaul:{3560}:state", "@role", json.dumps(role))
    finding = one(doctor(source.endpoint, target.endpoint).expect(TROUBLE), "problem", "role", "ops at b.example.com")
    assert finding["side"] == "target"
    target.command("HSET", "longhaul:{3560}:state", "@role", json.dumps({**role, "role": "standby"}))
    assert not found(doctor(source.endpoint, target.endpoint), "problem", "role")


def test_commands_that_are_renamed_away(fleet: Fleet, target: Server) -> None:
    side = fleet.server(Options(renamed={"scan": "secret-scan", "dump": "secret-dump", "config": "secret-config",
                                         "eval": "secret-eval"}))
    result = doctor(side.endpoint, target.endpoint).expect(TROUBLE)
    one(result, "problem", "commands", "SCAN is not there")
    one(result, "warning", "commands", "DUMP is not there", "commands of their types")
    one(result, "note", "commands", "CONFIG GET is not there")
    one(result, "note", "commands", "EVAL is not there")
    assert result.json["source"]["commands"]["DUMP"] == "unknown"


@pytest.mark.parametrize("rules, severity, topic, words", [
    ("~* +@all -set", "problem", "commands", ("SET may not be used",)),
    ("~* +@all -restore", "warning", "commands", ("RESTORE may not be used", "commands of their types")),
    ("~* +@all -unlink", "warning", "commands", ("UNLINK may not be used",)),
    ("~* +@read +@write +@connection +info -wait", "note", "commands", ("EVAL may not be used",)),
    ("~app:* +@all", "warning", "acl", ("not access every key",)),
])
def test_what_the_user_may_not_do(fleet: Fleet, source: Server, rules: str, severity: str, topic: str, words: tuple) -> None:
    side = fleet.server(Options(users={"app": f"on >secret {rules}"}))
    result = doctor("--target-user", "app", "--target-pass", "secret", source.endpoint, side.endpoint)
    one(result, severity, topic, *words)
    assert result.status == (TROUBLE if severity == "problem" else EQUAL)
    result.assert_silent_about("secret")


def test_a_wrong_password(fleet: Fleet, source: Server) -> None:
    side = fleet.server(Options(password="right"))
    result = doctor(source.endpoint, side.endpoint, "--target-pass", "wr0ng").expect(TROUBLE)
    finding = one(result, "problem", "reach", "WRONGPASS")
    assert finding["side"] == "target" and finding["advice"]
    result.assert_silent_about("wr0ng")


def test_psync_is_never_sent(source: Server, target: Server) -> None:
    for server in (source, target):
        server.command("CONFIG", "RESETSTAT")
    doctor(source.endpoint, target.endpoint).expect(EQUAL)
    for server in (source, target):
        used = set(server.admin().info("commandstats"))
        assert not {f"cmdstat_{name}" for name in ("psync", "sync", "replicaof", "slaveof")} & used
        assert server.admin().info("stats")["sync_full"] == 0


def test_eviction_on_the_target(fleet: Fleet, source: Server) -> None:
    side = fleet.server(Options(config={"maxmemory": "500mb", "maxmemory-policy": "volatile-ttl"}))
    finding = one(doctor(source.endpoint, side.endpoint).expect(EQUAL), "warning", "eviction", "volatile-ttl", "expiry")
    assert "noeviction" in finding["advice"]


def test_eviction_without_a_limit_is_none(fleet: Fleet, source: Server) -> None:
    side = fleet.server(Options(config={"maxmemory-policy": "allkeys-lru"}))
    result = doctor(source.endpoint, side.endpoint).expect(EQUAL)
    assert result.json["warnings"] == 0


def test_reading_flattens_the_lru_of_the_source(fleet: Fleet, target: Server) -> None:
    side = fleet.server(Options(config={"maxmemory": "500mb", "maxmemory-policy": "allkeys-lru"}))
    if side.binary.version >= (7, 2, 0):
        pytest.skip("this server has CLIENT NO-TOUCH")
    assert "replica" in one(doctor(side.endpoint, target.endpoint), "warning", "eviction", "allkeys-lru")["advice"]


def test_a_full_target(fleet: Fleet, source: Server) -> None:
    side = fleet.server(Options(config={"maxmemory": "1kb"}))
    one(doctor(source.endpoint, side.endpoint).expect(TROUBLE), "problem", "writes", "OOM")


def test_keys_that_are_there_already(source: Server, target: Server) -> None:
    data.load(target, data.plain(712, 123))
    finding = one(doctor(source.endpoint, target.endpoint).expect(EQUAL), "warning", "keys", "123 keys")
    assert finding["side"] == "target"


def test_databases(source: Server, fleet: Fleet, deployments: Deployments) -> None:
    data.load(source, data.plain(713, 10))
    data.load(source, data.plain(713, 10), db=3)
    data.load(source, data.plain(713, 10), db=9)
    small = fleet.server(Options(config={"databases": "4"}))
    result = doctor(source.endpoint, small.endpoint)
    one(result, "warning", "databases", "(3, 9)")
    assert "databases" in one(result, "warning", "databases", "not there: 9")["advice"]
    one(doctor(source.endpoint, deployments.get("target", "cluster").endpoint), "warning", "databases", "3, 9", "cluster")


def test_functions(fleet: Fleet, target: Server) -> None:
    side = fleet.server()
    side.command("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 1 end)")
    one(doctor(side.endpoint, target.endpoint).expect(EQUAL), "ok", "functions", "copied")


@pytest.mark.matrix
def test_functions_for_a_target_without(fleet: Fleet, matrix: Dict[str, Server]) -> None:
    side = fleet.server()
    side.command("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 1 end)")
    result = doctor(side.endpoint, matrix["redis-6.0"].endpoint).expect(EQUAL)
    assert "--no-functions" in one(result, "warning", "functions", "cannot have any")["advice"]


def test_no_server_but_something(source: Server) -> None:
    with Stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n") as stranger:
        finding = one(doctor(source.endpoint, stranger.endpoint).expect(TROUBLE), "problem", "reach", stranger.endpoint)
    assert finding["advice"]


def test_nothing_is_changed(source: Server, target: Server) -> None:
    data.load(source, data.mixed(714, 200))
    data.load(target, data.plain(714, 200))
    before = [(server.command("DEBUG", "DIGEST"), server.admin().info("stats")["expired_keys"],
               server.admin().info("replication")["master_repl_offset"]) for server in (source, target)]
    doctor(source.endpoint, target.endpoint).expect(EQUAL)
    assert before == [(server.command("DEBUG", "DIGEST"), server.admin().info("stats")["expired_keys"],
                       server.admin().info("replication")["master_repl_offset"]) for server in (source, target)]


@pytest.mark.matrix
def test_newer_and_foreign_versions(matrix: Dict[str, Server]) -> None:
    """A RESTORE on the target decides whether the target takes the source's payloads; doctor's opinion does not count.
    Either way the values cross; keys that the target cannot have are named."""
    for source in matrix.values():
        source.flush()
        source.command("SET", "string", "v")
        payload = source.command("DUMP", "string")
        for target in matrix.values():
            if source is target:
                continue
            target.flush()
            try:
                target.command("RESTORE", "string", 0, payload)
                takes = True
            except Exception:  # the client's own class of error
                takes = False
            result = doctor(source.endpoint, target.endpoint)
            pair = source.binary.name, target.binary.name
            assert bool(found(result, "note", "versions")) == (not takes), pair
            assert found(result, "problem", "versions") == [], pair
            said = " ".join(each["text"] for each in found(result, "warning", "versions"))
            for words, has in (("expiring fields", has_field_expiry), ("vector sets", has_vector_sets)):
                assert (words in said) == (has(source.binary) and not has(target.binary)), pair


# The needs of --mode live

def live(result: Result, severity: str, *words: str) -> Dict[str, Any]:
    return one(result, severity, "live", *words)


def of_user(fleet: Fleet, rules: str, side: str, other: Server, **options: Any) -> Result:
    """Doctor, with one side as a user of these rules."""
    server = fleet.server(Options(users={"app": f"on >secret {rules}"}, **options))
    ends = (server.endpoint, other.endpoint) if side == "source" else (other.endpoint, server.endpoint)
    return doctor(f"--{side}-user", "app", f"--{side}-pass", "secret", *ends).expect(EQUAL)


def test_live_with_nothing_in_its_way(source: Server, target: Server) -> None:
    result = doctor(source.endpoint, target.endpoint).expect(EQUAL)
    live(result, "ok", "CLIENT TRACKING")
    assert [each["severity"] for each in result.json["findings"] if each["topic"] == "live"] == ["ok"]
    said = result.json["source"]["nodes"][0]["live"]
    assert {said[name] for name in ("tracking", "subscribe", "group_events", "notifications")} == {"available"}
    assert said["counts_commands"] and said["counts_forks"] and said["pubsub_buffer_hard"] == 32 << 20
    said = result.json["target"]["nodes"][0]["live"]
    assert said == {"transaction": "available", "own_keys": "available"}


def test_live_leaves_nothing_behind(source: Server, target: Server) -> None:
    """Neither keys, nor clients that track or are subscribed."""
    doctor(source.endpoint, target.endpoint).expect(EQUAL)
    wait.until(lambda: source.admin().info("clients")["tracking_clients"] == 0, "the end of tracking")
    for server in (source, target):
        assert server.admin().pubsub_numpat() == 0 and server.admin().pubsub_channels() == []
        assert server.admin().dbsize() == 0


@pytest.mark.parametrize("rules, rule", [("resetchannels", "&longhaul:nobody"),
                                         ("allchannels -subscribe", "+subscribe &longhaul:nobody")])
def test_live_may_not_subscribe(fleet: Fleet, target: Server, rules: str, rule: str) -> None:
    result = of_user(fleet, f"~* +@all {rules}", "source", target)
    finding = live(result, "warning", "SUBSCRIBE longhaul:nobody", "--mode scan")
    assert "ACL SETUSER app" in finding["advice"] and rule in finding["advice"] and "allchannels" in finding["advice"]


def test_live_advice_about_channels_is_enough(fleet: Fleet, target: Server) -> None:
    """The rights that the two findings name, given to the user: both findings are gone."""
    result = of_user(fleet, "~* +@all resetchannels &longhaul:nobody", "source", target)
    finding = live(result, "note", "consumer groups")
    channels = [word for word in finding["advice"].split() if word.startswith("&")]
    assert len(channels) == 2
    result = of_user(fleet, f"~* +@all resetchannels &longhaul:nobody {' '.join(channels)}", "source", target)
    live(result, "ok", "CLIENT TRACKING")
    assert found(result, "note", "live") == found(result, "warning", "live") == []


@pytest.mark.parametrize("flags, severity, words", [
    ("", "warning", ("not possible", '""', "--mode scan")),
    ("Kg$", "warning", ("not possible", "CLIENT TRACKING is not allowed")),
    ("AE", "ok", ("keyspace notifications",)),
    ("KEg$lshzxet", "ok", ("keyspace notifications",)),
])
def test_live_without_tracking(fleet: Fleet, target: Server, flags: str, severity: str, words: tuple) -> None:
    config = {"notify-keyspace-events": f'"{flags}"'}
    finding = live(of_user(fleet, "~* &* +@all -client|tracking", "source", target, config=config), severity, *words)
    assert severity == "ok" or "notify-keyspace-events" in finding["advice"]


def test_live_without_tracking_and_config(fleet: Fleet, target: Server) -> None:
    """Only replicate finds out, by writing; doctor writes nothing, and says so."""
    live(of_user(fleet, "~* &* +@all -client|tracking -config", "source", target), "note", "replicate --mode live")


def test_live_without_tracking_and_channels(fleet: Fleet, target: Server) -> None:
    result = of_user(fleet, "~* +@all -client|tracking resetchannels", "source", target,
                     config={"notify-keyspace-events": "AE"})
    assert "&__keyevent@*__:*" in live(result, "warning", "not possible", "PSUBSCRIBE")["advice"]


def test_live_without_hello(fleet: Fleet, target: Server) -> None:
    side = fleet.server(Options(renamed={"hello": "secret-hello"}))
    live(doctor(side.endpoint, target.endpoint).expect(EQUAL), "warning", "not possible", "CLIENT TRACKING is not there")
    side.command("CONFIG", "SET", "notify-keyspace-events", "AE")
    live(doctor(side.endpoint, target.endpoint).expect(EQUAL), "ok", "keyspace notifications")


def test_live_one_primary_of_three(fleet: Fleet, target: Server) -> None:
    side = cluster.build(fleet, 3, 0)
    other = side.nodes[1]
    for node in side.nodes:
        node.command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
        node.command("CONFIG", "SET", "notify-keyspace-events", "AE" if node is not other else "KA")
    other.command("ACL", "SETUSER", "app", "-client|tracking")
    result = doctor("--source-user", "app", "--source-pass", "secret", side.endpoint, target.endpoint).expect(EQUAL)
    live(result, "warning", "not possible", str(other.port), '"AK"')


@pytest.mark.parametrize("rules, words", [
    ("-role", ("ROLE", "failover")), ("-object", ("OBJECT IDLETIME", "every key again"))])
def test_live_commands_of_the_source(fleet: Fleet, target: Server, rules: str, words: tuple) -> None:
    finding = one(of_user(fleet, f"~* &* +@all {rules}", "source", target), "note", "commands", *words)
    assert "ACL SETUSER app +" in finding["advice"]


def test_live_copies_all_after_gaps(fleet: Fleet, target: Server) -> None:
    side = fleet.server(Options(config={"maxmemory-policy": "allkeys-lfu"}))
    live(doctor(side.endpoint, target.endpoint).expect(EQUAL), "note", "LFU", "every key again")


@pytest.mark.matrix
def test_live_on_other_versions(matrix: Dict[str, Server], target: Server) -> None:
    for side in matrix.values():
        result = doctor(side.endpoint, target.endpoint)
        live(result, "ok", "CLIENT TRACKING")
        assert bool(found(result, "note", "live")) == (side.binary.version < (6, 2, 0)), str(result)


@pytest.mark.parametrize("limit, words", [
    ("pubsub 0 0 0", ("unlimited", "memory grows")), ("pubsub 200mb 0 0", ("hard 200", "memory grows")),
    ("pubsub 64kb 0 0", ("cuts --mode live off",)), ("pubsub 32mb 100kb 1", ("cuts --mode live off",))])
def test_live_buffer_limits(fleet: Fleet, target: Server, limit: str, words: tuple) -> None:
    side = fleet.server(Options(config={"client-output-buffer-limit": limit, "maxmemory": "500mb"}))
    assert "32mb" in live(doctor(side.endpoint, target.endpoint).expect(EQUAL), "warning", *words)["advice"]


def test_live_lease(fleet: Fleet, source: Server) -> None:
    """Either of EVAL and WATCH will do."""
    for rules in ("-eval", "-watch"):
        assert not found(of_user(fleet, f"~* &* +@all {rules}", "target", source), "warning")
    for rules in ("-eval -watch", "-eval -exec", "-eval -multi"):
        live(of_user(fleet, f"~* &* +@all {rules}", "target", source), "warning", "lease", "EXEC", "--mode scan")


def test_live_former_writers(fleet: Fleet, source: Server) -> None:
    result = of_user(fleet, "~* &* +@all -client|list -client|kill", "target", source)
    for name in ("list", "kill"):
        finding = one(result, "note", "commands", f"CLIENT {name.upper()}", "only the clock")
        assert f"ACL SETUSER app +client|{name}; on ElastiCache" in finding["advice"] and "access string" in finding["advice"]


def test_live_own_keys(fleet: Fleet, source: Server) -> None:
    finding = live(of_user(fleet, "~app:* &* +@all", "target", source), "warning", "longhaul:{...}:state")
    assert "~longhaul:*" in finding["advice"]
    result = of_user(fleet, "~app:* ~longhaul:* &* +@all", "target", source)
    assert not found(result, "warning", "live")
    one(result, "warning", "acl", "not access every key")
    rules = "+hset +hget +hgetall +hexists +hdel +set +get +del +pexpire +lindex +lrem"
    for rule in rules.replace(" +set ", " ").split():  # without SET nothing can be copied at all
        finding = live(of_user(fleet, f"~* &* +@all -{rule[1:]}", "target", source), "warning", "record", rule[1:])
        assert rules in finding["advice"]


def test_live_runs_with_the_advised_commands(fleet: Fleet, source: Server) -> None:
    """Of hashes, lists and strings no other commands than those of the advice, and those that write values."""
    advised = "+hset +hget +hgetall +hexists +hdel +set +get +del +pexpire +lindex +lrem"
    rules = f"~* &* +@all -@hash -@list -@string -pexpire {advised} +mset"
    target = fleet.server(Options(users={"app": f"on >secret {rules}"}))
    source.command("SET", "a", "1")
    with Live(source, target, "--target-user", "app", "--target-pass", "secret") as job:
        job.wait_live()
        source.command("SET", "a", "2")
        job.catch_up()
        assert target.command("GET", "a") == b"2"
        job.terminate().expect(EQUAL)
