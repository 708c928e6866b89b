"""L-BFGS, with an optional line search for the strong Wolfe conditions."""

from collections import namedtuple

import rushlight as rl

from .optimizer import Optimizer, as_float, check_options

_CHANGE_OF_LOSS = 1e-4  # Wolfe conditions: share of the expected decrease ...
_CHANGE_OF_SLOPE = 0.9  # ... and of the slope that must remain at most
_LONGEST_SEARCH = 25


class LBFGS(Optimizer):
    """Limited-memory BFGS: a quasi-Newton method that evaluates the closure several times per step. All parameters
    must be in one group.

    Args:
        max_iter, max_eval: limits per step (max_eval is max_iter * 5 / 4 by default).
        tolerance_grad, tolerance_change: stop when the largest gradient or the change is below.
        history_size: how many past updates describe the curvature.
        line_search_fn: None or "strong_wolfe".
    """

    def __init__(
        self,
        params,
        lr=1,
        max_iter=20,
        max_eval=None,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        history_size=100,
        line_search_fn=None,
    ):
        check_options(lr=lr)
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    # --- the parameters as one vector ---------------------------------------------------------------------------

    def _flat_grad(self):
        parts = []
        for p in self._params:
            grad = p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1)
            parts.append(rl.view_as_real(grad).reshape(-1) if grad.is_complex() else grad)
        return rl.cat(parts)

    def _move(self, t, direction):
        """Adds t * direction to the parameters."""
        start = 0
        for p in self._params:
            target = rl.view_as_real(p) if p.is_complex() else p
            target.add_(direction[start : start + target.numel()].view_as(target), alpha=t)
            start += target.numel()

    def _along(self, closure, direction):
        """A function of t: loss and gradient at the present parameters + t * direction, which are put back."""
        origin = [p.clone() for p in self._params]

        def evaluate(t):
            self._move(t, direction)
            with rl.enable_grad():
                loss = float(as_float(closure()))
            grad = self._flat_grad()
            for p, value in zip(self._params, origin):
                p.copy_(value)
            return loss, grad

        return evaluate

    def step(self, closure):
        """Makes up to max_iter iterations.

        Args:
            closure: clears the gradients, computes the loss, calls backward and returns the loss.
        """
        with rl.no_grad():
            return self._step(closure)

    def _step(self, closure):
        group = self.param_groups[0]
        lr, line_search = float(group["lr"]), group["line_search_fn"]
        max_iter, max_eval = group["max_iter"], group["max_eval"]
        tolerance_change, tolerance_grad = group["tolerance_change"], group["tolerance_grad"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        with rl.enable_grad():
            first_loss = closure()
        loss = float(as_float(first_loss))
        evaluations = 1
        state["func_evals"] += 1
        grad = self._flat_grad()
        if grad.abs().max() <= tolerance_grad:
            return first_loss

        for iteration in range(1, max_iter + 1):
            state["n_iter"] += 1
            direction = self._direction(state, group, grad)
            if state.get("prev_flat_grad") is None:
                state["prev_flat_grad"] = grad.clone()
            else:
                state["prev_flat_grad"].copy_(grad)
            state["prev_loss"] = previous_loss = loss
            # the first step is short: nothing is known about the curvature
            t = min(1.0, 1.0 / grad.abs().sum()) * lr if state["n_iter"] == 1 else lr
            slope = grad.dot(direction)
            state["d"], state["t"] = direction, t
            if slope > -tolerance_change:
                break

            used, converged = 0, False
            if line_search not in (None, "strong_wolfe"):
                raise RuntimeError("only 'strong_wolfe' is supported")
            if line_search is not None:
                evaluate = self._along(closure, direction)
                loss, grad, t, used = _strong_wolfe(
                    evaluate, direction, t, loss, grad, slope, tolerance_change
                )
                state["t"] = t
                self._move(t, direction)
                converged = bool(grad.abs().max() <= tolerance_grad)
            else:
                self._move(t, direction)
                if iteration != max_iter:  # the last gradient would not be used
                    with rl.enable_grad():
                        loss = float(as_float(closure()))
                    grad = self._flat_grad()
                    converged = bool(grad.abs().max() <= tolerance_grad)
                    used = 1
            evaluations += used
            state["func_evals"] += used
            if (
                evaluations >= max_eval
                or converged
                or direction.mul(t).abs().max() <= tolerance_change
                or abs(loss - previous_loss) < tolerance_change
            ):
                break
        for name in ("d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss"):
            state[name] = state.pop(name)  # in PyTorch's order
        return first_loss

    def _direction(self, state, group, grad):
        """The quasi-Newton direction, after taking the last update into the history."""
        if state["n_iter"] == 1:
            state["old_dirs"], state["old_stps"], state["ro"], state["H_diag"] = [], [], [], 1
            return grad.neg()
        old_y, old_s, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y = grad.sub(state["prev_flat_grad"])
        s = state["d"].mul(state["t"])
        ys = y.dot(s)
        if ys > 1e-10:
            if len(old_y) == group["history_size"]:
                for history in (old_y, old_s, ro):
                    history.pop(0)
            old_y.append(y)
            old_s.append(s)
            ro.append(1.0 / ys)
            state["H_diag"] = ys / y.dot(y)
        if state.get("al") is None:
            state["al"] = [None] * group["history_size"]
        al = state["al"]
        q = grad.neg()
        for i in reversed(range(len(old_y))):
            al[i] = old_s[i].dot(q) * ro[i]
            q.add_(old_y[i], alpha=-al[i])
        direction = rl.mul(q, state["H_diag"])
        for i in range(len(old_y)):
            direction.add_(old_s[i], alpha=al[i] - old_y[i].dot(direction) * ro[i])
        return direction


# a point of the line search: step length, loss, gradient, slope along the direction
_Point = namedtuple("_Point", ("t", "loss", "grad", "slope"))


def _strong_wolfe(evaluate, direction, t, loss, grad, slope, tolerance_change):
    """A step length that satisfies the strong Wolfe conditions. Returns loss, gradient, step length, evaluations."""
    start = _Point(0, loss, grad.clone(), slope)
    largest = direction.abs().max()

    def at(t):
        new_loss, new_grad = evaluate(t)
        return _Point(t, new_loss, new_grad, new_grad.dot(direction))

    def too_high(point):
        return point.loss > loss + _CHANGE_OF_LOSS * point.t * slope

    def flat_enough(point):
        return abs(point.slope) <= -_CHANGE_OF_SLOPE * slope

    # lengthen the step until an acceptable point lies between the last two
    point, evaluations, iteration, done = at(t), 1, 0, False
    previous = start
    while iteration < _LONGEST_SEARCH:
        if too_high(point) or (iteration > 1 and point.loss >= previous.loss):
            bracket = [previous, point]
            break
        if flat_enough(point):
            bracket, done = [point], True
            break
        if point.slope >= 0:
            bracket = [previous, point]
            break
        shortest = point.t + 0.01 * (point.t - previous.t)
        t = _cubic_minimum(previous, point, shortest, point.t * 10)
        previous, point = point, at(t)
        evaluations += 1
        iteration += 1
    else:
        bracket = [start, point]

    # narrow the bracket
    low, high = (0, 1) if bracket[0].loss <= bracket[-1].loss else (1, 0)
    little_progress = False
    while not done and iteration < _LONGEST_SEARCH:
        left, right = sorted((bracket[0].t, bracket[1].t))
        if abs(bracket[1].t - bracket[0].t) * largest < tolerance_change:
            break
        t = _cubic_minimum(bracket[0], bracket[1], left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:
            # near an end of the bracket: once is allowed, then it is moved inside
            if little_progress or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                little_progress = False
            else:
                little_progress = True
        else:
            little_progress = False
        point = at(t)
        evaluations += 1
        iteration += 1
        if too_high(point) or point.loss >= bracket[low].loss:
            bracket[high] = point
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
        else:
            if flat_enough(point):
                done = True
            elif point.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = point
    best = bracket[low] if len(bracket) > 1 else bracket[0]
    return best.loss, best.grad, best.t, evaluations


def _cubic_minimum(a, b, lowest, highest):
    """Minimum of the cubic through two points with their slopes, limited to [lowest, highest]."""
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if not square >= 0:
        return (lowest + highest) / 2.0
    d2 = square**0.5
    if a.t <= b.t:
        position = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    else:
        position = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2))
    return min(max(position, lowest), highest)
