"""Whole training steps: a convolutional network on images of MNIST's size, and a small GPT."""

import math

from benchmarks.timing import Case


def stepper(torch, net, x, y):
    """A function that does one Adam step of net on (x, y); the classes are the second dimension of net(x)."""
    loss_function = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        loss_function(net(x), y).backward()
        optimizer.step()

    return step


def cnn_step(torch, batch=64):
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),  # 16 x 14 x 14
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),  # 32 x 7 x 7
        nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    return stepper(torch, net, torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,)))


def gpt_step(torch, characters=64, width=64, heads=4, layers=2, context=64, batch=16):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
            self.register_buffer("past", torch.tril(torch.ones(context, context)) == 1)

        def forward(self, x):
            B, T, C = x.shape
            q, k, v = self.qkv(self.norm1(x)).split(C, dim=2)
            q, k, v = (t.view(B, T, heads, C // heads).transpose(1, 2) for t in (q, k, v))
            scores = (q @ k.transpose(-2, -1) / math.sqrt(C // heads)).masked_fill(~self.past, float("-inf"))
            x = x + self.output((scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, C))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.position = nn.Embedding(characters, width), nn.Embedding(context, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, characters)

        def forward(self, ids):
            x = self.token(ids) + self.position(torch.arange(ids.size(1)))
            return self.head(self.norm(self.blocks(x))).transpose(1, 2)  # (B, characters, T)

    ids = torch.randint(0, characters, (batch, context + 1))
    return stepper(torch, GPT(), ids[:, :-1], ids[:, 1:])


CASES = [
    Case("CNN step, batch 64 of 28 x 28", "step = cnn_step(torch)", "step()"),
    Case("GPT step, 2 layers, 16 x 64 tokens", "step = gpt_step(torch)", "step()"),
]
