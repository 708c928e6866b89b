"""RNN, LSTM and GRU over whole sequences, and their cells for single steps: weights, checks and layouts. The
computation itself is in _recurrent.py."""

import math

import rushlight as rl
from rushlight import Tensor

from .. import init
from ..parameter import Parameter
from ..utils.rnn import PackedSequence
from ._recurrent import cell, recurrent
from .module import Module

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What RNN, LSTM and GRU share.

    Args:
        num_layers: layers stacked on each other.
        batch_first: input and output are (batch, time, features) instead of (time, batch, features).
        dropout: probability of dropout on the output of each layer but the last.
        bidirectional: a second set of weights reads the sequence backwards; outputs are concatenated.
        proj_size: LSTM only: the hidden state is projected to this size.
    """

    def __init__(
        self,
        mode,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if dropout > 0 and num_layers == 1:
            import warnings

            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                stacklevel=3,
            )
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(value, int):
                raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)

        gates = _GATES[mode] * hidden_size
        state_size = proj_size or hidden_size
        directions = 2 if bidirectional else 1
        self._all_weights = []
        for layer in range(num_layers):
            layer_input = input_size if layer == 0 else state_size * directions
            for suffix in ("", "_reverse")[:directions]:
                shapes = {"weight_ih": (gates, layer_input), "weight_hh": (gates, state_size)}
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = []
                for kind, shape in shapes.items():
                    names.append(f"{kind}_l{layer}{suffix}")
                    setattr(self, names[-1], Parameter(rl.empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(names)
        self._flat_weights_names = [name for names in self._all_weights for name in names]
        self.reset_parameters()

    @property
    def _flat_weights(self):
        return [getattr(self, name, None) for name in self._flat_weights_names]

    @property
    def all_weights(self):
        """The parameters, one list per layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def reset_parameters(self):
        """Draws all parameters uniformly from +-1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self):
        """Does nothing: the parameters need no particular place in memory."""

    def __getstate__(self):
        # PyTorch's classes expect the list of weights beside their names
        return {**self.__dict__, "_flat_weights": self._flat_weights}

    def __setstate__(self, state):
        state = dict(state)
        state.pop("_flat_weights", None)
        state.pop("_flat_weight_refs", None)
        state.setdefault("proj_size", 0)
        super().__setstate__(state)

    def extra_repr(self):
        shown = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        parts = [str(self.input_size), str(self.hidden_size)]
        parts += [f"{k}={getattr(self, k)}" for k, default in shown.items() if getattr(self, k) != default]
        return ", ".join(parts)

    # --- checks -------------------------------------------------------------------------------------------------

    def check_input(self, input, batch_sizes):
        weight = getattr(self, self._flat_weights_names[0])
        if input.dtype != weight.dtype and not rl._C._autocasting():
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.size(-1)}"
            )

    def check_hidden_size(self, hx, expected_hidden_size, msg="Expected hidden size {}, got {}"):
        if tuple(hx.size()) != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.size())))

    def _state_shapes(self, batch):
        """Expected shapes of the initial states."""
        rows = self.num_layers * (2 if self.bidirectional else 1)
        hidden = (rows, batch, self.proj_size or self.hidden_size)
        return [hidden, (rows, batch, self.hidden_size)] if self.mode == "LSTM" else [hidden]

    # --- the call -----------------------------------------------------------------------------------------------

    def forward(self, input, hx=None):
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            kind = "RNN" if self.mode.startswith("RNN") else self.mode
            tensor = " tensor" if kind == "RNN" else ""
            raise ValueError(f"{kind}: Expected input to be 2D or 3D, got {input.dim()}D{tensor} instead")
        batched = input.dim() == 3
        if hx is not None:
            hx = self._check_state_rank(hx, batched)
        if not batched:
            input = input.unsqueeze(0 if self.batch_first else 1)
        if self.batch_first:
            input = input.transpose(0, 1)  # (time, batch, features)
        self.check_input(input, None)
        time, batch = input.size(0), input.size(1)
        states = self._initial_states(hx, batch, input)
        if time == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        data = input.reshape(time * batch, input.size(2))
        output, states = self._run(data, [batch] * time, states)
        output = output.view(time, batch, output.size(1))
        if self.batch_first:
            output = output.transpose(0, 1)
        if not batched:
            output = output.squeeze(0 if self.batch_first else 1)
            states = tuple(s.squeeze(1) for s in states)
        return output, self._as_result(states)

    def _forward_packed(self, packed, hx):
        data, batch_sizes, sorted_indices, unsorted_indices = packed
        self.check_input(data, batch_sizes)
        sizes = batch_sizes.tolist()
        if hx is not None:
            hx = self._as_tuple(hx)
            if sorted_indices is not None:
                hx = tuple(s.index_select(1, sorted_indices) for s in hx)
        states = self._initial_states(hx, sizes[0], data)
        output, states = self._run(data, sizes, states)
        if unsorted_indices is not None:
            states = tuple(s.index_select(1, unsorted_indices) for s in states)
        return PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices), self._as_result(states)

    def _as_tuple(self, hx):
        return (hx[0], hx[1]) if self.mode == "LSTM" else (hx,)

    def _as_result(self, states):
        return states if self.mode == "LSTM" else states[0]

    def _check_state_rank(self, hx, batched):
        states = self._as_tuple(hx)
        rank = 3 if batched else 2
        if any(s.dim() != rank for s in states):
            what = f"For {'batched 3-D' if batched else 'unbatched 2-D'} input,"
            if self.mode == "LSTM":
                got = ", ".join(f"{s.dim()}-D" for s in states)
                raise RuntimeError(f"{what} hx and cx should also be {rank}-D but got ({got}) tensors")
            raise RuntimeError(f"{what} hx should also be {rank}-D but got {hx.dim()}-D tensor")
        return states if batched else tuple(s.unsqueeze(1) for s in states)

    def _initial_states(self, hx, batch, input):
        shapes = self._state_shapes(batch)
        if hx is None:
            return tuple(rl.zeros(shape, dtype=input.dtype, device=input.device) for shape in shapes)
        for i, (state, shape) in enumerate(zip(hx, shapes)):
            label = f"hidden[{i}]" if self.mode == "LSTM" else "hidden"
            self.check_hidden_size(state, shape, f"Expected {label} size {{}}, got {{}}")
        return hx

    def _run(self, data, batch_sizes, states):
        weights = []
        for names in self._all_weights:
            by_kind = {name.partition("_l")[0]: getattr(self, name) for name in names}
            weights.append(
                [by_kind.get(k) for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")]
            )
        return recurrent(
            self.mode, data, batch_sizes, states, weights, self.num_layers, self.bidirectional, self.dropout,
            self.training,
        )  # fmt: skip


class RNN(RNNBase):
    """h' = tanh(w_ih x + b_ih + w_hh h + b_hh), or relu, over sequences; the arguments are those of RNNBase.

    >>> output, h = RNN(4, 8)(rl.zeros(5, 2, 4))
    >>> output.shape, h.shape
    (torch.Size([5, 2, 8]), torch.Size([1, 2, 8]))
    """

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        nonlinearity="tanh",
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        device=None,
        dtype=None,
        proj_size=0,
    ):
        if proj_size:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(
            "RNN_" + nonlinearity.upper(), input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, 0, device, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory over sequences; the arguments are those of RNNBase.

    >>> output, (h, c) = LSTM(4, 8)(rl.zeros(5, 2, 4))
    >>> output.shape, h.shape, c.shape
    (torch.Size([5, 2, 8]), torch.Size([1, 2, 8]), torch.Size([1, 2, 8]))
    """

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        device=None,
        dtype=None,
    ):
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size,
            device, dtype,
        )  # fmt: skip


class GRU(RNNBase):
    """Gated recurrent unit over sequences; the arguments are those of RNNBase.

    >>> output, h = GRU(4, 8)(rl.zeros(5, 2, 4))
    >>> output.shape, h.shape
    (torch.Size([5, 2, 8]), torch.Size([1, 2, 8]))
    """

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        device=None,
        dtype=None,
        proj_size=0,
    ):
        if proj_size:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )


class RNNCellBase(Module):
    """What the cells share: two weights and two biases for num_chunks gates."""

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        self.weight_ih = Parameter(rl.empty((gates, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(rl.empty((gates, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            value = Parameter(rl.empty(gates, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"

    def reset_parameters(self):
        """Draws all parameters uniformly from +-1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, mode, input, states, state_labels):
        """Checks, adds the batch dimension where it is missing, and runs one step."""
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for label, state in zip(state_labels, states):
            if state is not None and state.dim() not in (1, 2):
                raise ValueError(f"{name}: Expected {label} to be 1D or 2D, got {state.dim()}D instead")
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
        if input.size(1) != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.size(1)} expected {self.input_size}"
            )
        checked = []
        for i, state in enumerate(states):
            if state is None:
                state = rl.zeros(input.size(0), self.hidden_size, dtype=input.dtype, device=input.device)
            elif not batched:
                state = state.unsqueeze(0)
            if state.size(0) != input.size(0):
                # an unbatched input makes a batched state look like one with too few features
                if not batched:
                    raise RuntimeError(
                        f"hidden{i} has inconsistent hidden_size: got {state.size(1)}, expected {self.hidden_size}"
                    )
                raise RuntimeError(
                    f"Input batch size {input.size(0)} doesn't match hidden{i} batch size {state.size(0)}"
                )
            if state.dim() != 2 or state.size(1) != self.hidden_size:
                raise RuntimeError(
                    f"hidden{i} has inconsistent hidden_size: got {state.size(1)}, expected {self.hidden_size}"
                )
            checked.append(state)
        result = cell(mode, input, tuple(checked), self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return result if batched else tuple(s.squeeze(0) for s in result)


class RNNCell(RNNCellBase):
    """One step of an RNN: h' = tanh(w_ih x + b_ih + w_hh h + b_hh), or relu."""

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step("RNN_" + self.nonlinearity.upper(), input, (hx,), ("hidden",))[0]


class LSTMCell(RNNCellBase):
    """One step of an LSTM; takes and returns the pair (h, c)."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        if isinstance(hx, Tensor):
            raise TypeError("lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not Tensor")
        states = (None, None) if hx is None else tuple(hx)
        return self._step("LSTM", input, states, ("hx[0]", "hx[1]"))


class GRUCell(RNNCellBase):
    """One step of a GRU."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        return self._step("GRU", input, (hx,), ("hidden",))[0]
