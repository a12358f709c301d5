"""Hosts on a cluster, through Ray: the launcher in the service, its clerk, and what runs on the nodes.

    service                        clerk                      a node of the cluster
    launcher.RayLauncher  ──pipe── clerk, a Ray driver ──Ray── host.HostActor ── the agent ── the program
                                                                                  │
            the API, S3  ←──────────────────── HTTP ──────────────────────────────┘

Ray decides on which nodes the hosts of an attempt run (a placement group) and starts one actor there for each. The
actor starts the agent, as the local launcher does, and holds the other end of its lease. Everything else goes between
agent and service, as with any launcher.

The clerk is a process of its own because a Ray driver must not live in a service: the process is ended when Ray's head
is away for a minute, and most of Ray's calls block. When the clerk dies, the launcher starts another one. Nothing is
lost: groups and actors are detached and have names.
"""
