"""The computation of recurrent layers and cells, as operations per time step. The modules that own the weights and
check the arguments are in rnn.py."""

import rushlight as rl
from rushlight import _C

# Every step takes (projected input, state, weights) and gives the new state, a tuple whose first entry is the output.
# weights: w_ih, w_hh[, b_ih, b_hh][, w_hr]; the input part w_ih x + b_ih is computed for all steps at once.


def lstm_step(projected, state, w_hh, b_hh, w_hr):
    h, c = state
    i, f, g, o = (projected + _C.linear(h, w_hh, b_hh)).chunk(4, 1)
    c = rl.sigmoid(f) * c + rl.sigmoid(i) * rl.tanh(g)
    h = rl.sigmoid(o) * rl.tanh(c)
    return (h if w_hr is None else _C.linear(h, w_hr), c)


def gru_step(projected, state, w_hh, b_hh, w_hr):
    (h,) = state
    x_r, x_z, x_n = projected.chunk(3, 1)
    h_r, h_z, h_n = _C.linear(h, w_hh, b_hh).chunk(3, 1)
    r = rl.sigmoid(x_r + h_r)
    z = rl.sigmoid(x_z + h_z)
    n = rl.tanh(x_n + r * h_n)
    return ((h - n) * z + n,)


def tanh_step(projected, state, w_hh, b_hh, w_hr):
    return (rl.tanh(projected + _C.linear(state[0], w_hh, b_hh)),)


def relu_step(projected, state, w_hh, b_hh, w_hr):
    return (rl.relu(projected + _C.linear(state[0], w_hh, b_hh)),)


STEPS = {"LSTM": lstm_step, "GRU": gru_step, "RNN_TANH": tanh_step, "RNN_RELU": relu_step}


def cell(mode, input, state, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step on a batch (B, input_size); returns the tuple of new states."""
    return STEPS[mode](_C.linear(input, w_ih, b_ih), state, w_hh, b_hh, None)


def _one_direction(step, data, batch_sizes, state, weights, reverse):
    """Runs one layer in one direction over data (sum of batch_sizes, features), which holds the time steps one after
    another; returns the outputs in the same form and the final states."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    steps = _C.linear(data, w_ih, b_ih).split(batch_sizes)
    outputs = [None] * len(batch_sizes)
    initial = state
    finished = []  # final states of sequences that ended early: (states) for the last rows of the batch
    order = range(len(batch_sizes))
    if reverse:
        order = reversed(order)
        state = tuple(s[: batch_sizes[-1]] for s in state)
    rows = state[0].size(0)
    for t in order:
        wanted = batch_sizes[t]
        if wanted < rows:
            finished.append(tuple(s[wanted:rows] for s in state))
            state = tuple(s[:wanted] for s in state)
        elif wanted > rows:  # only in reverse: longer sequences begin here
            state = tuple(rl.cat([s, first[rows:wanted]]) for s, first in zip(state, initial))
        rows = wanted
        state = step(steps[t], state, w_hh, b_hh, w_hr)
        outputs[t] = state[0]
    if finished:
        parts = [state, *reversed(finished)]
        state = tuple(rl.cat(list(pieces)) for pieces in zip(*parts))
    return rl.cat(outputs), state


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
    step = STEPS[mode]
    directions = 2 if bidirectional else 1
    finals = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            index = layer * directions + direction
            initial = tuple(s[index] for s in states)
            output, final = _one_direction(step, data, batch_sizes, initial, weights[index], direction == 1)
            outputs.append(output)
            finals.append(final)
        data = outputs[0] if directions == 1 else rl.cat(outputs, -1)
        if dropout and training and layer < num_layers - 1:
            data = rl.nn.functional.dropout(data, dropout, True)
    return data, tuple(rl.stack(list(pieces)) for pieces in zip(*finals))
