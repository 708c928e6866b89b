"""The base class of distributions: shapes, validation of arguments, expansion, printing."""

import warnings

import rushlight as rl

from . import constraints
from .utils import lazy_property

__all__ = ["Distribution"]


class Distribution:
    """A (batch of) probability distribution(s).

    A sample has the shape sample_shape + batch_shape + event_shape; log_prob has sample_shape + batch_shape.
    Subclasses keep the parameters named in `arg_constraints` as attributes.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__

    def __init__(self, batch_shape=(), event_shape=(), validate_args=None):
        self._batch_shape, self._event_shape = rl.Size(batch_shape), rl.Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()
        super().__init__()

    @staticmethod
    def set_default_validate_args(value):
        """Whether distributions check their arguments when the constructor is not told."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    # ---- parameters ----

    def _given_parameters(self):
        """Names and values of the parameters that are set (not those computed from others on demand)."""
        return {
            name: self.__dict__[name] for name in self._constraints_of_arguments() if name in self.__dict__
        }

    def _constraints_of_arguments(self):
        try:
            return self.arg_constraints
        except NotImplementedError:
            warnings.warn(f"{type(self)} does not define `arg_constraints`. Please set `arg_constraints = {{}}` or initialize "
                          "the distribution with `validate_args=False` to turn off validation.", stacklevel=4)  # fmt: skip
            return {}

    def _check_parameters(self):
        for name, constraint in self._constraints_of_arguments().items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name, None), lazy_property):
                continue
            value = getattr(self, name)
            if not bool(constraint.check(value).all()):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    def expand(self, batch_shape, _instance=None):
        """The same distribution with its batch broadcast to batch_shape; no memory is copied."""
        new = self._get_checked_instance(type(self), _instance)
        batch_shape = rl.Size(batch_shape)
        new.__dict__.update({k: v for k, v in self.__dict__.items() if k not in new.__dict__})
        for name in self.arg_constraints:
            if name not in self.__dict__:
                new.__dict__.pop(name, None)
                continue
            value, last = self.__dict__[name], self._event_dims_of(name)
            new.__dict__[name] = value.expand(batch_shape + value.shape[value.dim() - last :])
        new._batch_shape = batch_shape
        new._expand_parts(self, batch_shape)
        new._validate_args = self._validate_args
        return new

    def _event_dims_of(self, name):
        """How many of the last dimensions of a parameter belong to one event."""
        try:
            return self.arg_constraints[name].event_dim
        except NotImplementedError:
            return 0

    def _expand_parts(self, old, batch_shape):
        """For subclasses that hold other distributions: expand those, too."""

    def _get_checked_instance(self, cls, _instance=None):
        if _instance is None and type(self).__init__ != cls.__init__:
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ method must also define a "
                "custom .expand() method."
            )
        return type(self).__new__(type(self)) if _instance is None else _instance

    # ---- shapes and moments ----

    @property
    def batch_shape(self):
        """Shape over which parameters are batched."""
        return self._batch_shape

    @property
    def event_shape(self):
        """Shape of one sample of one distribution."""
        return self._event_shape

    @property
    def arg_constraints(self):
        """Parameter names and their constraints."""
        raise NotImplementedError

    @property
    def support(self):
        """Constraint that samples satisfy."""
        raise NotImplementedError

    @property
    def mean(self):
        raise NotImplementedError

    @property
    def mode(self):
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self):
        raise NotImplementedError

    @property
    def stddev(self):
        """Standard deviation."""
        return self.variance.sqrt()

    # ---- samples and densities ----

    def sample(self, sample_shape=()):
        """Draw; no gradient flows through it."""
        with rl.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        """Draw so that the sample is a differentiable function of the parameters."""
        raise NotImplementedError

    def sample_n(self, n):
        """Draw n times."""
        warnings.warn(
            "sample_n(n) will be deprecated. Use .sample((n,)) instead.", FutureWarning, stacklevel=2
        )
        return self.sample((n,))

    def log_prob(self, value):
        """Log density or log probability."""
        raise NotImplementedError

    def cdf(self, value):
        """Probability of a sample at most value."""
        raise NotImplementedError

    def icdf(self, value):
        """The inverse of cdf()."""
        raise NotImplementedError

    def enumerate_support(self, expand=True):
        """All values of a discrete distribution along a new first dimension."""
        raise NotImplementedError

    def entropy(self):
        raise NotImplementedError

    def perplexity(self):
        """exp of the entropy."""
        return rl.exp(self.entropy())

    def _extended_shape(self, sample_shape=()):
        return rl.Size(sample_shape) + self._batch_shape + self._event_shape

    def _validate_sample(self, value):
        """ValueError unless value has a fitting shape and lies in the support."""
        if not isinstance(value, rl.Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        start = value.dim() - len(self._event_shape)
        if value.shape[start:] != self._event_shape:
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.size()} vs {self._event_shape}."
            )
        actual, expected = value.size(), self._batch_shape + self._event_shape
        for i, j in zip(reversed(actual), reversed(expected)):
            if i != 1 and j != 1 and i != j:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {actual} vs {expected}."
                )
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(f"{type(self)} does not define `support` to enable sample validation. Please initialize the "
                          "distribution with `validate_args=False` to turn off validation.", stacklevel=2)  # fmt: skip
            return
        if not bool(support.check(value).all()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the support "
                f"({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self):
        parameters = self._given_parameters()
        text = ", ".join(f"{k}: {v if v.numel() == 1 else v.size()}" for k, v in parameters.items())
        return f"{type(self).__name__}({text})"
