"""Libraries written for PyTorch, where they are installed: transformers and timm build, train and generate as with PyTorch
2.13.0, whose numbers (same seed) are stored here."""

import importlib.util
import json
import subprocess
import sys

import pytest

TRANSFORMERS = """
import json, torch, transformers
transformers.logging.set_verbosity_error()
from transformers import (BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, LlamaConfig,
                          LlamaForCausalLM)
sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=100,
             max_position_embeddings=64)
tokens = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
models = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=32, vocab_size=100, n_positions=64,
                                               bos_token_id=1, eos_token_id=2)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**sizes, **tokens, num_key_value_heads=2)),
    "bert": lambda: BertForSequenceClassification(BertConfig(**sizes)),
}
results = {}
for name, make in models.items():
    torch.manual_seed(0)
    model = make().eval()
    ids = torch.randint(3, 100, (2, 10))
    data = {"input_ids": ids, "labels": ids}
    if name == "bert":
        data = {"input_ids": ids, "labels": torch.tensor([0, 1]),
                "attention_mask": torch.tensor([[1] * 10, [1] * 7 + [0] * 3])}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    numbers = []
    for _ in range(3):
        loss = model(**data).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        numbers.append(loss.item())
    numbers.append(float(sum((p.grad.double() ** 2).sum() for p in model.parameters() if p.grad is not None)) ** 0.5)
    model.train()
    torch.manual_seed(1)
    numbers.append(model(**data).loss.item())  # with dropout
    model.eval()
    made = []
    if name != "bert":
        made += model.generate(ids[:1], max_new_tokens=6, do_sample=False, pad_token_id=0).tolist()
        torch.manual_seed(3)
        made += model.generate(ids[:1], max_new_tokens=6, do_sample=True, top_k=10, pad_token_id=0).tolist()
        made += model.generate(ids, max_new_tokens=6, num_beams=3, do_sample=False, pad_token_id=0).tolist()
    results[name] = [numbers, made]
print("RESULTS", json.dumps(results))
"""

TIMM = """
import json, torch, timm
results = {}
for name, size in (("resnet18", 64), ("vit_tiny_patch16_224", 224)):
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=5)
    x = torch.randn(2, 3, size, size)
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss = torch.nn.functional.cross_entropy(model(x), torch.tensor([0, 3]))
    loss.backward()
    norm = float(sum((p.grad.double() ** 2).sum() for p in model.parameters())) ** 0.5
    optimizer.step()
    model.eval()
    results[name] = [[loss.item(), norm, model(x).abs().mean().item()], []]
print("RESULTS", json.dumps(results))
"""

# of PyTorch 2.13.0, made by the programs above
STORED = {
    "gpt2": (
        [4.608609, 4.441793, 4.324347, 1.782053, 4.241859],
        [
            [71, 4, 75, 50, 15, 38, 97, 14, 68, 65, 65, 65, 65, 65, 65, 65],
            [71, 4, 75, 50, 15, 38, 97, 14, 68, 65, 81, 81, 47, 38, 81, 81],
            [71, 4, 75, 50, 15, 38, 97, 14, 68, 65, 60, 60, 60, 39, 39, 39],
            [51, 27, 49, 55, 20, 56, 39, 90, 57, 89, 89, 89, 89, 39, 39, 39],
        ],
    ),
    "llama": (
        [4.587236, 4.476437, 4.388064, 1.743732, 4.317675],
        [
            [34, 56, 21, 50, 27, 20, 46, 98, 67, 57, 25, 57, 25, 57, 25, 48],
            [34, 56, 21, 50, 27, 20, 46, 98, 67, 57, 25, 57, 89, 30, 84, 41],
            [34, 56, 21, 50, 27, 20, 46, 98, 67, 57, 25, 48, 20, 46, 27, 20],
            [46, 55, 71, 17, 18, 54, 11, 24, 57, 42, 71, 56, 77, 34, 11, 24],
        ],
    ),
    "bert": (
        [0.697973, 0.6924806, 0.6874131, 0.2703656, 0.6854942],
        [],
    ),
    "resnet18": (
        [1.57442, 14.24196, 0.04724481],
        [],
    ),
    "vit_tiny_patch16_224": (
        [1.716645, 26.24899, 0.7993249],
        [],
    ),
}


def run(tmp_path, program, launcher):
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, *launcher, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = [line for line in done.stdout.splitlines() if line.startswith("RESULTS")][0]
    return json.loads(line.partition(" ")[2])


@pytest.mark.parametrize("library, program", [("transformers", TRANSFORMERS), ("timm", TIMM)])
def test_models_as_with_pytorch(tmp_path, library, program):
    needed = [library] + ["torchvision"] * (library == "timm")
    for name in needed:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    results = run(tmp_path, program, ["-m", "rushlight"])
    for model, (numbers, made) in results.items():
        expected_numbers, expected = STORED[model]
        assert numbers == pytest.approx(expected_numbers, rel=1e-4), model
        assert made == expected, model
