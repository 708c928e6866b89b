"""A convolutional network tells shirts from sneakers: Fashion-MNIST, read from its four IDX files."""

import argparse
import gzip
import sys
import time
from pathlib import Path

import numpy as np

import rushlight as torch
import rushlight.nn.functional as F
from rushlight import nn
from rushlight.utils.data import DataLoader, TensorDataset

FOLDER = "/usr/share/datasets/fashion-mnist"  # where Debian's package dataset-fashion-mnist puts the files
CLASSES = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]


def read_idx(path):
    """Read one IDX file: two zero bytes, type 8 (uint8), the number of dimensions, each size, then the values."""
    with gzip.open(path, "rb") as file:
        data = file.read()
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of bytes")
    rank = data[3]
    shape = np.frombuffer(data, dtype=">u4", count=rank, offset=4).tolist()
    return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)


def load(folder, part, count):
    """The first count images and labels of "train" or "t10k" as a dataset; images are (N, 1, 28, 28), 0 to 1."""
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")[:count]
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")[:count]
    images = torch.from_numpy(images.astype(np.float32) / 255).unsqueeze(1)
    return TensorDataset(images, torch.from_numpy(labels.astype(np.int64)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(32 * 7 * 7, 128)
        self.output = nn.Linear(128, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))  # (N, 16, 14, 14)
        x = self.pool(F.relu(self.conv2(x)))  # (N, 32, 7, 7)
        x = F.relu(self.hidden(x.flatten(1)))
        return self.output(x)


def confusion(model, loader):
    """matrix[i, j]: how many images of class i the model took for class j."""
    matrix = torch.zeros(10, 10, dtype=torch.int64)
    model.eval()
    with torch.no_grad():
        for images, labels in loader:
            guesses = model(images).argmax(dim=1)
            matrix += torch.bincount(labels * 10 + guesses, minlength=100).reshape(10, 10)
    return matrix


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=FOLDER, help=f"folder with the .gz files (default: {FOLDER})")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=60000, help="train on the first N images (default: all 60,000)")
    args = parser.parse_args()

    folder = Path(args.folder)
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        sys.exit(
            f"No Fashion-MNIST in {folder}: train-images-idx3-ubyte.gz and its three companions are needed there.\n"
            "On Debian and Ubuntu: apt install dataset-fashion-mnist. Otherwise give the folder that holds them."
        )

    torch.manual_seed(0)
    train_loader = DataLoader(load(folder, "train", args.images), batch_size=64, shuffle=True)
    test_loader = DataLoader(load(folder, "t10k", 10000), batch_size=500)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    start = time.time()
    for epoch in range(1, args.epochs + 1):
        model.train()
        running = 0.0
        for step, (images, labels) in enumerate(train_loader, start=1):
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
            if step % 100 == 0:
                print(f"epoch {epoch}   step {step}/{len(train_loader)}   loss {running / step:.4f}", flush=True)
        matrix = confusion(model, test_loader)
        accuracy = matrix.diagonal().sum().item() / matrix.sum().item()
        print(f"epoch {epoch}   test accuracy {accuracy:.2%}   {time.time() - start:.0f} s")

    print("\nclass      right   most often taken for")
    for label, row in enumerate(matrix):
        others = row.clone()
        others[label] = 0
        print(f"{CLASSES[label]:10s} {row[label].item() / row.sum().item():6.1%}   {CLASSES[others.argmax().item()]}")


if __name__ == "__main__":
    main()
