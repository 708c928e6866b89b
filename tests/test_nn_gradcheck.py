"""Derivatives in float64, against differences, of every module, loss and functional among tests/cases."""

import cases
import pytest
from cases import functionals, modules

import rushlight as rl

NAMES = cases.namespace(rl) | {"G": __import__("rushlight.nn.grad", fromlist=["grad"])}
# where differences are not the derivative, or there is nothing to differentiate
SKIPPED = {
    "nn.Embedding(5, 3, max_norm": "writes into its weight",
    "nn.AdaptiveLogSoftmaxWithLoss": "checked through its parts: linear, log_softmax, gather",
    "nn.MultiheadAttention(8, 2, dropout": "draws anew for each weight",
    "nn.CTCLoss": "the gradient for log_probs assumes that they come from log_softmax, as in PyTorch",
    "nn.LinearCrossEntropyLoss(5, 7, options": "its own derivative cannot be differentiated; compared in the vectors",
    "lambda a: F.gumbel_softmax(a, 0.7, hard": "a straight-through gradient",
    "lambda a, w: F.conv2d(torch.complex": "float32 parts",
    "lambda a, w: torch.view_as_real(F.conv": "float32 parts",
    "lambda i:": "integers",
    "nn.GaussianNLLLoss(full=True, eps=0.3": "a variance below eps is raised behind the derivative's back",
    "nn.Embedding(5, 3, padding_idx": "the padding's row has no gradient by definition",
    "nn.Embedding(5, 3, scale_grad_by_freq": "the gradient is scaled by definition",
    "lambda w: F.embedding(": "the gradient is scaled by definition",
    "lambda a: F.log_softmax(a, -1, dtype=torch.float32": "computed in float32",
}
ALL = [(text, inputs, True) for text, inputs in modules.CASES if not text.startswith("nn.Lazy")]
ALL += [(text, inputs, False) for text, inputs in functionals.CASES]


def double(t):
    return t.double()


@pytest.mark.parametrize("text, inputs, is_module", ALL, ids=[f"{text}-{inputs}" for text, inputs, _ in ALL])
def test_gradcheck(text, inputs, is_module):
    detached = "detach" in text and "an input is detached"
    reason = detached or next((why for start, why in SKIPPED.items() if text.startswith(start)), None)
    if reason:
        pytest.skip(reason)
    rl.manual_seed(0)
    call = eval(text, NAMES)
    if is_module:
        call.double()
    args = [modules.changed(a, double) for a in modules.inputs_of(NAMES, inputs)]
    places = [k for k, a in enumerate(args) if isinstance(a, rl.Tensor) and a.requires_grad]
    parameters = [p for p in call.parameters() if p.requires_grad] if is_module else []

    def run(*leaves):
        given = list(args)
        for place, leaf in zip(places, leaves):
            given[place] = leaf.clone() if is_module else leaf  # modules in place need no leaf
        rl.manual_seed(1)  # the same draws in each call
        return [
            o for o in modules.results(call(*given)) if isinstance(o, rl.Tensor) and o.is_floating_point()
        ]

    leaves = [args[place] for place in places] + parameters
    if leaves:
        assert rl.autograd.gradcheck(run, leaves, fast_mode=len(leaves) > 6)
