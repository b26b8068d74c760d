"""The deletion guard of a live job, rule by rule: which deletions are counted together, which hold an order releases, and
which processes of the source may order anything."""
from __future__ import annotations

import json
from typing import Any, Dict, List

from conftest import Deployments
from harness import data, oracle, wait
from harness.live import Live
from harness.run import EQUAL
from harness.servers import Fleet, Server

POLL = ("--poll", "250ms")
LONG_LEASE = ("--lease", "60s")  # for jobs that are paused
SLOW_SCANS = ("--sleep", "200ms")  # two orders are followed within one sweep


def fill(server: Server, n: int, db: int = 0) -> List[bytes]:
    """About a thousand may go in any case, and a tenth of the keys."""
    keys = [b"k:%d" % i for i in range(n)]
    server.admin(db=db).mset({key: key for key in keys})
    return keys


def delete_unheard(live: Live, node: Server, keys: List[bytes], *more: Any) -> None:
    """Keys of one server go while the job does not listen to it: their deletions are only concluded, after the gap."""
    live.pause()
    node.command("CLIENT KILL", "TYPE", "pubsub")
    with node.wire() as wire:
        wire.batch([("DEL", key) for key in keys], window=100)
    if more:
        node.command(*more)
    live.resume()


def there(server: Server, keys: List[bytes]) -> int:
    return int(server.command("EXISTS", *keys))  # type: ignore[call-overload]


def wait_held(live: Live, *deletions: int) -> Dict[str, Any]:
    """Until there are exactly these holds, and no others."""
    return live.wait_status(lambda job: sorted(hold["deletions"] for hold in job["holds"]) == sorted(deletions),
                            f"holds of {deletions} deletions", 60)


def ids(said: Dict[str, Any]) -> Dict[int, str]:
    return {hold["deletions"]: hold["id"] for hold in said["holds"]}


def test_deletions_of_several_gaps_count_together(deployments: Deployments, target: Server) -> None:
    """Each time they are few, and the server's process is the one that it was. As long as anything is not proved (here
    for another server's sake), all that this server has lost counts. Both holds outlive a restart, whatever would be few
    for the next process; an order about another hold releases none; both orders are followed, also during one sweep."""
    source = deployments.get("source", "cluster")
    data.load(source, data.plain(407, 12_000, expiring=0))
    one, other = source.primaries()[:2]
    keys, lost = sorted(one.admin().keys()), sorted(other.admin().keys())[:2000]
    with Live(source, target, *POLL, *LONG_LEASE, *SLOW_SCANS) as live:
        live.wait_live()
        delete_unheard(live, other, lost)
        wait_held(live, 2000)
        delete_unheard(live, one, keys[:700])
        wait.until(lambda: there(target, keys[:700]) == 0, "a few deletions without a question", 30)
        delete_unheard(live, one, keys[700:1400])
        held = ids(wait_held(live, 2000, 700))
        order = {"id": "1-1", "kind": "release", "hold": "1-99", "given_us": 1}
        target.command("RPUSH", "longhaul:{%s}:order" % live.status()["job"], json.dumps(order))
        wait.until(lambda: "an order to release hold 1-99 is ignored" in live.stderr(), "the order to be read", 30)
        live.terminate()
        live.start()
        live.wait_status(lambda job: job["alive"] and job["phase"] == "held" and
                         0 < sum(gap["slots"] for gap in job["gaps"]) < 16384, "the third server's slots to be swept", 60)
        assert ids(wait_held(live, 2000, 700)) == held
        assert there(target, keys[700:1400]) == 700 and there(target, lost) == 2000
        live.release().expect(EQUAL)
        live.wait_live(60)
        oracle.assert_equal(source, target, at_least=8000)


def test_more_than_were_held_are_held_anew(fleet: Fleet, target: Server) -> None:
    """The operator has agreed to as many as the hold said."""
    source = fleet.server()
    keys = fill(source, 4000)
    with Live(source, target, *POLL, *LONG_LEASE) as live:
        live.wait_live()
        delete_unheard(live, source, keys[:2000])
        first = ids(wait_held(live, 2000))
        delete_unheard(live, source, keys[2000:2500])
        live.wait_status(lambda job: live.stderr().count("change stream lost") == 2, "the second gap")
        source.command("SET", "after", "1")
        wait.until(lambda: there(target, [b"after"]), "changes to be followed again", 30)
        assert ids(wait_held(live, 2000)) == first
        live.release().expect(EQUAL)
        assert ids(wait_held(live, 2500))[2500] != first[2000]
        assert there(target, keys) == 4000
        live.release().expect(EQUAL)
        live.wait_live(60)
        oracle.assert_equal(source, target, at_least=1500)


def test_an_order_of_one_database_says_nothing_of_another(fleet: Fleet, target: Server) -> None:
    """One is flushed, and keys of the other are gone, in the same gap of a server that may order deletions."""
    source = fleet.server()
    keys, others = fill(source, 4000), fill(source, 300, db=1)
    with Live(source, target, *POLL, *LONG_LEASE, "--databases", "0,1") as live:
        live.wait_live()
        live.catch_up()
        live.pause()
        source.command("CLIENT KILL", "TYPE", "pubsub")
        source.command("FLUSHDB", db=1)
        source.command("DEL", *keys[:2000])
        live.resume()
        wait_held(live, 2000)
        wait.until(lambda: target.command("EXISTS", *others, db=1) == 0, "the order to be followed", 30)
        assert there(target, keys) == 4000


def test_a_stranger_orders_nothing(fleet: Fleet, target: Server) -> None:
    """The source came back empty. Whatever is flushed there now says nothing about the copy of what it was."""
    source = fleet.server()
    keys = fill(source, 3000)
    with Live(source, target, *POLL, *LONG_LEASE) as live:
        live.wait_live()
        live.catch_up()
        source.restart(keep=False)
        wait_held(live, 3000)
        source.command("SET", "new", "1")
        wait.until(lambda: there(target, [b"new"]), "changes to be followed", 30)
        for command in ("FLUSHALL", "FLUSHDB"):
            asked = calls(source, "info")
            source.command(command)
            wait.until(lambda: calls(source, "info") >= asked + 3, "the empty database to be seen", 30)
            source.command("SET", command, "1")
            wait.until(lambda: there(target, [command.encode()]), "changes behind the flush", 30)
        assert there(target, keys) == 3000 and live.status()["phase"] == "held"


def test_a_sweep_from_before_a_stranger_gives_it_no_trust(fleet: Fleet, target: Server) -> None:
    """Nearly all keys were asked for before the source came back empty: that this sweep finds little missing is said of
    the former process. Each scan rests after its first page, which has nearly all keys."""
    source = fleet.server()
    keys = fill(source, 1000)
    with Live(source, target, *POLL, *LONG_LEASE, "--scan-count", "980", "--sleep", "3s") as live:
        live.wait_live(60)
        source.command("CONFIG", "RESETSTAT")
        delete_unheard(live, source, [])
        wait.until(lambda: calls(source, "exists") >= 900, "the first page of the sweep to be asked for", 60)
        source.restart(keep=False)
        said = live.wait_status(lambda job: job["holds"], "a hold", 60)
        assert said["holds"][0]["deletions"] > 900 and there(target, keys) == 1000


def calls(server: Server, command: str) -> int:
    return int(server.admin().info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))
