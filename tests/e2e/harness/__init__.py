"""What the end-to-end tests stand on: servers, clusters, faults, data, and an oracle that never asks longhaul.

    servers, cluster, sentinel, elasticache   real deployments on loopback
    data, debian                              what is in them
    oracle, wire                              whether two deployments are equal, by the servers' own digests
    proxy, faults                             what goes wrong in between
    run                                       longhaul itself
"""
