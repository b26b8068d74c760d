"""Real input: this machine's own package database as keys of every type.

    package:NAME   hash      the fields of its control record
    depends:NAME   set       the packages it needs
    about:NAME     string    the description
    files:NAME     list      its files, in order
    section:NAME   zset      packages by installed size
    sum:PATH       string    the MD5 sum of a file
    folder:PATH    set       the files of a folder
    installed      stream    packages in the order in which they were unpacked
"""
from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Dict, Iterator, List, Set

from .data import Item

DATABASE = Path("/var/lib/dpkg")


def _records(path: Path) -> Iterator[Dict[str, str]]:
    for block in path.read_text(errors="surrogateescape").split("\n\n"):
        fields = re.findall(r"^([A-Za-z0-9-]+):[ \t]?((?:.*)(?:\n[ \t].*)*)", block, re.M)
        if fields:
            yield dict(fields)


def _raw(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def items(database: Path = DATABASE) -> Iterator[Item]:
    records = list(_records(database / "status"))
    yield from _of_records(records)
    yield from _of_files(database / "info")
    yield _history(records, database / "info")


def _of_records(records: List[Dict[str, str]]) -> Iterator[Item]:
    sections: Dict[str, List[object]] = defaultdict(list)
    for record in records:
        name = _raw(record["Package"])
        yield Item(b"package:" + name, [("HSET", b"package:" + name, *(
            _raw(part) for field in record.items() for part in field))])
        if record.get("Description"):
            yield Item(b"about:" + name, [("SET", b"about:" + name, _raw(record["Description"]))])
        needed = sorted(set(re.findall(r"[a-z0-9][a-z0-9+.-]+(?=[ ,|:(]|$)", record.get("Depends", ""))))
        if needed:
            yield Item(b"depends:" + name, [("SADD", b"depends:" + name, *needed)])
        sections[record.get("Section", "none")] += [int(record.get("Installed-Size", 0)), name]
    for section, members in sections.items():
        key = b"section:" + _raw(section)
        yield Item(key, [("ZADD", key, *members)])  # type: ignore[list-item]


def _of_files(info: Path) -> Iterator[Item]:
    folders: Dict[bytes, Set[bytes]] = defaultdict(set)
    for path in sorted(info.glob("*.list")):
        lines = path.read_bytes().splitlines()
        key = b"files:" + _raw(path.stem)
        if lines:
            yield Item(key, [("RPUSH", key, *lines)])
        for line in lines:
            folder, _, name = line.rpartition(b"/")
            folders[folder].add(name)
    for folder, names in folders.items():
        yield Item(b"folder:" + folder, [("SADD", b"folder:" + folder, *sorted(names))])
    for path in sorted(info.glob("*.md5sums")):
        for line in path.read_bytes().splitlines():
            value, _, name = line.partition(b"  ")
            yield Item(b"sum:/" + name, [("SET", b"sum:/" + name, value)])


def _history(records: List[Dict[str, str]], info: Path) -> Item:
    def unpacked(name: str) -> int:
        lists = [*info.glob(f"{name}.list"), *info.glob(f"{name}:*.list")]
        return int(lists[0].stat().st_mtime) if lists else 0
    times = sorted((unpacked(record["Package"]), record["Package"], record["Version"]) for record in records
                   if "Version" in record)
    return Item(b"installed", [("XADD", "installed", f"{when + 1}-{index}", "package", name, "version", version)
                               for index, (when, name, version) in enumerate(times)])
