"""Functions of nn.functional and of nn.grad, nn.init and nn.utils that no module of modules.py calls in the same way."""

import importlib

from . import evaluated, namespace, plain
from .modules import forward, inputs_of, variants

# (function of the inputs, inputs)
CASES = [
    *[(f"F.{name}", "x(4, 6)") for name in ("relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "hardtanh", "hardswish", "hardsigmoid", "hardshrink", "softshrink", "tanhshrink", "leaky_relu", "logsigmoid", "sigmoid", "tanh", "softplus", "softsign", "rrelu", "softmin", "softmax", "log_softmax", "glu", "normalize")],
    ("lambda a: F.softmax(a, 0, dtype=torch.float64)", "x(4, 6)"), ("lambda a: F.log_softmax(a, -1, dtype=torch.float32)", "x(4, 6)"), ("lambda a: F.gumbel_softmax(a, 0.7)", "x(4, 6)"), ("lambda a: F.gumbel_softmax(a, 0.7, hard=True, dim=0)", "x(4, 6)"), ("lambda a: F.rrelu(a, 0.1, 0.4, training=True)", "x(4, 6)"), ("lambda a: F.threshold(a, 0.2, -3.0)", "x(4, 6)"), ("lambda a, w: F.prelu(a, w)", "x(2, 3, 4), pos(3)"), ("lambda a: F.normalize(a, 3.0, 0, 1e-3)", "x(4, 6)"),
    ("lambda a, w, b: F.linear(a, w, b)", "x(2, 4, 6), x(3, 6), x(3)"), ("lambda a, w: F.linear(a, w)", "x(6), x(6)"), ("F.bilinear", "x(2, 3), x(2, 4), x(5, 3, 4), x(5)"),
    ("lambda a, w, b: F.conv1d(a, w, b, padding='same', dilation=3)", "x(2, 4, 9), x(3, 4, 2), x(3)"), ("lambda a, w: F.conv2d(a, w, None, 2, (1, 0), 1, 2)", "x(2, 4, 7, 6), x(6, 2, 3, 2)"), ("lambda a, w: F.conv3d(a, w, padding=1)", "x(1, 2, 4, 3, 5), x(2, 2, 3, 3, 3)"), ("lambda a, w, b: F.conv_tbc(a, w, b, 1)", "x(5, 2, 3), x(2, 3, 4), x(4)"), ("lambda a, w, b: F.conv_transpose1d(a, w, b, 2, 1, 1)", "x(2, 4, 5), x(4, 3, 3), x(3)"), ("lambda a, w: F.conv_transpose2d(a, w, None, 2, 0, 0, 2)", "x(2, 4, 3, 3), x(4, 2, 2, 3)"), ("lambda a, w: F.conv_transpose3d(a, w, stride=(1, 2, 1))", "x(1, 2, 3, 2, 3), x(2, 2, 2, 2, 2)"),
    ("lambda a, w: F.conv2d(torch.complex(a, a + 1), torch.complex(w, 1 - w), torch.complex(w[:, 0, 0, 0], w[:, 0, 0, 1]))", "x(1, 2, 5, 4), x(3, 2, 3, 2)"), ("lambda a, w: torch.view_as_real(F.conv_transpose1d(torch.complex(a, a + 1), torch.complex(w, 1 - w), stride=2))", "x(1, 2, 5), x(2, 3, 3)"),
    ("lambda a: F.max_pool1d(a, 3, 2, 1, 1, True, True)", "x(2, 4, 9)"), ("lambda a: F.max_pool2d(a, (3, 2), ceil_mode=True)", "x(2, 4, 7, 6)"), ("lambda a: F.max_pool3d(a, 2, 1, 1, return_indices=True)", "x(1, 2, 4, 3, 5)"), ("lambda a: F.avg_pool1d(a, 4, 3, 2)", "x(2, 4, 9)"), ("lambda a: F.avg_pool2d(a, 3, 2, 1, True, False)", "x(2, 4, 7, 6)"), ("lambda a: F.avg_pool3d(a, 2, divisor_override=3)", "x(1, 2, 4, 3, 5)"), ("lambda a: F.lp_pool1d(a, 2.5, 3)", "pos(2, 4, 9)"), ("lambda a: F.lp_pool2d(a, 2, 3, 1)", "x(2, 4, 7, 6)"), ("lambda a: F.adaptive_avg_pool2d(a, (1, 1))", "x(2, 4, 7, 6)"), ("lambda a: F.adaptive_max_pool1d(a, 4, True)", "x(2, 4, 9)"),
    *[(f"lambda a: F.pad(a, {p!r}, {mode!r}{v})", "x(2, 3, 4, 5)") for p, mode, v in (((1, 2), "constant", ", 1.5"), ((1, -1, 0, 2), "constant", ""), ((1, 2, 3, 0), "reflect", ""), ((0, 2, 1, 1), "replicate", ""), ((2, 1, 0, 3), "circular", ""))],
    ("lambda a: F.layer_norm(a, (6,), torch.linspace(0.5, 1, 6).to(a.dtype))", "x(4, 6)"), ("lambda a: F.rms_norm(a, (6,), eps=0.1)", "x(4, 6)"), ("lambda a: F.group_norm(a, 2, eps=0.1)", "x(2, 4, 3)"), ("lambda a: F.instance_norm(a, eps=0.1)", "x(2, 4, 9)"), ("lambda a: F.batch_norm(a, None, None, training=True)", "x(5, 4)"), ("lambda a: F.batch_norm(a, torch.zeros(4).to(a.dtype), torch.ones(4).to(a.dtype))", "x(5, 4)"), ("lambda a: F.local_response_norm(a, 3, 0.5)", "x(2, 4, 5)"),
    *[(f"lambda a: F.{name}(a, 0.4)", "x(2, 3, 4, 2)") for name in ("dropout", "dropout2d", "alpha_dropout", "feature_alpha_dropout")], ("lambda a: F.dropout1d(a, 0.4)", "x(3, 4)"), ("lambda a: F.dropout3d(a, 0.4)", "x(3, 4, 2, 2)"), ("lambda a: F.dropout(a, 0.4, False)", "x(4, 6)"),
    ("F.pairwise_distance", "x(4, 6), x(4, 6, scale=1.0)"), ("lambda a, b: F.cosine_similarity(a, b, 0)", "x(4, 6), x(4, 6, scale=1.0)"), ("lambda a: F.pdist(a, 1.5)", "x(4, 6)"), ("F.pdist", "x(4, 6)"),
    ("lambda q, k, v: F.scaled_dot_product_attention(q, k, v)", "x(2, 3, 5, 4), x(2, 3, 6, 4), x(2, 3, 6, 2)"), ("lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)", "x(2, 3, 5, 4), x(2, 3, 6, 4), x(2, 3, 6, 2)"), ("lambda q, k, v: F.scaled_dot_product_attention(q, k, v, torch.arange(30).view(5, 6) % 4 > 0)", "x(2, 3, 5, 4), x(2, 3, 6, 4), x(2, 3, 6, 2)"), ("lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m)", "x(3, 5, 4), x(3, 6, 4), x(3, 6, 2), x(5, 6)"), ("lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)", "x(1, 4, 5, 4), x(1, 2, 6, 4), x(1, 2, 6, 2)"),
    ("lambda w: F.embedding(torch.tensor([[1, 4], [0, 1]]), w, 1, scale_grad_by_freq=True)", "x(5, 3)"), ("lambda w: F.embedding_bag(torch.tensor([1, 4, 0, 1]), w, torch.tensor([0, 3]), mode='max')", "x(5, 3)"), ("lambda i: F.one_hot(i, 5)", "i(2, 3)"),
    *[(f"lambda a: F.interpolate(a, {s}, mode={m!r}{k})", sh) for s, m, k, sh in (("size=5", "nearest", "", "x(1, 2, 8)"), ("scale_factor=0.6", "nearest-exact", "", "x(1, 2, 8)"), ("scale_factor=1.7", "linear", ", align_corners=True", "x(1, 2, 8)"), ("size=(3, 9)", "bilinear", ", antialias=True", "x(1, 2, 7, 6)"), ("size=(3, 4)", "bicubic", ", antialias=True", "x(1, 2, 7, 6)"), ("scale_factor=(2, 0.5)", "bicubic", "", "x(1, 2, 7, 6)"), ("scale_factor=0.5", "area", "", "x(1, 2, 7, 6)"), ("size=(2, 5, 3)", "trilinear", "", "x(1, 2, 4, 3, 5)"), ("scale_factor=2.3", "bilinear", ", recompute_scale_factor=True", "x(1, 2, 7, 6)"))],
    ("lambda a: F.unfold(a, (2, 3), 1, 1, 2)", "x(2, 3, 5, 6)"), ("lambda a: F.fold(a, (5, 6), (2, 3), 1, 1, 2)", "x(2, 18, 9)"), ("lambda a: F.pixel_shuffle(a, 2)", "x(1, 4, 2, 3)"), ("lambda a: F.pixel_unshuffle(a, 2)", "x(1, 2, 4, 2)"), ("lambda a: F.channel_shuffle(a, 3)", "x(1, 6, 2)"),
    ("lambda t: F.affine_grid(t, (2, 3, 4, 5), False)", "x(2, 2, 3)"), ("lambda t: F.affine_grid(t, (1, 3, 4, 5, 2), True)", "x(1, 3, 4)"),
    *[(f"lambda a, g: F.grid_sample(a, g, {m!r}, {p!r}, {c})", "x(1, 2, 4, 5), x(1, 3, 3, 2, scale=1.3)") for m, p, c in (("bilinear", "zeros", False), ("bilinear", "border", True), ("nearest", "reflection", False), ("bicubic", "zeros", True), ("bicubic", "reflection", False))], ("lambda a, g: F.grid_sample(a, g, align_corners=False)", "x(1, 2, 3, 4, 2), x(1, 2, 2, 3, 3, scale=1.2)"),
    *[(f"F.{name}", "x(4, 6), x(4, 6, scale=1.0)") for name in ("l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss")], ("lambda a, b, w: F.mse_loss(a, b, weight=w)", "x(4, 6), x(4, 6, scale=1.0), pos(4, 6)"), ("lambda a, b, w: F.l1_loss(a, b, weight=w, reduction='sum')", "x(4, 6), x(4, 6, scale=1.0), pos(4, 6)"), ("lambda a, b, w: F.huber_loss(a, b, delta=0.4, weight=w)", "x(4, 6), x(4, 6, scale=1.0), pos(4, 6)"),
    ("lambda a: F.cross_entropy(a, torch.tensor([0, 2, -100, 1]), label_smoothing=0.1)", "x(4, 3)"), ("lambda a, w: F.nll_loss(a, torch.tensor([0, 2, 1, 1]), w.detach(), reduction='mean')", "x(4, 3), pos(3)"), ("lambda a, b: F.binary_cross_entropy(a, b.detach(), reduction='none')", "pos(4, 6), pos(4, 6)"), ("lambda a, b: F.binary_cross_entropy_with_logits(a, b)", "x(4, 6), pos(4, 6)"), ("lambda a, b: F.kl_div(a, b, reduction='batchmean')", "x(4, 6), pos(4, 6)"), ("lambda a, b: F.poisson_nll_loss(a, b.detach(), full=True)", "x(4, 6), pos(4, 6)"), ("lambda a, b, v: F.gaussian_nll_loss(a, b, v, full=True)", "x(4, 6), x(4, 6, scale=1.0), pos(4, 6)"),
    ("lambda a, w, b: F.linear_cross_entropy(a, w, torch.tensor([0, 2, 1, 1]), linear_bias=b)", "x(4, 5), x(3, 5), x(3)"), ("lambda a, b: F.grouped_mm(a, b, offs=torch.tensor([1, 4], dtype=torch.int32))", "x(4, 16), x(2, 16, 8)"), ("lambda a, b: F.grouped_mm(a, b)", "x(2, 4, 16), x(2, 16, 8)"), ("lambda a, b: F.grouped_mm(a, b, offs=torch.tensor([8, 16], dtype=torch.int32))", "x(4, 16), x(16, 8)"),
    *[(f"G.{name}", text) for name, text in (("conv1d_weight", "x(2, 4, 9), (3, 4, 2), x(2, 3, 8)"), ("conv2d_weight", "x(1, 2, 5, 4), (3, 2, 2, 2), x(1, 3, 4, 3)"), ("conv3d_weight", "x(1, 2, 3, 3, 3), (2, 2, 2, 2, 2), x(1, 2, 2, 2, 2)"))],
    ("lambda w, g: G.conv1d_input((2, 4, 9), w, g)", "x(3, 4, 2), x(2, 3, 8)"), ("lambda w, g: G.conv2d_input((1, 2, 5, 4), w, g, stride=(2, 1), padding=(1, 0))", "x(3, 2, 3, 2), x(1, 3, 3, 3)"), ("lambda w, g: G.conv3d_input((1, 4, 3, 3, 3), w, g, groups=2)", "x(2, 2, 2, 2, 2), x(1, 2, 2, 2, 2)"),
]  # fmt: skip

# values only
CALLS = [
    *[f"(torch.manual_seed(0), I.{call})[1]" for call in ("uniform_(e(3, 4), -1, 2)", "normal_(e(3, 4), 1, 2)", "trunc_normal_(e(3, 4), std=0.5)", "constant_(e(2), 3)", "ones_(e(2))", "zeros_(e(2))", "eye_(e(2, 3))", "dirac_(e(4, 2, 3), 2)", "xavier_uniform_(e(3, 4), 2.0)", "xavier_normal_(e(3, 4))", "kaiming_uniform_(e(3, 4), 0.2, 'fan_out')", "kaiming_normal_(e(3, 4, 2), nonlinearity='relu')", "orthogonal_(e(3, 4), 2.0)", "orthogonal_(e(4, 3))", "sparse_(e(5, 4), 0.4)")], *[f"I.calculate_gain({name!r})" for name in ("linear", "relu", "tanh", "selu", "leaky_relu", "conv2d", "x")], "I.kaiming_uniform_(e(3))", "I.dirac_(e(2, 2))", "I.eye_(e(2))", "I.orthogonal_(e(2))", "I.sparse_(e(2), 0.1)", "I.xavier_uniform_(e(2))", "I.kaiming_normal_(e(2, 2), mode='x')",
    "F.ScalingType.RowWise.value, F.SwizzleType.NO_SWIZZLE.value", "F.grouped_mm(o(2, 16), o(2, 16, 8))", "F.grouped_mm(o(2, 4, 16), o(2, 16, 8), offs=torch.tensor([1, 2], dtype=torch.int32))", "F.one_hot(torch.tensor([0, 3]), 2)", "F.one_hot(torch.tensor([0.5]))", "F.gumbel_softmax(o(2), tau=1, eps=1)", "nn.utils.clip_grad_norm_([], 1.0)", "nn.utils.clip_grad_norm_(graded(), 1.0)", "nn.utils.clip_grad_norm_(graded(), 1.0, norm_type='inf')", "nn.utils.get_total_norm([o(3), o(2)], 1.0)", "nn.utils.clip_grad_value_(graded(), 0.5)", "nn.utils.parameters_to_vector(graded())", "nn.utils.clip_grad_norm_(bad(), 1.0, error_if_nonfinite=True)", "nn.utils.vector_to_parameters(3, graded())", "nn.utils.parameters_to_vector([])", "nn.factory_kwargs({'a': 1})", "F.multi_head_attention_forward.__name__",
    # modules called with more than their inputs; m makes one after manual_seed(0)
    "m('nn.CrossMapLRN2d(3, 0.5, 0.7, 2.0)', x(1, 6, 2, 2))", "m('nn.CrossMapLRN2d(4, 0.5)', x(2, 3, 2, 2))", "m('nn.CrossMapLRN2d(5)', x(1, 2, 3))", "nn.CrossMapLRN2d(2)", "nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(3, affine=False), nn.Sequential(nn.BatchNorm1d(2))))", "nn.SyncBatchNorm.convert_sync_batchnorm(nn.Linear(1, 1))", "m('nn.SyncBatchNorm(3)', x(3))", "m('nn.SyncBatchNorm(3)', x(2, 0, 3))", "nn.Container(a=nn.ReLU())", "nn.NLLLoss2d()", "m('nn.DataParallel(nn.Linear(2, 3))', x(4, 2))", "nn.utils.skip_init(nn.Conv2d, 2, 3, 1)",
    *[f"m('nn.MultiheadAttention(8, 2)', x(5, 3, 8), x(6, 3, 8), x(6, 3, 8), {a})" for a in ("need_weights=False", "average_attn_weights=False", "key_padding_mask=torch.arange(18).view(3, 6) % 5 == 1", "attn_mask=torch.arange(30).view(5, 6) % 4 == 0", "attn_mask=x(6, 5, 6).detach()", "attn_mask=torch.zeros(5, 6), is_causal=True", "attn_mask=torch.ones(5, 6).triu(1).bool(), is_causal=True, need_weights=False", "key_padding_mask=torch.zeros(3, 6), attn_mask=torch.arange(30).view(5, 6) % 4 == 0", "key_padding_mask=torch.zeros(2, 6).bool()", "attn_mask=torch.zeros(4, 4)")],
    "m('nn.MultiheadAttention(8, 2)', x(5, 8), x(6, 8), x(6, 8), key_padding_mask=torch.arange(6) > 3)", "m('nn.MultiheadAttention(8, 2).eval()', x(5, 3, 8), x(5, 3, 8), x(5, 3, 8))",
    *[f"m('nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)', x(3, 5, 8), {a})" for a in ("src_mask=nn.Transformer.generate_square_subsequent_mask(5), is_causal=True", "src_key_padding_mask=torch.arange(15).view(3, 5) % 5 == 4", "src_mask=torch.zeros(5, 5).bool()")], "m('nn.TransformerDecoderLayer(8, 2, 16, 0.0)', x(5, 3, 8), x(6, 3, 8), tgt_mask=nn.Transformer.generate_square_subsequent_mask(5), tgt_is_causal=True, memory_key_padding_mask=torch.arange(18).view(3, 6) % 6 == 5)", "m('nn.Transformer(8, 2, 1, 1, 16, 0.0)', x(5, 3, 8), x(4, 3, 8), tgt_mask=nn.Transformer.generate_square_subsequent_mask(4), src_key_padding_mask=torch.arange(15).view(3, 5) % 5 == 4)", "nn.Transformer.generate_square_subsequent_mask(3)",
    *[f"m('nn.{cell}(3, 4{a})', packed(x(5, 3, 3), [5, 3, 1]))" for cell, a in (("LSTM", ", 2, bidirectional=True"), ("GRU", ""), ("RNN", ", nonlinearity='relu'"), ("LSTM", ", proj_size=2"))], "m('nn.GRU(3, 4)', packed(x(5, 3, 3), [2, 5, 1], enforce_sorted=False))", "R.pad_packed_sequence(packed(x(5, 3, 2), [5, 3, 1]), True, -1.0, 7)", "R.pad_packed_sequence(packed(x(5, 3, 2), [5, 3, 1]), total_length=2)", "packed(x(5, 3, 2), [3, 5, 1])", "packed(x(5, 3, 2), [5, 0, 1], enforce_sorted=False)", "R.pad_sequence([o(2, 2), o(3, 2)], True, 0.5, 'left')", "R.pad_sequence([o(2, 2), o(3, 2)])", "R.unpad_sequence(o(3, 2, 2), torch.tensor([2, 3]))", "R.pack_sequence([o(3), o(2)])", "R.pack_sequence([o(2), o(3)])", "R.unpack_sequence(packed(x(5, 3, 2), [5, 3, 1]))", "packed(x(5, 3, 2), [5, 3, 1])", "packed(x(5, 3, 2), [5, 3, 1]).to(torch.float64).data.dtype", "m('nn.GRU(3, 4)', packed(x(5, 2, 3), [5, 3]), o(1, 3, 4))",
    "m('nn.EmbeddingBag(5, 3)', torch.tensor([1, 2, 4, 4]), offsets=torch.tensor([0, 2]))", "m('nn.MaxUnpool2d(2)', x(1, 1, 2, 2), torch.tensor([[[[0, 3], [9, 15]]]]), output_size=(1, 1, 5, 5))", "m('nn.ConvTranspose2d(2, 3, 3, stride=2)', x(1, 2, 3, 3), output_size=(8, 7))", "m('nn.Fold((4, 5), (2, 3))', x(12, 9))", "m('nn.AdaptiveLogSoftmaxWithLoss(6, 10, [2, 5])', input_=x(4, 6), target_=i(4, below=10))", "nn.Embedding.from_pretrained(o(3, 2), freeze=False, padding_idx=1)", "nn.EmbeddingBag.from_pretrained(o(3, 2), mode='sum').weight.requires_grad", "nn.Sequential(nn.ReLU(), nn.Tanh()) + nn.Sequential(nn.GELU())", "nn.Sequential(nn.ReLU()) * 3", "nn.Sequential(nn.ReLU()) * 0", "nn.Sequential(nn.ReLU(), nn.Tanh())[1:]", "nn.Sequential(nn.ReLU(), nn.Tanh()).pop(0)", "nn.ModuleList([nn.ReLU()]) + nn.ModuleList([nn.Tanh()])", "nn.ModuleList([nn.ReLU()])[3]", "nn.ModuleDict({'a': nn.ReLU()})['b']", "nn.ParameterList([o(2)]) + nn.ParameterList([o(1)])", "nn.ParameterDict({'b': o(1), 'a': o(2)}) | nn.ParameterDict({'c': o(1)})",
    "F.softmax(o(2, 3))", "F.cosine_embedding_loss(o(2, 3), o(2, 3), o(3))", "F.ctc_loss(o(3, 1, 2), o(1, 1), (3,), (1,), blank=5)", "F.embedding(torch.tensor([5]), o(3, 2))", "F.interpolate(o(1, 1, 4), 2, 3)", "F.interpolate(o(1, 1, 4), mode='x', size=2)", "F.grid_sample(o(1, 1, 2, 2), o(2, 2, 2, 2))", "F.affine_grid(o(1, 2, 3), (1, 1, 0, 2))", "F.pad(o(2, 2), (1, 1, 1, 1, 1, 1))", "F.pad(o(2, 2), (1, 1), 'reflect', 3)", "F.pad(o(2, 2), (1, 1), 'x')", "F.fold(o(1, 4, 3), (4, 4), 2)", "F.scaled_dot_product_attention(o(2), o(2), o(2))", "F.scaled_dot_product_attention(o(1, 2, 3), o(1, 2, 4), o(1, 2, 3))", "F.scaled_dot_product_attention(o(1, 2, 3), o(1, 2, 3), o(1, 2, 3), o(2, 2), is_causal=True)", "F.hardtanh(o(2), 2.0, 1.0)", "F.glu(o(3))", "F.nll_loss(o(2), torch.tensor([0, 1]))", "F.cross_entropy(o(2, 3), torch.tensor([0, 1, 2]))", "F.pairwise_distance(o(2, 3), o(4, 3))", "F.rrelu(o(2), 0.5, 0.1)", "F.max_unpool2d(o(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.int64), 2, output_size=(9, 9))", "F.unfold(o(2, 2), 2)",
]  # fmt: skip


class Function:
    """A function in the clothes of a module, for what modules.py does with modules."""

    def __init__(self, call):
        self.call = call

    def __call__(self, *args):
        return self.call(*args)

    def to(self, dtype):
        return self


def answers(torch):
    names = namespace(torch)
    names["G"] = importlib.import_module(torch.__name__ + ".nn.grad")

    def graded():
        ps = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 2))]
        for k, p in enumerate(ps):
            p.grad = torch.full_like(p, k + 1.0)
        return ps

    def bad():
        p = torch.nn.Parameter(torch.ones(1))
        p.grad = torch.full_like(p, float("nan"))
        return [p]

    rnn = importlib.import_module(torch.__name__ + ".nn.utils.rnn")

    def packed(data, lengths, **options):
        return rnn.pack_padded_sequence(data, torch.tensor(lengths), **options)

    def m(constructor, *args, **options):
        torch.manual_seed(0)
        return eval(constructor, names)(*args, **options)

    names |= {"R": rnn, "packed": packed, "m": m}
    names |= {"I": torch.nn.init, "e": torch.empty, "o": torch.ones, "graded": graded, "bad": bad}
    for function, text in CASES:

        def make(function=function):
            torch.manual_seed(0)
            return Function(eval(function, names))

        key = f"{function} ({text})"
        yield key, evaluated(lambda make=make, text=text: forward(torch, make(), inputs_of(names, text)))
        if "pdist" not in function:  # PyTorch crashes on an empty one
            yield key + " variants", variants(torch, make, names, text)
    for text in CALLS:
        yield text, evaluated(lambda text=text: plain(eval(text, names)))
