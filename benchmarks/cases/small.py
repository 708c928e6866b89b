"""Training of very small things: one number, a chain of operators, an MLP 64-64-64-10 on batches of 32, an LSTM."""

from benchmarks.timing import Case


def mlp(torch):
    nn = torch.nn
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def batch(torch):
    return torch.randn(32, 64), torch.randint(0, 10, (32,))


def train_step(torch, optimizer_name, **options):
    """A function that does one step of training on the same batch."""
    net, (x, y) = mlp(torch), batch(torch)
    loss_function = torch.nn.CrossEntropyLoss()
    optimizer = getattr(torch.optim, optimizer_name)(net.parameters(), **options)

    def step():
        optimizer.zero_grad()
        loss = loss_function(net(x), y)
        loss.backward()
        optimizer.step()

    return step


def chain(x):
    """A hundred operators, one after the other."""
    for _ in range(25):
        x = ((x * 1.01 + 0.1).tanh()) - 0.05
    return x


FORWARD = "net, (x, y) = mlp(torch), batch(torch)"
RNN = "net, x = torch.nn.{}(32, 32), torch.randn(50, 4, 32)"

CASES = [
    Case(
        "scalar gradient step",
        "x, lr = torch.tensor(3.0, requires_grad=True), 0.1",
        "y = x**2; y.backward(); x.data -= lr * x.grad; x.grad.zero_()",
        floor=15,
        limit=3e-6,
    ),
    Case(
        "chain of 100 operators, forward and backward",
        "x = torch.rand(8, requires_grad=True)",
        "chain(x).sum().backward()",
        floor=6,
    ),
    Case("MLP forward, no_grad", FORWARD + "; torch.set_grad_enabled(False)", "net(x)", floor=2),
    Case("MLP forward", FORWARD, "net(x)", floor=2),
    Case(
        "MLP forward and backward",
        FORWARD + "; f = torch.nn.functional.cross_entropy",
        "net.zero_grad(); f(net(x), y).backward()",
        floor=2,
    ),
    Case("MLP SGD step", "step = train_step(torch, 'SGD', lr=0.01)", "step()", floor=5),
    Case(
        "MLP SGD step, momentum", "step = train_step(torch, 'SGD', lr=0.01, momentum=0.9)", "step()", floor=5
    ),
    Case("MLP Adam step", "step = train_step(torch, 'Adam', lr=1e-3)", "step()", floor=8, limit=120e-6),
    Case(
        "LSTM(32), 50 steps, no_grad",
        RNN.format("LSTM") + "; torch.set_grad_enabled(False)",
        "net(x)",
        floor=4,
    ),
    *[
        Case(
            f"{kind}(32), 50 steps, forward and backward",
            RNN.format(kind),
            "net.zero_grad(); net(x)[0].sum().backward()",
            floor=4,
        )
        for kind in ("LSTM", "GRU", "RNN")
    ],
]

SHORT = """
LSTM without gradients: 50 steps that depend on one another, 1.4 us each at one thread; which part of a step takes how
long has not been measured.
"""
