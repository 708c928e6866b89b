"""Stacks of recurrent layers, and cells: each layer and direction is one call of the operator recurrent_layer. The modules
that own the weights and check the arguments are in rnn.py."""

import rushlight as rl
from rushlight import _C


def _one_direction(mode, data, batch_sizes, state, weights, reverse, cell=False):
    """One layer in one direction over data (sum of batch_sizes, features), the time steps one after another; returns the
    outputs in the same form and the tuple of final states."""
    if not state[0].size(0):  # an empty batch: nothing to compute, and all gradients are zero
        link = sum(t[:0].sum() for t in (data, *weights) if t is not None)
        return data.new_zeros(0, state[0].size(1)) + link, tuple(s + link for s in state)
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    h, c = state if mode == "LSTM" else (state[0], None)
    output, h, c = _C.recurrent_layer(_C.linear(data, w_ih, b_ih), h, c, w_hh, b_hh, w_hr, batch_sizes, mode, reverse)
    if _C._autocasting() and (mode == "GRU" or cell and mode == "LSTM"):  # the states keep their dtype
        output, h, c = (t if t is None else t.to(state[0].dtype) for t in (output, h, c))
    return output, (h,) if c is None else (h, c)


def cell(mode, input, state, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step on a batch (B, input_size); returns the tuple of new states."""
    return _one_direction(mode, input, [input.size(0)], state, (w_ih, w_hh, b_ih, b_hh, None), False, cell=True)[1]


def recurrent(mode, data, batch_sizes, states, weights, num_layers, bidirectional, dropout, training):
    """A stack of recurrent layers.

    Args:
        data: (sum of batch_sizes, features), the time steps one after another.
        batch_sizes: list of the number of sequences at each time step, not increasing.
        states: tuple of initial states, each (num_layers * directions, batch, size).
        weights: per layer and direction, (w_ih, w_hh, b_ih, b_hh, w_hr) with None for what is missing.
        dropout: probability, between layers, when training.

    Returns the output data and the tuple of final states.
    """
    directions = 2 if bidirectional else 1
    finals = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            index = layer * directions + direction
            initial = tuple(s[index] for s in states)
            output, final = _one_direction(mode, data, batch_sizes, initial, weights[index], direction == 1)
            outputs.append(output)
            finals.append(final)
        data = outputs[0] if directions == 1 else rl.cat(outputs, -1)
        if dropout and training and layer < num_layers - 1:
            data = rl.nn.functional.dropout(data, dropout, True)
    return data, tuple(rl.stack(list(pieces)) for pieces in zip(*finals))
