"""Sparse tensors: a graph of 20,000 nodes and 200,000 edges, and an embedding of which a step uses 2,048 rows."""

from benchmarks.timing import Case

NODES, EDGES = 20_000, 200_000


def graph(torch):
    """The adjacency matrix with random weights, coalesced."""
    indices, weights = torch.randint(0, NODES, (2, EDGES)), torch.randn(EDGES)
    return torch.sparse_coo_tensor(indices, weights, (NODES, NODES), check_invariants=True).coalesce()


def embedding_step(torch, optimizer_name):
    """A function that does one step of training of the rows in use."""
    net, ids = torch.nn.Embedding(100_000, 64, sparse=True), torch.randint(0, 100_000, (64, 32))
    optimizer = getattr(torch.optim, optimizer_name)(list(net.parameters()), lr=0.1)

    def step():
        optimizer.zero_grad()
        net(ids).sum().backward()
        optimizer.step()

    return step


GRAPH = "a, x = graph(torch), torch.randn(20_000, 64)"
CASES = [
    Case("coalesce 200,000 elements", GRAPH + "; b = a + a.t()", "b.coalesce()"),
    Case("coo @ dense (64 columns)", GRAPH, "a @ x"),
    Case("csr @ dense (64 columns)", GRAPH + "; a = a.to_sparse_csr()", "a @ x"),
    Case("coo @ vector", GRAPH + "; v = x[:, 0].contiguous()", "a @ v"),
    Case("coo + coo", GRAPH + "; b = graph(torch)", "a + b"),
    Case("to_sparse, 1000 x 1000", "x = torch.rand(1000, 1000); x = x * (x < 0.05)", "x.to_sparse()"),
    Case("sparse embedding, SGD", "step = embedding_step(torch, 'SGD')", "step()"),
    Case("sparse embedding, SparseAdam", "step = embedding_step(torch, 'SparseAdam')", "step()"),
]
