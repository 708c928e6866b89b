"""The networks of the benchmarks, written once: each function takes the library and builds them with it."""


def mnist_cnn(torch):
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),  # 16 x 14 x 14
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),  # 32 x 7 x 7
        nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def autoencoder(torch):
    nn = torch.nn
    sizes = [784, 256, 64, 16]
    layers = [part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
    sizes.reverse()
    layers += [part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1], nn.Sigmoid())


def residual_block(torch, cin, cout, stride):
    """Two 3x3 convolutions beside a shortcut [He et al. 2016]."""
    nn, relu = torch.nn, torch.nn.functional.relu

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.norm1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
            self.conv2, self.norm2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
            self.shortcut = nn.Sequential()
            if stride != 1 or cin != cout:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout)
                )

        def forward(self, x):
            y = self.norm2(self.conv2(relu(self.norm1(self.conv1(x)))))
            return relu(y + self.shortcut(x))

    return Block()


def resnet32(torch):
    """A residual network for images of 32 x 32."""
    nn = torch.nn
    blocks = [
        residual_block(torch, *s)
        for s in [(16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
    ]
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def resnet18(torch):
    nn = torch.nn
    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    blocks = [residual_block(torch, a, b, 1 if a == b else 2) for a, b in zip(widths, widths[1:])]
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def gpt(torch, width=128, heads=4, layers=4, context=128, characters=96):
    """A decoder-only transformer; forward(ids, cache) also continues from the keys and values in `cache`."""
    nn, F = torch.nn, torch.nn.functional

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x, past=None):
            B, T, C = x.shape
            q, k, v = (t.view(B, T, heads, C // heads).transpose(1, 2) for t in self.qkv(x).split(C, dim=2))
            if past is not None:
                if past:
                    k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
                past[:] = [k, v]
            y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)  # (B, heads, T, C / heads)
            return self.output(y.transpose(1, 2).reshape(B, T, C))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = Attention()
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x, past=None):
            x = x + self.attention(self.norm1(x), past)
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.position = nn.Embedding(characters, width), nn.Embedding(context, width)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, characters)

        def forward(self, ids, cache=None):
            first = cache[0][0].size(2) if cache and cache[0] else 0
            x = self.token(ids) + self.position(torch.arange(first, first + ids.size(1)))
            for k, block in enumerate(self.blocks):
                x = block(x, cache[k] if cache is not None else None)
            return self.head(self.norm(x))  # (B, T, characters)

    return GPT()


def decode(torch, net, ids, count):
    """Extend ids (1, T) by `count` tokens, one at a time, the likeliest each time; keys and values are kept."""
    cache = [[] for _ in net.blocks]
    logits = net(ids, cache)
    for _ in range(count):
        ids = logits[:, -1:].argmax(-1)
        logits = net(ids, cache)
    return ids


def lstm_language_model(torch, characters=96, width=128, layers=2):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(characters, width)
            self.lstm = nn.LSTM(width, width, layers, batch_first=True)
            self.head = nn.Linear(width, characters)

        def forward(self, ids):
            return self.head(self.lstm(self.embed(ids))[0])

    return Model()


def transformer_encoder(torch, width=256, heads=8, layers=6):
    nn = torch.nn
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True)
    return nn.TransformerEncoder(layer, layers)


def step_of(torch, net, loss, *inputs):
    """A function that does one Adam step on loss(*inputs)."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        loss(*inputs).backward()
        optimizer.step()

    return step


def classifier_step(torch, net, shape, classes=10):
    F = torch.nn.functional
    x, y = torch.randn(*shape), torch.randint(0, classes, (shape[0],))
    return step_of(torch, net, lambda x, y: F.cross_entropy(net(x), y), x, y)


def language_step(torch, net, batch, length, characters=96):
    F = torch.nn.functional
    ids = torch.randint(0, characters, (batch, length + 1))

    def loss(ids):
        return F.cross_entropy(net(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())

    return step_of(torch, net, loss, ids)


def autoencoder_step(torch, batch=128):
    net, x = autoencoder(torch), torch.rand(batch, 784)
    return step_of(torch, net, lambda x: torch.nn.functional.mse_loss(net(x), x), x)


TRAINING = {  # name -> function(torch) that builds a step
    "MNIST CNN, batch 64": lambda torch: classifier_step(torch, mnist_cnn(torch), (64, 1, 28, 28)),
    "ResNet on 32 x 32, batch 32": lambda torch: classifier_step(torch, resnet32(torch), (32, 3, 32, 32)),
    "GPT, 4 layers of 128, 16 x 128": lambda torch: language_step(torch, gpt(torch), 16, 128),
    "GPT, 4 layers of 384, 8 x 128": lambda torch: language_step(torch, gpt(torch, 384, 6), 8, 128),
    "LSTM language model, 32 x 64": lambda torch: language_step(torch, lstm_language_model(torch), 32, 64),
    "autoencoder, batch 128": autoencoder_step,
}
