"""Whole recurrent networks and embedding_bag as functions of their weights, as PyTorch's modules call them. The work is done
by nn.modules._recurrent and nn.functional, which load when the first of them is called."""

from .. import _C
from .._C import Tensor

__all__ = ["embedding_bag", "gru", "lstm", "rnn_relu", "rnn_tanh"]


def lstm(*args, **kwargs):
    """lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first) -> (output, h, c)

    Args:
        input: (time, batch, features), or (batch, time, features) where batch_first is set. For packed sequences the
            arguments are lstm(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional).
        hx: the initial h and c, each (num_layers * directions, batch, size).
        params: the weights of one layer and direction after the other, each w_ih, w_hh[, b_ih, b_hh][, w_hr]; with w_hr the
            hidden state is projected.
    """
    return _network("lstm", "LSTM", args, kwargs)


def gru(*args, **kwargs):
    """gru(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first) -> (output, h); see lstm()."""
    return _network("gru", "GRU", args, kwargs)


def rnn_tanh(*args, **kwargs):
    """rnn_tanh(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first) -> (output, h); see
    lstm()."""
    return _network("rnn_tanh", "RNN_TANH", args, kwargs)


def rnn_relu(*args, **kwargs):
    """rnn_relu(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first) -> (output, h); see
    lstm()."""
    return _network("rnn_relu", "RNN_RELU", args, kwargs)


_SETTINGS = ("params", "has_biases", "num_layers", "dropout", "train", "bidirectional")
_PADDED = ("input", "hx", *_SETTINGS, "batch_first")
_PACKED = ("data", "batch_sizes", "hx", *_SETTINGS)


def _bound(name, args, kwargs):
    """The arguments by name; packed sequences are known by the batch sizes in second place."""
    packed = "data" in kwargs or "batch_sizes" in kwargs or (len(args) > 3 and isinstance(args[3], (list, tuple)))
    names = _PACKED if packed else _PADDED
    given = dict(zip(names, args))
    if len(args) > len(names) or set(kwargs) - set(names) or set(kwargs) & set(given) or len(args) + len(kwargs) < len(names):
        raise TypeError(f"{name}(): expected the arguments ({', '.join(_PADDED)}) or ({', '.join(_PACKED)})")
    return packed, {**given, **kwargs}


def _network(name, mode, args, kwargs):
    from ..nn.modules._recurrent import recurrent

    packed, given = _bound(name, args, kwargs)
    states = tuple(given["hx"]) if mode == "LSTM" else (given["hx"],)
    if mode == "LSTM" and len(states) != 2:
        raise RuntimeError("lstm expects two hidden states")
    layers, directions = given["num_layers"], 2 if given["bidirectional"] else 1
    weights = _by_layer(given["params"], given["has_biases"], layers * directions, mode == "LSTM" and _projects(states))
    if packed:
        data, sizes = given["data"], given["batch_sizes"].tolist()
    else:
        data = given["input"].transpose(0, 1) if given["batch_first"] else given["input"]
        if data.dim() != 3:
            raise RuntimeError(f"{name}(): expected a 3-D input, got {data.dim()}-D")
        time, batch = data.shape[:2]
        if time == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        data, sizes = data.reshape(time * batch, -1), [batch] * time
    output, finals = recurrent(
        mode, data, sizes, states, weights, layers, directions == 2, given["dropout"], given["train"]
    )
    if not packed:
        output = output.view(time, batch, output.size(1))
        output = output.transpose(0, 1) if given["batch_first"] else output
    return (output, *finals)


def _projects(states):
    return states[0].size(2) != states[1].size(2)


def _by_layer(params, has_biases, count, projected):
    """The flat list of weights as (w_ih, w_hh, b_ih, b_hh, w_hr) per layer and direction, None for what is missing."""
    each = 2 + 2 * bool(has_biases) + projected
    if len(params) != each * count:
        raise RuntimeError(f"got an incorrect number of RNN parameters: {len(params)} instead of {each * count}")
    weights = []
    for first in range(0, len(params), each):
        part = list(params[first : first + each])
        last = part.pop() if projected else None
        weights.append([*part[:2], *(part[2:] if has_biases else (None, None)), last])
    return weights


_MODES = ("sum", "mean", "max")


def embedding_bag(weight, indices, offsets, scale_grad_by_freq=False, mode=0, sparse=False, per_sample_weights=None,
                  include_last_offset=False, padding_idx=None):  # fmt: skip
    """Sum (mode 0), mean (1) or maximum (2) of the rows of weight that each bag of indices selects.

    Returns (result, bag of each index, size of each bag, and for the maximum where it was taken), of which the sum leaves the
    bags empty and the sizes zero. nn.functional.embedding_bag is the usual way to call it.
    """
    from ..nn import functional

    if not isinstance(offsets, Tensor) or mode not in (0, 1, 2):
        raise TypeError("embedding_bag(): offsets is a tensor, and mode 0, 1 or 2")
    result = functional.embedding_bag(
        indices, weight, offsets, None, 2, scale_grad_by_freq, _MODES[mode], sparse, per_sample_weights,
        include_last_offset, padding_idx,
    )  # fmt: skip
    count = offsets.numel()
    if mode == 0:
        nothing = _C.zeros(count, dtype=indices.dtype)
        return result, _C.empty(0, dtype=indices.dtype), nothing, nothing.clone()
    ends = _C.cat([offsets[1:], offsets.new_full((1,), indices.numel())])
    lengths = ends - offsets
    bags = _C.repeat_interleave(_C.arange(count, dtype=indices.dtype), lengths)
    if padding_idx is not None:
        counted = (indices != padding_idx % weight.size(0)).to(lengths.dtype)
        lengths = _C.zeros_like(lengths).index_add(0, bags, counted)
    if mode == 1:
        return result, bags, lengths, lengths.clone()
    return result, bags, lengths, _places_of_maxima(weight.detach(), indices, bags, result.detach(), padding_idx)


def _places_of_maxima(weight, indices, bags, maxima, padding_idx):
    """Per bag and column, the row of weight that the maximum came from: the first such one; 0 in empty bags."""
    places = _C.zeros(maxima.shape, dtype=indices.dtype)
    taken = weight[indices] == maxima[bags]
    if padding_idx is not None:
        taken &= (indices != padding_idx % weight.size(0)).unsqueeze(1)
    for position in range(indices.numel() - 1, -1, -1):  # an earlier one overwrites a later one
        bag = bags[position]
        places[bag] = _C.where(taken[position], indices[position], places[bag])
    return places
