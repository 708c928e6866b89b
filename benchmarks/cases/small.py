"""Training a very small network: an MLP 64-64-64-10 with ReLU on batches of 32."""

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


FORWARD = "net, (x, y) = mlp(torch), batch(torch)"

CASES = [
    Case("MLP forward, no_grad", FORWARD + "; torch.set_grad_enabled(False)", "net(x)"),
    Case("MLP forward", FORWARD, "net(x)"),
    Case(
        "MLP forward and backward",
        FORWARD + "; f = torch.nn.functional.cross_entropy",
        "net.zero_grad(); f(net(x), y).backward()",
    ),
    Case("MLP SGD step", "step = train_step(torch, 'SGD', lr=0.01)", "step()"),
    Case("MLP SGD step, momentum", "step = train_step(torch, 'SGD', lr=0.01, momentum=0.9)", "step()"),
    Case("MLP Adam step", "step = train_step(torch, 'Adam', lr=1e-3)", "step()", limit=120e-6),
]
