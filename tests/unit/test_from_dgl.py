"""The page for people who come from DGL says of each name of ``dgl.distributed`` what to write here."""

import re

import mpignn
from mpirun import ROOT

PAGE = (ROOT / "docs" / "from-dgl.md").read_text()
# What dgl.distributed of DGL 2.1 has for scripts, its classes' methods, and what its examples use beside it.
NAMES = """
initialize exit_client DistDataLoader DistGraph DistGraphServer node_split edge_split DistTensor GraphPartitionBook
BasicPartitionBook RangePartitionBook PartitionPolicy sample_neighbors sample_etype_neighbors in_subgraph find_edges
KVClient KVServer DistEmbedding dgl_partition_to_graphbolt load_partition load_partition_book load_partition_feats
partition_graph rpc connect_to_server start_server ServerState DistNodeDataLoader DistEdgeDataLoader NodeCollator
EdgeCollator SparseAdam SparseAdagrad local_partition nodes edges ndata edata idtype device is_pinned ntypes etypes
canonical_etypes to_canonical_etype get_ntype_id get_etype_id number_of_nodes number_of_edges num_nodes num_edges
out_degrees in_degrees node_attr_schemes edge_attr_schemes rank edge_subgraph get_partition_book
get_node_partition_policy get_edge_partition_policy barrier edge_ids shared_memory num_partitions metadata nid2partid
eid2partid partid2nids partid2eids nid2localnid eid2localeid partid map_to_per_ntype map_to_per_etype map_to_homo_nid
map_to_homo_eid kvstore_key part_policy shape dtype name tensor_name count_nonzero local_state_dict
load_local_state_dict save load step zero_grad reset_trace num_embeddings embedding_dim optm_state weight push pull
register_push_handler init_data MultiLayerNeighborSampler MultiLayerFullNeighborSampler NeighborSampler BlockSampler
LaborSampler as_edge_prediction_sampler Uniform PerSourceUniform GlobalUniform ShaDowKHopSampler ClusterGCNSampler
SAINTSampler SpotTarget num_workers reverse_eids reverse_etypes exclude negative_sampler collate dataset to_block
create_block NID EID srcdata dstdata update_all multi_update_all apply_edges local_scope num_dst_nodes num_src_nodes
edge_softmax SAGEConv GraphConv GATConv GINConv RelGraphConv HeteroGraphConv save_graphs seed DistributedDataParallel
init_process_group join launch.py ip_config.txt copy_files.py dispatch_data.py chunk_graph.py verify_partitions.py
num_trainers num_servers num_samplers DGL_ROLE DGL_DIST_MODE DGL_NUM_SERVER DGL_CONF_PATH
"""


def test_each_name_of_dgl_stands_in_the_first_column_of_a_table():
    first = "\n".join(row.split(" | ")[0] for row in PAGE.splitlines() if row.startswith("| `"))
    words = set(re.findall(r"[A-Za-z_]\w*(?:\.py|\.txt)?", first))
    assert len(NAMES.split()) > 140 and [name for name in NAMES.split() if name not in words] == []


def test_names_that_are_said_to_be_the_same_are():
    same = {"DistGraph": "num_nodes num_edges number_of_nodes number_of_edges ntypes etypes canonical_etypes "
                         "in_degrees out_degrees find_edges edge_ids local_partition edge_subgraph ndata edata",
            "DistTensor": "local_partition count_nonzero",
            "RangePartitionBook": "num_partitions metadata nid2partid eid2partid partid2nids partid2eids nid2localnid "
                                  "eid2localeid map_to_per_ntype map_to_per_etype map_to_homo_nid map_to_homo_eid "
                                  "to_canonical_etype ntypes etypes canonical_etypes",
            "SparseAdam": "step zero_grad save load state_dict load_state_dict",
            "Block": "num_dst_nodes num_src_nodes num_edges edges to update_all multi_update_all apply_edges local_var"}
    for kind, names in same.items():
        missing = [name for name in names.split() if not hasattr(getattr(mpignn, kind), name)]
        assert missing == [], kind
