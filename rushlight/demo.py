"""`python -m rushlight demo`: a small convolutional network learns to read handwritten digits.

The data ships with the package (see data/LICENSE-digits.txt). The network trains on two thirds of the 1,797 images, is
tested on the rest, goes through a checkpoint file and back, and its answers are drawn into a picture.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import rushlight as rl
from rushlight import nn, optim
from rushlight._png import draw_text, text_size, write_png
from rushlight.utils.data import DataLoader, TensorDataset

DATA = Path(__file__).parent / "data" / "digits.npz"
SHIFT = 1  # training images move by up to this many pixels
SHADES = " .:-=+*#%@"


def load_digits():
    """Return (train_images, train_labels, test_images, test_labels); images are (N, 1, 8, 8) with values 0 to 1.

    Every third image is held out. (The labels run 0, 1, ..., 9, 0, 1, ...: a step of 3 meets all of them.)
    """
    with np.load(DATA) as file:
        images = rl.from_numpy(file["images"].astype(np.float32) / 16).unsqueeze(1)
        labels = rl.from_numpy(file["labels"].astype(np.int64))
    held_out = rl.arange(len(labels)) % 3 == 0
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


def make_network():
    """Three 3x3 convolutions and a linear layer: 26,090 parameters."""

    def block(inputs, outputs):
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(1, 16),
        *block(16, 32),
        nn.MaxPool2d(2),  # (N, 32, 4, 4)
        *block(32, 64),
        nn.MaxPool2d(2),  # (N, 64, 2, 2)
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * 2 * 2, 10),
    )


def shifted(images):
    """Move a batch by the same random step in each direction, filling with background."""
    n, c, height, width = images.shape
    canvas = rl.zeros(n, c, height + 2 * SHIFT, width + 2 * SHIFT)
    canvas[:, :, SHIFT : SHIFT + height, SHIFT : SHIFT + width] = images
    top, left = rl.randint(0, 2 * SHIFT + 1, (2,)).tolist()
    return canvas[:, :, top : top + height, left : left + width]


class ProgressBar:
    """One line that redraws itself on a terminal; one line per epoch where the output goes to a file."""

    def __init__(self, epochs, steps, stream=None):
        self.epochs, self.steps = epochs, steps
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.start = time.perf_counter()

    def update(self, epoch, step, loss):
        done = (epoch * self.steps + step) / (self.epochs * self.steps)
        last = step == self.steps
        if not self.live and not last:
            return
        filled = round(30 * done)
        seconds = time.perf_counter() - self.start
        line = (
            f"epoch {epoch + 1:2d}/{self.epochs} [{'#' * filled}{'.' * (30 - filled)}] "
            f"{100 * done:3.0f} %  loss {loss:.4f}  {seconds:4.1f} s"
        )
        finished = last and epoch + 1 == self.epochs
        if self.live:
            self.stream.write("\r" + line + ("\n" if finished else ""))
        else:
            self.stream.write(line + "\n")
        self.stream.flush()


def train(net, images, labels, epochs, batch_size=64, lr=4e-3):
    """Train net in place with Adam; the learning rate falls to zero along a cosine."""
    loader = DataLoader(TensorDataset(images, labels), batch_size=batch_size, shuffle=True)
    loss_function = nn.CrossEntropyLoss()
    optimizer = optim.Adam(net.parameters(), lr=lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    bar = ProgressBar(epochs, len(loader))
    net.train()
    for epoch in range(epochs):
        total = 0.0
        for step, (batch, target) in enumerate(loader, start=1):
            optimizer.zero_grad()
            loss = loss_function(net(shifted(batch)), target)
            loss.backward()
            optimizer.step()
            total += loss.item()
            bar.update(epoch, step, total / step)
        schedule.step()


def predict(net, images):
    """Return the probabilities of the ten digits for each image."""
    net.eval()
    with rl.no_grad():
        return net(images).softmax(dim=1)


def pick_samples(predictions, labels, count):
    """Indices of the samples to show: the mistakes first (at most a third), then the first test images."""
    wrong = (predictions != labels).nonzero().flatten().tolist()[: count // 3]
    right = (predictions == labels).nonzero().flatten().tolist()
    return wrong + right[: count - len(wrong)]


def draw_grid(images, predictions, labels, chosen, columns=8, scale=8):
    """Draw the chosen images with "predicted" below each, or "predicted (true)" in red where they differ."""
    size, gap, caption = 8 * scale, 8, 18
    rows = -(-len(chosen) // columns)
    picture = np.full((gap + rows * (size + caption + gap), gap + columns * (size + gap), 3), 255, dtype=np.uint8)
    for place, index in enumerate(chosen):
        top = gap + place // columns * (size + caption + gap)
        left = gap + place % columns * (size + gap)
        ink = 255 - (images[index, 0] * 255).numpy().astype(np.uint8)
        picture[top : top + size, left : left + size] = ink.repeat(scale, axis=0).repeat(scale, axis=1)[..., None]
        said, true = int(predictions[index]), int(labels[index])
        text, colour = (f"{said}", (20, 110, 50)) if said == true else (f"{said} ({true})", (190, 30, 30))
        width = text_size(text, 2)[1]
        draw_text(picture, text, top + size + 4, left + (size - width) // 2, colour, scale=2)
    return picture


def draw_text_picture(images, predictions, labels, chosen):
    """The same as lines of text, side by side, two characters per pixel."""
    captions, bitmaps = [], []
    for index in chosen:
        said, true = int(predictions[index]), int(labels[index])
        captions.append((f"reads {said}" if said == true else f"reads {said}, is {true}").center(16))
        levels = (images[index, 0] * (len(SHADES) - 1)).round().to(rl.int64).tolist()
        bitmaps.append(["".join(SHADES[level] * 2 for level in row) for row in levels])
    lines = ["  ".join(row) for row in zip(*bitmaps)]
    return "\n".join([*lines, "  ".join(captions)])


def parse(argv):
    parser = argparse.ArgumentParser(prog="python -m rushlight demo", description=__doc__.partition(": ")[2])
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default: 0)")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training images (default: 20)")
    parser.add_argument("--out", default="rushlight_demo", help="folder for the two files (default: rushlight_demo)")
    args = parser.parse_args(argv)
    if args.epochs < 1:
        parser.error("--epochs must be at least 1")
    return args


def main(argv=None):
    """Run the demo with a list of command-line arguments; returns the process's exit status."""
    args = parse(argv)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    rl.manual_seed(args.seed)

    train_images, train_labels, test_images, test_labels = load_digits()
    net = make_network()
    parameters = sum(p.numel() for p in net.parameters())
    print(f"{len(train_labels)} training images, {len(test_labels)} held out; {parameters:,} parameters")
    start = time.perf_counter()
    train(net, train_images, train_labels, args.epochs)
    seconds = time.perf_counter() - start

    scores = predict(net, test_images)
    predictions = scores.argmax(dim=1)
    correct = int((predictions == test_labels).sum())
    accuracy = correct / len(test_labels)
    print(f"held-out accuracy: {accuracy:.2%} ({correct} of {len(test_labels)}), trained in {seconds:.1f} s")

    checkpoint = out / "digits.pt"
    rl.save({"network": net.state_dict(), "accuracy": accuracy, "epochs": args.epochs, "seed": args.seed}, checkpoint)
    restored = make_network()
    restored.load_state_dict(rl.load(checkpoint)["network"])
    if not rl.equal(predict(restored, test_images), scores):
        print(f"error: the network loaded from {checkpoint} predicts something else", file=sys.stderr)
        return 1
    print(f"checkpoint: saved to {checkpoint}, loaded again, same predictions")

    picture = out / "digits.png"
    try:
        write_png(picture, draw_grid(test_images, predictions, test_labels, pick_samples(predictions, test_labels, 40)))
        drawn = True
        print(f"picture:    {picture}")
    except OSError as error:
        drawn = False
        print(f"picture:    not written ({error})")
    if sys.stdout.isatty() or not drawn:
        print()
        print(draw_text_picture(test_images, predictions, test_labels, pick_samples(predictions, test_labels, 4)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
