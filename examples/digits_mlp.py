"""A multilayer perceptron reads the handwritten digits that ship with rushlight."""

import argparse

import rushlight as torch
import rushlight.nn.functional as F
from rushlight import nn
from rushlight.demo import load_digits
from rushlight.utils.data import DataLoader, TensorDataset


class MLP(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.hidden1 = nn.Linear(64, hidden)
        self.hidden2 = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, 10)
        self.dropout = nn.Dropout(0.2)

    def forward(self, images):
        x = images.flatten(1)  # (N, 1, 8, 8) -> (N, 64)
        x = self.dropout(F.relu(self.hidden1(x)))
        x = self.dropout(F.relu(self.hidden2(x)))
        return self.output(x)


def test(model, loader):
    """Share of the images that the model reads correctly."""
    model.eval()
    correct = total = 0
    with torch.no_grad():
        for images, labels in loader:
            correct += (model(images).argmax(dim=1) == labels).sum().item()
            total += len(labels)
    return correct / total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--hidden", type=int, default=128, help="width of the two hidden layers")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    train_images, train_labels, test_images, test_labels = load_digits()
    train_loader = DataLoader(TensorDataset(train_images, train_labels), batch_size=32, shuffle=True)
    test_loader = DataLoader(TensorDataset(test_images, test_labels), batch_size=256)

    model = MLP(args.hidden)
    print(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    for epoch in range(1, args.epochs + 1):
        model.train()
        running = 0.0
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
        print(f"epoch {epoch:3d}   loss {running / len(train_loader):.4f}   accuracy {test(model, test_loader):.2%}")

    print(f"held-out accuracy: {test(model, test_loader):.2%}")


if __name__ == "__main__":
    main()
