"""Linear regression: recover slope and intercept from noisy points with nn.Linear and SGD."""

import argparse

import rushlight as torch
from rushlight import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=200)
parser.add_argument("--lr", type=float, default=0.02)
args = parser.parse_args()

torch.manual_seed(0)
true_slope, true_intercept = 3.0, -1.5
x = torch.rand(200, 1) * 4 - 2
y = true_slope * x + true_intercept + 0.3 * torch.randn(200, 1)

model = nn.Linear(1, 1)
loss_function = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)

for epoch in range(1, args.epochs + 1):
    loss = loss_function(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch == 1 or epoch % max(1, args.epochs // 10) == 0:
        print(f"epoch {epoch:4d}   loss {loss.item():.4f}")

# Least squares has an exact answer too: slope = cov(x, y) / var(x).
exact_slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
exact_intercept = y.mean() - exact_slope * x.mean()
print("           slope   intercept")
print(f"trained   {model.weight.item():6.3f}   {model.bias.item():6.3f}")
print(f"exact     {exact_slope.item():6.3f}   {exact_intercept.item():6.3f}")
print(f"true      {true_slope:6.3f}   {true_intercept:6.3f}")
