"""Servers that refuse the commands that Amazon ElastiCache refuses.

Whole commands are renamed away to secret names, so that a client gets the "unknown command" that it gets there; the
refused subcommands of ACL and CLUSTER are taken from its user. Harness and oracle use the secret names.
The list is that of node-based caches in the ElastiCache user guide, "Supported and restricted commands".
"""
from __future__ import annotations

import copy
from typing import Optional

from .servers import Options

COMMANDS = ("bgrewriteaof", "bgsave", "config", "debug", "migrate", "psync", "replicaof", "save", "shutdown", "slaveof",
            "sync")
SUBCOMMANDS = ("acl|setuser", "acl|load", "acl|save", "acl|deluser", "cluster|addslots", "cluster|addslotsrange",
               "cluster|bumpepoch", "cluster|delslots", "cluster|delslotsrange", "cluster|failover",
               "cluster|flushslots", "cluster|forget", "cluster|links", "cluster|meet", "cluster|setslot")


def options(base: Optional[Options] = None) -> Options:
    """The same server as ElastiCache would have it. PSYNC is gone, so such servers have no replicas here."""
    made = copy.deepcopy(base) if base else Options()
    made.renamed = {command: f"secret-{command}" for command in COMMANDS}
    made.default_user += "".join(f" -{name}" for name in SUBCOMMANDS)
    made.config.setdefault("maxmemory-policy", "volatile-lru")
    return made
