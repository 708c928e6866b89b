"""Averages of a model's weights over training: AveragedModel, its learning-rate schedule SWALR, and update_bn."""

import copy

import rushlight as rl

from ..nn.modules.module import Module
from ._cyclic import _cosine, _linear
from .lr_scheduler import LRScheduler


def get_ema_multi_avg_fn(decay=0.999):
    """A function that updates lists of tensors as exponential averages: avg += (1 - decay) * (now - avg)."""
    _check_decay(decay)

    def update(averaged, current, _):
        with rl.no_grad():
            for average, value in zip(averaged, current):
                if average.is_floating_point() or average.is_complex():
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_(average * decay + value * (1 - decay))

    return update


def get_swa_multi_avg_fn():
    """A function that updates lists of tensors as the mean of all values so far."""

    def update(averaged, current, num_averaged):
        with rl.no_grad():
            for average, value in zip(averaged, current):
                if average.is_floating_point() or average.is_complex():
                    average.lerp_(value, 1 / (float(num_averaged) + 1))
                else:
                    average.add_((value - average) // (int(num_averaged) + 1))

    return update


def get_ema_avg_fn(decay=0.999):
    """The exponential average for a single tensor."""
    _check_decay(decay)

    def update(averaged, current, _):
        with rl.no_grad():
            return decay * averaged + (1 - decay) * current

    return update


def get_swa_avg_fn():
    """The mean of all values so far for a single tensor."""

    def update(averaged, current, num_averaged):
        with rl.no_grad():
            return averaged + (current - averaged) / (num_averaged + 1)

    return update


def _check_decay(decay):
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's.

    Args:
        avg_fn: function (averaged, current, count) for a tensor; the mean by default.
        multi_avg_fn: the same for lists of tensors.
        use_buffers: average the buffers too instead of copying them.
    """

    def __init__(self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", rl.tensor(0, dtype=rl.long, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    def update_parameters(self, model):
        """Takes the present parameters of the model into the average."""

        def averaged(module):
            buffers = module.buffers() if self.use_buffers else ()
            return [*module.parameters(), *buffers]

        mine = [t.detach() for t in averaged(self.module)]
        theirs = [t.detach().to(own.device) for own, t in zip(mine, averaged(model))]
        if self.n_averaged == 0:
            for own, value in zip(mine, theirs):
                own.copy_(value)
        elif self.avg_fn is not None:
            for own, value in zip(mine, theirs):
                own.copy_(self.avg_fn(own, value, self.n_averaged.to(own.device)))
        else:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(mine, theirs, self.n_averaged)
        if not self.use_buffers:
            for own, value in zip(self.module.buffers(), model.buffers()):
                own.detach().copy_(value.detach().to(own.device))
        self.n_averaged += 1


def update_bn(loader, model, device=None):
    """Computes the running statistics of all batch normalisations of the model anew, from one pass over loader."""
    momenta = {}
    for module in model.modules():
        if isinstance(module, rl.nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            momenta[module] = module.momentum
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.momentum = None  # plain mean over all batches
    with rl.no_grad():
        for batch in loader:
            if isinstance(batch, (list, tuple)):
                batch = batch[0]
            model(batch if device is None else batch.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Moves the learning rate to swa_lr in anneal_epochs epochs and keeps it there.

    Args:
        anneal_strategy: "cos" or "linear".
    """

    def __init__(self, optimizer, swa_lr, anneal_epochs=10, anneal_strategy="cos", last_epoch=-1):
        values = swa_lr if isinstance(swa_lr, (list, tuple)) else [swa_lr] * len(optimizer.param_groups)
        if len(values) != len(optimizer.param_groups):
            raise ValueError(
                "swa_lr must have the same length as optimizer.param_groups. "
                f"swa_lr has {len(values)} values, param_groups has {len(optimizer.param_groups)}."
            )
        for value, group in zip(values, optimizer.param_groups):
            group["swa_lr"] = value
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _weight(self, t):
        """Share of the way to swa_lr after the fraction t of anneal_epochs."""
        return 1 - _cosine(1.0, 0.0, t) if self._anneal_strategy == "cos" else _linear(0.0, 1.0, t)

    def get_lr(self):
        self._check_within_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        epochs = max(1, self.anneal_epochs)
        before = self._weight(max(0, min(1, (step - 1) / epochs)))
        now = self._weight(max(0, min(1, step / epochs)))
        lrs = []
        for group in self.optimizer.param_groups:
            # undo the last interpolation to find where it began
            target, lr = group["swa_lr"], group["lr"]
            start = lr if before == 1 else (lr - before * target) / (1 - before)
            lrs.append(target * now + start * (1 - now))
        return lrs
