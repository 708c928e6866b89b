"""A character-level GPT: a small transformer reads a text and learns to continue it, one character at a time."""

import argparse
import math
import sys
import time
from pathlib import Path

import rushlight as torch
import rushlight.nn.functional as F
from rushlight import nn

TEXT = Path(__file__).resolve().parent.parent / "LICENSE"


class Attention(nn.Module):
    """Each position looks at the ones before it."""

    def __init__(self, width, heads, context):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.register_buffer("past", torch.tril(torch.ones(context, context)).bool(), persistent=False)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).split(C, dim=2)
        q, k, v = (t.view(B, T, self.heads, C // self.heads).transpose(1, 2) for t in (q, k, v))  # (B, heads, T, size)
        scores = q @ k.transpose(-2, -1) / math.sqrt(k.size(-1))  # (B, heads, T, T)
        scores = scores.masked_fill(~self.past[:T, :T], float("-inf"))
        x = scores.softmax(dim=-1) @ v
        return self.output(x.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    def __init__(self, width, heads, context):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, context)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, characters, width=64, heads=4, layers=2, context=64):
        super().__init__()
        self.context = context
        self.token = nn.Embedding(characters, width)
        self.position = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads, context) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters)

    def forward(self, ids):
        x = self.token(ids) + self.position(torch.arange(ids.size(1)))  # (B, T, width)
        return self.head(self.norm(self.blocks(x)))  # (B, T, characters)

    @torch.no_grad()
    def generate(self, ids, count, temperature=0.8):
        """Append count characters, each drawn from the model's probabilities."""
        for _ in range(count):
            logits = self(ids[:, -self.context :])[:, -1] / temperature
            ids = torch.cat([ids, torch.multinomial(logits.softmax(dim=-1), 1)], dim=1)
        return ids


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="?", default=str(TEXT), help="a text file (default: the licence of this project)")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--write", type=int, default=400, metavar="N", help="characters to write at the end")
    args = parser.parse_args()

    try:
        text = Path(args.text).read_text(encoding="utf-8")
    except OSError as error:
        sys.exit(f"Cannot read the text: {error}")
    torch.manual_seed(0)
    alphabet = sorted(set(text))
    number = {character: i for i, character in enumerate(alphabet)}
    data = torch.tensor([number[character] for character in text])
    model = GPT(len(alphabet))
    if len(data) <= 2 * model.context:
        sys.exit(f"{args.text} is too short: more than {2 * model.context} characters are needed")
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(text):,} characters, {len(alphabet)} different ones; {parameters:,} parameters")

    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    start, running = time.time(), math.log(len(alphabet))
    for step in range(1, args.steps + 1):
        starts = torch.randint(len(data) - model.context, (args.batch,)).tolist()
        inputs = torch.stack([data[i : i + model.context] for i in starts])
        targets = torch.stack([data[i + 1 : i + 1 + model.context] for i in starts])
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += 0.05 * (loss.item() - running)
        if step % max(1, args.steps // 10) == 0:
            print(f"step {step:5d}   loss {running:.3f}   {time.time() - start:.0f} s", flush=True)

    print(f"\nThe model writes, after {text[:20]!r}:\n")
    ids = model.generate(data[:20].unsqueeze(0), args.write)
    print("".join(alphabet[i] for i in ids[0].tolist()))


if __name__ == "__main__":
    main()
