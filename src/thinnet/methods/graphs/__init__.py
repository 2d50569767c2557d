"""Methods whose coin decides an edge or a node of a graph."""

from thinnet.methods.facts import Method
from thinnet.methods.graphs import drop_edge, drop_node, drop_nodes

METHODS: tuple[Method, ...] = (
    Method(drop_edge.FACTS, drop_edge.DropEdge, drop_edge.drop_edge),
    Method(
        drop_node.FACTS,
        drop_node.DropNode,
        drop_node.drop_node,
        lambda x: drop_node.drop_node(x, 0.3, training=True),
    ),
    Method(drop_nodes.FACTS, drop_nodes.DropNodes, drop_nodes.drop_nodes),
)
