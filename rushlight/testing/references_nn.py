"""NumPy references of the operators of neural networks: convolutions, pooling, normalisation, losses. Plain loops."""

import itertools

import numpy as np

from .references import BY_NAME, _reference


def _tuple(value, n):
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * n if len(values) == 1 else values


# ---- convolution ----
def _conv(input, weight, bias, stride, padding, dilation, groups, rank):
    if input.ndim == rank + 1:
        return _conv(input[None], weight, bias, stride, padding, dilation, groups, rank)[0]
    stride, dilation = _tuple(stride, rank), _tuple(dilation, rank)
    kernel = weight.shape[2:]
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel)]
        sides = [(t // 2, t - t // 2) for t in total]
    else:
        sides = [(0, 0)] * rank if padding == "valid" else [(p, p) for p in _tuple(padding, rank)]
    x = np.pad(input, [(0, 0), (0, 0), *sides])
    out_sizes = [(n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(x.shape[2:], dilation, kernel, stride)]
    out = np.zeros((x.shape[0], weight.shape[0], *out_sizes), np.result_type(input, weight))
    per_in, per_out = weight.shape[1], weight.shape[0] // groups
    for g in range(groups):
        w = weight[g * per_out : (g + 1) * per_out]
        part = x[:, g * per_in : (g + 1) * per_in]
        for at in itertools.product(*map(range, kernel)):
            window = tuple(
                slice(a * d, a * d + (n - 1) * s + 1, s)
                for a, d, n, s in zip(at, dilation, out_sizes, stride)
            )
            out[:, g * per_out : (g + 1) * per_out] += np.einsum(
                "ni...,oi->no...", part[(..., *window)], w[(..., *at)]
            )
    return out if bias is None else out + bias.reshape(-1, *[1] * rank)


def _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, rank):
    if input.ndim == rank + 1:
        return _conv_transpose(
            input[None], weight, bias, stride, padding, output_padding, groups, dilation, rank
        )[0]
    stride, padding, dilation, extra = (_tuple(v, rank) for v in (stride, padding, dilation, output_padding))
    kernel = weight.shape[2:]
    sizes = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(input.shape[2:], stride, dilation, kernel)]
    per_in, per_out = weight.shape[0] // groups, weight.shape[1]
    full = np.zeros(
        (input.shape[0], per_out * groups, *(n + e for n, e in zip(sizes, extra))),
        np.result_type(input, weight),
    )
    for g in range(groups):
        part, w = input[:, g * per_in : (g + 1) * per_in], weight[g * per_in : (g + 1) * per_in]
        for at in itertools.product(*map(range, kernel)):
            window = tuple(
                slice(a * d, a * d + (n - 1) * s + 1, s)
                for a, d, n, s in zip(at, dilation, input.shape[2:], stride)
            )
            full[(slice(None), slice(g * per_out, (g + 1) * per_out), *window)] += np.einsum(
                "ni...,io->no...", part, w[(..., *at)]
            )
    inside = tuple(slice(p, n - p) for p, n in zip(padding, full.shape[2:]))
    out = full[(..., *inside)]
    return out if bias is None else out + bias.reshape(-1, *[1] * rank)


for _rank in (1, 2, 3):
    BY_NAME[f"conv{_rank}d"] = (
        lambda input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, rank=_rank: _conv(
            input, weight, bias, stride, padding, dilation, groups, rank
        )
    )
    BY_NAME[f"conv_transpose{_rank}d"] = (
        lambda input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, rank=_rank:
        _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, rank)
    )  # fmt: skip


@_reference("convolution")
def _convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    rank = weight.ndim - 2
    if transposed:
        return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation, rank)
    return _conv(input, weight, bias, stride, padding, dilation, groups, rank)


def _windows(shape, kernel_size, dilation, padding, stride):
    """(output position, input position, kernel offset) of a 2-d window; positions count from the padded corner."""
    k, d, p, s = (_tuple(v, 2) for v in (kernel_size, dilation, padding, stride))
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(shape, k, d, p, s)]
    return counts, k, d, p, s


@_reference("im2col")
def _im2col(input, kernel_size, dilation, padding, stride):
    if input.ndim == 3:
        return _im2col(input[None], kernel_size, dilation, padding, stride)[0]
    counts, k, d, p, s = _windows(input.shape[2:], kernel_size, dilation, padding, stride)
    x = np.pad(input, [(0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])])
    columns = [
        x[:, :, i * d[0] : i * d[0] + counts[0] * s[0] : s[0], j * d[1] : j * d[1] + counts[1] * s[1] : s[1]]
        for i in range(k[0])
        for j in range(k[1])
    ]
    columns = [c[:, :, : counts[0], : counts[1]] for c in columns]
    stacked = np.stack(columns, 2)  # (N, C, K, H, W)
    return stacked.reshape(stacked.shape[0], stacked.shape[1] * stacked.shape[2], -1)


@_reference("col2im")
def _col2im(input, output_size, kernel_size, dilation, padding, stride):
    if input.ndim == 2:
        return _col2im(input[None], output_size, kernel_size, dilation, padding, stride)[0]
    size = _tuple(output_size, 2)
    counts, k, d, p, s = _windows(size, kernel_size, dilation, padding, stride)
    n = input.shape[0]
    blocks = input.reshape(n, -1, k[0] * k[1], *counts)
    out = np.zeros((n, blocks.shape[1], size[0] + 2 * p[0], size[1] + 2 * p[1]), input.dtype)
    for i, j, y, x in itertools.product(range(k[0]), range(k[1]), range(counts[0]), range(counts[1])):
        out[:, :, y * s[0] + i * d[0], x * s[1] + j * d[1]] += blocks[:, :, i * k[1] + j, y, x]
    return out[:, :, p[0] : p[0] + size[0], p[1] : p[1] + size[1]]


# ---- pooling ----
def _pool_counts(shape, kernel, stride, padding, dilation, ceil_mode):
    counts = []
    for n, k, s, p, d in zip(shape, kernel, stride, padding, dilation):
        span = n + 2 * p - d * (k - 1) - 1
        count = (-(-span // s) if ceil_mode else span // s) + 1
        if ceil_mode and (count - 1) * s >= n + p:  # the last window must start inside
            count -= 1
        counts.append(count)
    return counts


@_reference("max_pool2d")
def _max_pool2d(*args, **kwargs):
    return _max_pool2d_with_indices(*args, **kwargs)[0]


@_reference("max_pool2d_with_indices")
def _max_pool2d_with_indices(input, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False):
    k, p, d = (_tuple(v, 2) for v in (kernel_size, padding, dilation))
    s = k if stride is None or stride == () or stride == [] else _tuple(stride, 2)
    h, w = input.shape[-2:]
    counts = _pool_counts((h, w), k, s, p, d, ceil_mode)
    values = np.zeros((*input.shape[:-2], *counts), input.dtype)
    indices = np.zeros(values.shape, "int64")
    for y, x in itertools.product(*map(range, counts)):
        rows = [r for r in (y * s[0] - p[0] + i * d[0] for i in range(k[0])) if 0 <= r < h]
        columns = [c for c in (x * s[1] - p[1] + j * d[1] for j in range(k[1])) if 0 <= c < w]
        places = np.array([r * w + c for r in rows for c in columns])
        window = input.reshape(*input.shape[:-2], h * w)[..., places]
        best = window.argmax(-1)
        values[..., y, x], indices[..., y, x] = window.max(-1), places[best]
    return values, indices


@_reference("avg_pool2d")
def _avg_pool2d(
    input, kernel_size, stride=(), padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    k, p = _tuple(kernel_size, 2), _tuple(padding, 2)
    s = k if stride is None or stride == () or stride == [] else _tuple(stride, 2)
    h, w = input.shape[-2:]
    counts = _pool_counts((h, w), k, s, p, (1, 1), ceil_mode)
    out = np.zeros((*input.shape[:-2], *counts), input.dtype)
    for y, x in itertools.product(*map(range, counts)):
        top, left = y * s[0] - p[0], x * s[1] - p[1]
        bottom, right = min(top + k[0], h + p[0]), min(left + k[1], w + p[1])
        padded = (bottom - top) * (right - left)
        window = input[..., max(top, 0) : min(bottom, h), max(left, 0) : min(right, w)]
        inside = window.shape[-1] * window.shape[-2]
        out[..., y, x] = window.sum((-1, -2)) / (
            divisor_override or (padded if count_include_pad else inside)
        )
    return out


def _adaptive(input, output_size, reduce):
    h, w = input.shape[-2:]
    wanted = [n if o is None else o for o, n in zip(_tuple(output_size, 2), (h, w))]
    ranges = [[(i * n // o, -(-(i + 1) * n // o)) for i in range(o)] for o, n in zip(wanted, (h, w))]
    return wanted, [[reduce(a, b, c, d) for c, d in ranges[1]] for a, b in ranges[0]]


@_reference("adaptive_avg_pool2d", "_adaptive_avg_pool2d")
def _adaptive_avg_pool2d(input, output_size):
    _, rows = _adaptive(input, output_size, lambda a, b, c, d: input[..., a:b, c:d].mean((-1, -2)))
    return np.stack([np.stack(row, -1) for row in rows], -2)


@_reference("adaptive_max_pool2d")
def _adaptive_max_pool2d(input, output_size):
    w = input.shape[-1]

    def best(a, b, c, d):
        window = input[..., a:b, c:d].reshape(*input.shape[:-2], -1)
        at = window.argmax(-1)
        return window.max(-1), (a + at // (d - c)) * w + c + at % (d - c)

    _, rows = _adaptive(input, output_size, best)
    return tuple(np.stack([np.stack([cell[i] for cell in row], -1) for row in rows], -2) for i in (0, 1))


# ---- normalisation ----
def _channels(v, x):
    return 1.0 if v is None else v.reshape(1, -1, *[1] * (x.ndim - 2))


@_reference("batch_norm")
def _batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=True):
    axes = (0, *range(2, input.ndim))
    mean = input.mean(axes) if training else running_mean
    var = input.var(axes) if training else running_var
    out = (input - _channels(mean, input)) / np.sqrt(_channels(var, input) + eps)
    return out * _channels(weight, input) + (0 if bias is None else _channels(bias, input))


@_reference("group_norm")
def _group_norm(input, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True):
    groups = input.reshape(input.shape[0], num_groups, -1)
    normal = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + eps)
    return normal.reshape(input.shape) * _channels(weight, input) + (
        0 if bias is None else _channels(bias, input)
    )


@_reference("layer_norm")
def _layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True):
    axes = tuple(range(-len(normalized_shape), 0))
    normal = (input - input.mean(axes, keepdims=True)) / np.sqrt(input.var(axes, keepdims=True) + eps)
    return normal * (1 if weight is None else weight) + (0 if bias is None else bias)


@_reference("rms_norm")
def _rms_norm(input, normalized_shape, weight=None, eps=None):
    axes = tuple(range(-len(normalized_shape), 0))
    eps = eps or 0.0  # the default lies below every tolerance
    return input / np.sqrt((input**2).mean(axes, keepdims=True) + eps) * (1 if weight is None else weight)


@_reference("scaled_dot_product_attention")
def _attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None):
    scores = query @ np.swapaxes(key, -1, -2) * (1 / np.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = np.tril(np.ones(scores.shape[-2:], bool))
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf) if attn_mask.dtype == bool else scores + attn_mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ value


# ---- losses: reduction is 0 none, 1 mean, 2 sum ----
def _reduced(loss, reduction):
    return [loss, loss.mean(), loss.sum()][reduction]


@_reference("smooth_l1_loss")
def _smooth_l1(input, target, reduction=1, beta=1.0):
    d = np.abs(input - target)
    return _reduced(np.where(d < beta, d * d / 2 / (beta or 1), d - beta / 2), reduction)


@_reference("huber_loss")
def _huber(input, target, reduction=1, delta=1.0):
    d = np.abs(input - target)
    return _reduced(np.where(d < delta, d * d / 2, delta * (d - delta / 2)), reduction)


@_reference("nll_loss")
def _nll(input, target, weight=None, reduction=1, ignore_index=-100):
    weight = np.ones(input.shape[1]) if weight is None else weight
    taken = np.where(target == ignore_index, 0, target)
    w = np.where(target == ignore_index, 0.0, weight[taken])
    loss = -w * np.take_along_axis(input, taken[:, None], 1)[:, 0]
    return [loss, loss.sum() / w.sum(), loss.sum()][reduction]


@_reference("constant_pad_nd")
def _constant_pad(input, pad, value=0):
    sides = [(0, 0)] * (input.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2]))[::-1]
    inside = tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(sides, input.shape))
    return np.pad(input[inside], [(max(a, 0), max(b, 0)) for a, b in sides], constant_values=value)
