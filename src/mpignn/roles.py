"""Who serves and who trains: a pure function of ranks, nodes and options.

Shapes: R ranks.
"""

import enum
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mpignn.errors import ConfigError


class Role(enum.Flag):
    """What a rank does; one rank may do both."""

    SERVER = enum.auto()
    TRAINER = enum.auto()


BOTH = Role.SERVER | Role.TRAINER


def group_nodes(node_of_rank: Sequence[int], ranks_per_node: int | None) -> tuple[int, ...]:
    """Cut each node's ranks into simulated nodes of ``ranks_per_node``, in order of rank.

    Args:
        node_of_rank: (R,) physical node of each rank, any integers.
        ranks_per_node: Ranks that shall see each other's memory; None leaves the nodes whole.

    Returns:
        (R,) node numbers from 0, in order of first appearance.
    """
    if ranks_per_node is not None and ranks_per_node < 1:
        raise ConfigError(f"ranks-per-node is {ranks_per_node}; it must be at least 1")
    seen: dict[int, int] = {}
    numbers: dict[tuple[int, int], int] = {}
    nodes = []
    for node in node_of_rank:
        place = seen.get(node, 0)
        seen[node] = place + 1
        group = (node, 0 if ranks_per_node is None else place // ranks_per_node)
        nodes.append(numbers.setdefault(group, len(numbers)))
    return tuple(nodes)


def assign_roles(node_of_rank: Sequence[int], servers_per_node: int | None = None,
                 server_nodes: int | None = None) -> tuple[Role, ...]:
    """The role of each rank.

    Args:
        node_of_rank: (R,) node of each rank.
        servers_per_node: Dedicated servers on each node, its first ranks; 0 makes every rank both.
            None: one dedicated server on each node, but a node with a single rank is both.
        server_nodes: Only the first so many nodes serve, on the others all ranks train; None: all nodes serve.

    Returns:
        (R,) roles.

    Raises:
        ConfigError: A node has fewer ranks than servers, more nodes shall serve than there are, or no trainer is left.
    """
    if servers_per_node is not None and servers_per_node < 0:
        raise ConfigError(f"servers-per-node is {servers_per_node}; it must be 0 or more")
    on_node: dict[int, int] = {}
    for node in node_of_rank:
        on_node[node] = on_node.get(node, 0) + 1
    if server_nodes is not None and not 1 <= server_nodes <= len(on_node):
        raise ConfigError(f"server-nodes is {server_nodes}; it must be in 1..{len(on_node)}, the nodes of the job")
    serving = set(list(on_node)[:server_nodes])
    place: dict[int, int] = {}
    roles = []
    for node in node_of_rank:
        if node not in serving:
            roles.append(Role.TRAINER)
            continue
        index = place.get(node, 0)
        place[node] = index + 1
        servers = servers_per_node if servers_per_node is not None else min(1, on_node[node] - 1)
        if servers > on_node[node]:
            raise ConfigError(f"servers-per-node is {servers}, but node {node} has {on_node[node]} ranks: "
                              "start more ranks or ask for fewer servers")
        roles.append(BOTH if servers == 0 else Role.SERVER if index < servers else Role.TRAINER)
    if not any(Role.TRAINER in role for role in roles):
        raise ConfigError(f"all {len(roles)} ranks are servers and none is left to train: start more ranks, "
                          "or use --servers-per-node 0 to let every rank do both")
    return tuple(roles)


@dataclass(frozen=True)
class Topology:
    """Where every rank of the job sits and what it does.

    Servers and trainers are numbered by node first and rank second, so that the servers of a node are
    consecutive.
    """

    node_of_rank: tuple[int, ...]
    roles: tuple[Role, ...]

    @cached_property
    def nodes(self) -> range:
        """Numbers of the nodes of the job."""
        return range(max(self.node_of_rank) + 1)

    @cached_property
    def server_ranks(self) -> tuple[int, ...]:
        """World rank of each server."""
        return self._ranks(Role.SERVER)

    @cached_property
    def trainer_ranks(self) -> tuple[int, ...]:
        """World rank of each trainer."""
        return self._ranks(Role.TRAINER)

    def servers_of(self, node: int) -> tuple[int, int]:
        """First server of a node, and one past its last."""
        return self._of_node(self.server_ranks, node)

    def trainers_of(self, node: int) -> tuple[int, int]:
        """First trainer of a node, and one past its last."""
        return self._of_node(self.trainer_ranks, node)

    def copy_groups(self, width: int) -> tuple[tuple[int, int], ...]:
        """Which servers hold a copy of what is replicated, for each node: first server, and one past the last.

        Args:
            width: Nodes that share a copy.  Nodes with servers are cut, in order, into even groups of at least so
                many; a node without servers reads from the group of the last serving node before it.
        """
        spans = [self.servers_of(node) for node in self.nodes]
        serving = [span for span in spans if span[0] < span[1]]
        groups = max(1, len(serving) // width)
        cuts = [serving[-(-len(serving) * group // groups)][0] for group in range(groups)] + [len(self.server_ranks)]
        which = [max(0, bisect_right(cuts, max(0, last - 1)) - 1) for _, last in spans]
        return tuple((cuts[group], cuts[group + 1]) for group in which)

    def _ranks(self, role: Role) -> tuple[int, ...]:
        chosen = [r for r, have in enumerate(self.roles) if role in have]
        return tuple(sorted(chosen, key=lambda r: (self.node_of_rank[r], r)))

    def _of_node(self, ranks: tuple[int, ...], node: int) -> tuple[int, int]:
        return (bisect_left(ranks, node, key=self.node_of_rank.__getitem__),
                bisect_right(ranks, node, key=self.node_of_rank.__getitem__))
