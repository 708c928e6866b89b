"""Inference with batches of one: ResNet-18, a transformer encoder, token-by-token generation with a cache."""

from benchmarks import models  # noqa: F401  (used by the cases)
from benchmarks.timing import Case

QUIET = "; torch.set_grad_enabled(False)"

CASES = [
    Case(
        "ResNet-18, 224 x 224",
        "net, x = models.resnet18(torch).eval(), torch.randn(1, 3, 224, 224)" + QUIET,
        "net(x)",
        floor=1.3,
        theirs=("net, x = (t.to(memory_format=torch.channels_last) for t in (net, x))",),
    ),
    Case(
        "transformer encoder, 6 layers of 256, 64 tokens",
        "net, x = models.transformer_encoder(torch).eval(), torch.randn(1, 64, 256)" + QUIET,
        "net(x)",
        floor=2,
    ),
    Case(
        "GPT, 4 layers of 128: 32 tokens one by one",
        "net, ids = models.gpt(torch).eval(), torch.randint(0, 96, (1, 16))" + QUIET,
        "models.decode(torch, net, ids, 32)",
        floor=3,
    ),
]

SHORT = """
Transformer encoder: nearly all of it is products of 64 rows, whose 19 MB of weights come from the third-level cache and
are split for the matrix unit in each call; weights kept in parts would have to be watched for changes. Token by token:
reading the weights (3.2 MB a token, at the 30 GB/s of the third-level cache) is half of the time at one thread; from
80,000 operations on two threads share a product, whose halves can stay in their second-level caches.
"""
