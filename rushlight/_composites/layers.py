"""Layers and losses under their names at the top level, where losses take the reduction as a number and dropout says
`train`. The work is done by nn.functional, which loads when the first of them is called."""

__all__ = ["conv_tbc"]

_REDUCTIONS = ("none", "mean", "sum")


def _functional():
    from ..nn import functional

    return functional


def _named(function, name):
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"nn.functional.{name} at the top level."
    globals()[name] = function
    __all__.append(name)


def _same(name):
    def function(*args, **kwargs):
        return getattr(_functional(), name)(*args, **kwargs)

    _named(function, name)


def _dropout(name, inplace):
    def function(input, p, train):
        return getattr(_functional(), name)(input, p, train, inplace)

    _named(function, name + "_" if inplace else name)


def _loss(name, reduction_at):
    """A loss whose reduction, argument number reduction_at, is 0 (none, the default), 1 or 2."""

    def function(*args, **kwargs):
        args = list(args)
        if len(args) > reduction_at + 1:
            kwargs["zero_infinity"] = args.pop()  # only ctc_loss has an argument after it
        if len(args) > reduction_at:
            kwargs["reduction"] = args.pop(reduction_at)
        reduction = kwargs.get("reduction", 0)
        kwargs["reduction"] = _REDUCTIONS[reduction] if isinstance(reduction, int) else reduction
        return getattr(_functional(), name)(*args, **kwargs)

    _named(function, name)


for _name in ("adaptive_avg_pool1d", "avg_pool1d", "bilinear", "channel_shuffle", "cosine_similarity", "max_pool1d", "max_pool3d",
              "pairwise_distance", "pixel_shuffle", "pixel_unshuffle", "rrelu", "rrelu_"):  # fmt: skip
    _same(_name)
for _name in ("dropout", "alpha_dropout", "feature_alpha_dropout"):
    _dropout(_name, False)
    _dropout(_name, True)


_loss("kl_div", 2)
_loss("hinge_embedding_loss", 3)
_loss("cosine_embedding_loss", 4)
_loss("margin_ranking_loss", 4)
_loss("ctc_loss", 5)


def poisson_nll_loss(input, target, log_input, full, eps, reduction):
    """nn.functional.poisson_nll_loss at the top level."""
    return _functional().poisson_nll_loss(
        input, target, log_input, full, eps=eps, reduction=_REDUCTIONS[reduction]
    )


def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False, reduction=0):
    """nn.functional.triplet_margin_loss at the top level."""
    reduction = _REDUCTIONS[reduction] if isinstance(reduction, int) else reduction
    return _functional().triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, reduction=reduction
    )


def instance_norm(
    input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled
):
    """nn.functional.instance_norm at the top level."""
    return _functional().instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def max_pool1d_with_indices(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The largest elements of windows, and where they were."""
    stride = stride or None
    return _functional().max_pool1d(
        input, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True
    )


def conv_tbc(input, weight, bias, pad=0):
    """Convolution over the first dimension of (time, batch, channels), with a weight (width, in, out)."""
    result = _functional().conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return result.permute(2, 0, 1)


__all__ += ["instance_norm", "max_pool1d_with_indices", "poisson_nll_loss", "triplet_margin_loss"]


# ---- one step of recurrent networks ----


def _cell(mode, input, state, w_ih, w_hh, b_ih, b_hh):
    from rushlight.nn.modules._recurrent import cell

    if input.dim() != 2:
        raise IndexError(f"recurrent cells expect a batch of shape (batch, input_size), got an input of shape {tuple(input.shape)}")
    hidden = state[0].shape[-1] if state[0].dim() == 2 else None
    if any(s.shape != (input.shape[0], hidden) for s in state):
        raise RuntimeError(
            f"recurrent cells expect states of shape ({input.shape[0]}, hidden_size), got {[tuple(s.shape) for s in state]}"
        )
    gates = {"LSTM": 4, "GRU": 3}.get(mode, 1)
    factor = f"{gates} * " if gates > 1 else ""
    for name, weight in ("weight_ih", w_ih), ("weight_hh", w_hh):
        if weight.dim() != 2 or weight.shape[0] != gates * hidden:
            raise RuntimeError(f"{name} first dim must be {factor}hidden_size = {gates * hidden}, but got {weight.shape[0]}")
    if w_ih.shape[1] != input.shape[1]:
        raise RuntimeError(f"input has inconsistent input_size: got {input.shape[1]} expected {w_ih.shape[1]}")
    return cell(mode, input, state, w_ih, w_hh, b_ih, b_hh)


def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of an LSTM: (h, c) from the states (h, c)."""
    return _cell("LSTM", input, tuple(hx), w_ih, w_hh, b_ih, b_hh)


def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of a GRU."""
    return _cell("GRU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of a simple network with tanh."""
    return _cell("RNN_TANH", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of a simple network with relu."""
    return _cell("RNN_RELU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


__all__ += ["gru_cell", "lstm_cell", "rnn_relu_cell", "rnn_tanh_cell"]
