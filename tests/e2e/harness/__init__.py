"""The ground of the end-to-end tests: servers, clusters, faults, data, and an oracle that never asks longhaul.

    servers, cluster, sentinel, elasticache   real deployments on loopback
    data, debian                              their contents
    oracle, wire                              whether two deployments are equal, by the servers' own digests
    proxy, faults                             bad networks and other trouble
    run                                       longhaul itself
"""
