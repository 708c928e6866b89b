"""Gradient descent by hand: find the lowest point of a curved valley with nothing but autograd."""

import argparse

import rushlight as torch


def valley(p):
    """Rosenbrock's function: a curved valley with its lowest point, 0, at (1, 1)."""
    x, y = p
    return (1 - x) ** 2 + 20 * (y - x**2) ** 2


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=3000)
parser.add_argument("--lr", type=float, default=0.004, help="length of a step per unit of gradient")
args = parser.parse_args()

point = torch.tensor([-1.2, 1.0], requires_grad=True)

for step in range(args.steps + 1):
    value = valley(point)
    if step % max(1, args.steps // 10) == 0:
        x, y = point.tolist()
        print(f"step {step:5d}   f({x:7.4f}, {y:7.4f}) = {value.item():.6f}")

    value.backward()  # fills point.grad with the two derivatives
    with torch.no_grad():  # the update itself is not part of the function
        point -= args.lr * point.grad
    point.grad.zero_()  # backward() adds to .grad: start the next step from zero

print("found  ", point.detach())
print("lowest ", torch.tensor([1.0, 1.0]))
