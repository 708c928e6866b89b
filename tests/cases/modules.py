"""Modules: constructor, state after manual_seed(0), forward and gradients in training and evaluation, other dtypes,
unbatched, empty and strided inputs, typical wrong inputs."""

import copy

from . import evaluated, namespace, plain

ACTIVATIONS = [
    "nn.ReLU()", "nn.ReLU(inplace=True)", "nn.ReLU6()", "nn.ELU(0.7)", "nn.SELU()", "nn.CELU(1.3)", "nn.GELU()",
    "nn.GELU('tanh')", "nn.SiLU()", "nn.Mish()", "nn.Hardtanh(-0.5, 0.8)", "nn.Hardswish()", "nn.Hardsigmoid()",
    "nn.Hardshrink(0.4)", "nn.Softshrink(0.4)", "nn.Tanhshrink()", "nn.LeakyReLU(0.1)", "nn.PReLU()", "nn.RReLU()",
    "nn.LogSigmoid()", "nn.Sigmoid()", "nn.Tanh()", "nn.Softplus(2.0, 3.0)", "nn.Softsign()", "nn.Threshold(0.1, 7.0)",
    "nn.Identity(3, unused=4)", "nn.Softmax(1)", "nn.Softmin(1)", "nn.LogSoftmax(1)", "nn.GLU(1)",
]  # fmt: skip

# (constructor, inputs)
CASES = [(text, "x(4, 6)") for text in ACTIVATIONS] + [
    ("nn.PReLU(4, init=0.1)", "x(2, 4, 3)"), ("nn.Softmax2d()", "x(2, 3, 2, 2)"), ("nn.Softmax()", "x(4, 6)"),
    ("nn.AdaptiveLogSoftmaxWithLoss(6, 10, [2, 5], div_value=2.0)", "x(4, 6), i(4, below=10)"),
    ("nn.AdaptiveLogSoftmaxWithLoss(6, 10, [2, 5], head_bias=True)", "x(4, 6), i(4, below=10)"),
    # linear
    ("nn.Linear(6, 3)", "x(4, 6)"), ("nn.Linear(6, 3, bias=False)", "x(2, 4, 6)"),
    ("nn.Linear(6, 3, dtype=torch.float64)", "x(4, 6).double()"), ("nn.Bilinear(3, 4, 5)", "x(2, 3), x(2, 4)"),
    ("nn.Bilinear(3, 4, 5, bias=False)", "x(2, 3), x(2, 4)"), ("nn.LazyLinear(3)", "x(4, 6)"),
    ("nn.Flatten()", "x(2, 3, 4)"), ("nn.Flatten(0, 1)", "x(2, 3, 4)"), ("nn.Unflatten(1, (2, 3))", "x(4, 6)"),
    # convolution
    ("nn.Conv1d(4, 6, 3)", "x(2, 4, 9)"), ("nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2)", "x(2, 4, 9)"),
    ("nn.Conv1d(4, 2, 3, padding='same', dilation=2)", "x(2, 4, 9)"),
    ("nn.Conv1d(4, 2, 3, padding=2, padding_mode='reflect')", "x(2, 4, 9)"),
    ("nn.Conv1d(4, 2, 3, padding=2, padding_mode='replicate', bias=False)", "x(2, 4, 9)"),
    ("nn.Conv1d(4, 2, 3, padding=2, padding_mode='circular')", "x(2, 4, 9)"),
    ("nn.Conv2d(4, 6, 3)", "x(2, 4, 7, 6)"), ("nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2)", "x(2, 4, 7, 6)"),
    ("nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)", "x(2, 4, 7, 6)"), ("nn.Conv2d(4, 2, 1)", "x(2, 4, 7, 6)"),
    ("nn.Conv2d(4, 2, 4, padding='same')", "x(2, 4, 7, 6)"), ("nn.Conv2d(4, 2, 3, padding='valid')", "x(2, 4, 7, 6)"),
    ("nn.Conv2d(4, 2, 3, padding=1, padding_mode='circular')", "x(2, 4, 7, 6)"),
    ("nn.Conv2d(4, 2, 3, padding='same', padding_mode='reflect')", "x(2, 4, 7, 6)"),
    ("nn.Conv3d(2, 4, 2)", "x(2, 2, 4, 5, 3)"), ("nn.Conv3d(2, 4, (1, 3, 2), 2, 1, groups=2)", "x(2, 2, 4, 5, 3)"),
    ("nn.Conv3d(2, 2, 3, padding=1, padding_mode='replicate')", "x(2, 2, 4, 5, 3)"),
    ("nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1)", "x(2, 4, 5)"),
    ("nn.ConvTranspose1d(4, 6, 3, groups=2, dilation=2, bias=False)", "x(2, 4, 5)"),
    ("nn.ConvTranspose2d(4, 6, 3, stride=2)", "x(2, 4, 4, 3)"),
    ("nn.ConvTranspose2d(4, 6, (2, 3), (1, 2), (0, 1), (0, 1), 2, True, 1)", "x(2, 4, 4, 3)"),
    ("nn.ConvTranspose3d(2, 3, 2, stride=2)", "x(1, 2, 3, 2, 3)"),
    ("nn.LazyConv1d(3, 2)", "x(2, 4, 9)"), ("nn.LazyConv2d(3, 2, 2, 1)", "x(2, 4, 7, 6)"),
    ("nn.LazyConv3d(3, 2)", "x(2, 2, 4, 5, 3)"), ("nn.LazyConvTranspose1d(3, 2)", "x(2, 4, 5)"),
    ("nn.LazyConvTranspose2d(3, 2, 2)", "x(2, 4, 4, 3)"), ("nn.LazyConvTranspose3d(3, 2)", "x(1, 2, 3, 2, 3)"),
    ("nn.Fold((4, 5), (2, 3), padding=1)", "x(2, 12, 25)"), ("nn.Unfold((2, 3), dilation=1, padding=1, stride=2)", "x(2, 4, 7, 6)"),
    # pooling
    ("nn.MaxPool1d(3, 2, 1)", "x(2, 4, 9)"), ("nn.MaxPool1d(2, return_indices=True, ceil_mode=True)", "x(2, 4, 9)"),
    ("nn.MaxPool2d(3, 2, 1, ceil_mode=True)", "x(2, 4, 7, 6)"), ("nn.MaxPool2d((2, 3), dilation=(2, 1), return_indices=True)", "x(2, 4, 7, 6)"),
    ("nn.MaxPool3d(2, 1)", "x(2, 2, 4, 5, 3)"), ("nn.MaxPool3d(2, padding=1, return_indices=True)", "x(2, 2, 4, 5, 3)"),
    ("nn.AvgPool1d(3, 2, 1)", "x(2, 4, 9)"), ("nn.AvgPool1d(3, 2, 1, True, False)", "x(2, 4, 9)"),
    ("nn.AvgPool2d((3, 2), 2, (1, 0))", "x(2, 4, 7, 6)"), ("nn.AvgPool2d(3, 2, 1, True, False, divisor_override=5)", "x(2, 4, 7, 6)"),
    ("nn.AvgPool3d(2, 1, 1)", "x(2, 2, 4, 5, 3)"), ("nn.AvgPool3d(2, 2, 1, True, False)", "x(2, 2, 4, 5, 3)"),
    ("nn.LPPool1d(2, 3, 2)", "x(2, 4, 9)"), ("nn.LPPool2d(3, (2, 3), ceil_mode=True)", "pos(2, 4, 7, 6)"), ("nn.LPPool3d(2, 2)", "x(2, 2, 4, 5, 3)"),
    ("nn.AdaptiveAvgPool1d(4)", "x(2, 4, 9)"), ("nn.AdaptiveAvgPool2d((None, 3))", "x(2, 4, 7, 6)"), ("nn.AdaptiveAvgPool3d((2, 3, 1))", "x(2, 2, 4, 5, 3)"),
    ("nn.AdaptiveMaxPool1d(4)", "x(2, 4, 9)"), ("nn.AdaptiveMaxPool2d((3, None), return_indices=True)", "x(2, 4, 7, 6)"), ("nn.AdaptiveMaxPool3d(2)", "x(2, 2, 4, 5, 3)"),
    ("nn.FractionalMaxPool2d(2, output_size=(3, 3))", "x(2, 4, 7, 6)"), ("nn.FractionalMaxPool2d(2, output_ratio=0.5, return_indices=True)", "x(2, 4, 7, 6)"),
    ("nn.FractionalMaxPool3d(2, output_size=(2, 3, 1))", "x(2, 2, 4, 5, 3)"),
    ("nn.MaxUnpool1d(2)", "x(1, 2, 4), torch.tensor([[[0, 2, 5, 7], [1, 3, 4, 6]]])"), ("nn.MaxUnpool2d(2, 2)", "x(1, 1, 2, 2), torch.tensor([[[[0, 3], [9, 15]]]])"),
    ("nn.MaxUnpool3d(2)", "x(1, 1, 1, 2, 2), torch.tensor([[[[[0, 3], [9, 15]]]]])"),
    # padding
    *[(f"nn.{kind}Pad{n}d({p})", "x(%s)" % ", ".join(map(str, (2, 3, 4, 5, 6)[: n + 2]))) for kind in ("Reflection", "Replication", "Zero", "Circular") for n in (1, 2, 3) for p in (1, (tuple(range(1, 2 * n + 1)) if n == 1 else tuple([1, 2, 0, 1, 1, 0][: 2 * n])))],
    ("nn.ConstantPad1d((1, -1), 3.5)", "x(2, 3, 4)"), ("nn.ConstantPad2d(2, -1.0)", "x(2, 3, 4, 5)"), ("nn.ConstantPad3d((1, 0, 2, 1, 0, 3), 2)", "x(1, 2, 3, 4, 2)"),
    # normalisation
    ("nn.BatchNorm1d(4)", "x(5, 4)"), ("nn.BatchNorm1d(4, momentum=None)", "x(5, 4, 3)"), ("nn.BatchNorm1d(4, affine=False)", "x(5, 4)"), ("nn.BatchNorm1d(4, track_running_stats=False)", "x(5, 4)"),
    ("nn.BatchNorm1d(4, bias=False)", "x(5, 4)"),
    ("nn.BatchNorm2d(4, eps=1e-3, momentum=0.3)", "x(2, 4, 7, 6)"), ("nn.BatchNorm3d(2)", "x(2, 2, 4, 5, 3)"), ("nn.SyncBatchNorm(4)", "x(5, 4)"),
    ("nn.LazyBatchNorm1d()", "x(5, 4)"), ("nn.LazyBatchNorm2d(affine=False)", "x(2, 4, 7, 6)"), ("nn.LazyBatchNorm3d()", "x(2, 2, 4, 5, 3)"),
    ("nn.InstanceNorm1d(4)", "x(2, 4, 9)"), ("nn.InstanceNorm1d(4, affine=True, track_running_stats=True)", "x(2, 4, 9)"), ("nn.InstanceNorm2d(4, affine=True)", "x(2, 4, 7, 6)"), ("nn.InstanceNorm3d(2, track_running_stats=True)", "x(2, 2, 4, 5, 3)"),
    ("nn.LazyInstanceNorm1d(affine=True)", "x(2, 4, 9)"), ("nn.LazyInstanceNorm2d()", "x(2, 4, 7, 6)"), ("nn.LazyInstanceNorm3d()", "x(2, 2, 4, 5, 3)"),
    ("nn.LayerNorm(6)", "x(4, 6)"), ("nn.LayerNorm((3, 4), eps=1e-3)", "x(2, 3, 4)"), ("nn.LayerNorm(6, elementwise_affine=False)", "x(4, 6)"), ("nn.LayerNorm(6, bias=False)", "x(4, 6)"),
    ("nn.RMSNorm(6)", "x(4, 6)"), ("nn.RMSNorm((3, 4), eps=1e-2)", "x(2, 3, 4)"), ("nn.RMSNorm(6, elementwise_affine=False)", "x(4, 6)"),
    ("nn.GroupNorm(2, 4)", "x(2, 4, 7, 6)"), ("nn.GroupNorm(4, 4, affine=False)", "x(2, 4, 9)"), ("nn.GroupNorm(1, 6)", "x(4, 6)"),
    ("nn.LocalResponseNorm(3, 0.1, 0.7, 2.0)", "x(2, 4, 7, 6)"), ("nn.LocalResponseNorm(2)", "x(2, 4, 9)"),
    # dropout: the draws too
    ("nn.Dropout(0.3)", "x(4, 6)"), ("nn.Dropout(0.3, inplace=True)", "x(4, 6)"), ("nn.Dropout1d(0.4)", "x(2, 4, 9)"), ("nn.Dropout2d(0.4)", "x(2, 4, 7, 6)"), ("nn.Dropout3d(0.4)", "x(2, 2, 4, 5, 3)"),
    ("nn.AlphaDropout(0.3)", "x(4, 6)"), ("nn.FeatureAlphaDropout(0.3)", "x(2, 4, 9)"), ("nn.Dropout(1.0)", "x(4, 6)"),
    # recurrent
    ("nn.RNN(3, 4)", "x(5, 2, 3)"), ("nn.RNN(3, 4, 2, nonlinearity='relu', bidirectional=True, batch_first=True)", "x(2, 5, 3), x(4, 2, 4)"), ("nn.RNN(3, 4, bias=False)", "x(5, 3)"),
    ("nn.LSTM(3, 4)", "x(5, 2, 3)"), ("nn.LSTM(3, 4, 2, bidirectional=True, dropout=0.5)", "x(5, 2, 3)"), ("nn.LSTM(3, 4, proj_size=2)", "x(5, 2, 3)"), ("nn.LSTM(3, 4, 2, batch_first=True, bias=False, proj_size=2, bidirectional=True)", "x(2, 5, 3)"),
    ("nn.LSTM(3, 4)", "x(5, 2, 3), (x(1, 2, 4), x(1, 2, 4, scale=1.0))"),
    ("nn.GRU(3, 4)", "x(5, 2, 3)"), ("nn.GRU(3, 4, 2, bidirectional=True, batch_first=True)", "x(2, 5, 3)"), ("nn.GRU(3, 4)", "x(5, 2, 3), x(1, 2, 4)"),
    ("nn.RNNCell(3, 4)", "x(2, 3)"), ("nn.RNNCell(3, 4, False, 'relu')", "x(2, 3), x(2, 4)"), ("nn.LSTMCell(3, 4)", "x(2, 3)"), ("nn.LSTMCell(3, 4)", "x(2, 3), (x(2, 4), x(2, 4, scale=1.0))"), ("nn.GRUCell(3, 4, bias=False)", "x(2, 3), x(2, 4)"),
    # attention
    ("nn.MultiheadAttention(8, 2)", "x(5, 2, 8), x(6, 2, 8), x(6, 2, 8)"), ("nn.MultiheadAttention(8, 2, bias=False, batch_first=True)", "x(2, 5, 8), x(2, 6, 8), x(2, 6, 8)"),
    ("nn.MultiheadAttention(8, 2, kdim=4, vdim=6)", "x(5, 2, 8), x(6, 2, 4), x(6, 2, 6)"), ("nn.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True)", "x(5, 2, 8), x(6, 2, 8), x(6, 2, 8)"),
    ("nn.MultiheadAttention(8, 2, dropout=0.3)", "x(5, 2, 8), x(5, 2, 8), x(5, 2, 8)"),
    ("nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)", "x(5, 2, 8)"), ("nn.TransformerEncoderLayer(8, 2, 16, 0.1, 'gelu', batch_first=True, norm_first=True)", "x(2, 5, 8)"), ("nn.TransformerEncoderLayer(8, 2, 16, 0.0, bias=False)", "x(5, 2, 8)"),
    ("nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0)", "x(5, 2, 8), x(6, 2, 8)"), ("nn.TransformerDecoderLayer(8, 2, 16, 0.0, norm_first=True, batch_first=True)", "x(2, 5, 8), x(2, 6, 8)"),
    ("nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 2, nn.LayerNorm(8))", "x(2, 5, 8)"), ("nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, 0.0), 2)", "x(5, 2, 8), x(6, 2, 8)"),
    ("nn.Transformer(8, 2, 1, 1, 16, 0.0)", "x(5, 2, 8), x(6, 2, 8)"),
    # embedding
    ("nn.Embedding(5, 3)", "i(2, 4, below=5)"), ("nn.Embedding(5, 3, padding_idx=1)", "i(2, 4, below=5)"), ("nn.Embedding(5, 3, max_norm=0.5, norm_type=1.0)", "i(2, 4, below=5)"), ("nn.Embedding(5, 3, scale_grad_by_freq=True)", "i(2, 4, below=5)"),
    ("nn.EmbeddingBag(5, 3)", "i(2, 4, below=5)"), ("nn.EmbeddingBag(5, 3, mode='sum')", "i(8, below=5), torch.tensor([0, 3, 3])"), ("nn.EmbeddingBag(5, 3, mode='max')", "i(2, 4, below=5)"), ("nn.EmbeddingBag(5, 3, mode='sum', include_last_offset=True, padding_idx=2)", "i(8, below=5), torch.tensor([0, 3, 8])"),
    ("nn.EmbeddingBag(5, 3, mode='sum')", "i(2, 4, below=5), None, x(2, 4)"),
    # vision
    ("nn.PixelShuffle(2)", "x(1, 8, 2, 3)"), ("nn.PixelUnshuffle(2)", "x(1, 2, 4, 6)"), ("nn.ChannelShuffle(2)", "x(2, 4, 3, 2)"),
    *[(f"nn.Upsample(scale_factor=1.6, mode='{mode}')", shape) for mode, shape in (("nearest", "x(2, 4, 9)"), ("linear", "x(2, 4, 9)"), ("bilinear", "x(2, 4, 7, 6)"), ("bicubic", "x(2, 4, 7, 6)"), ("trilinear", "x(2, 2, 4, 5, 3)"), ("nearest-exact", "x(2, 4, 7, 6)"), ("area", "x(2, 4, 7, 6)"))],
    ("nn.Upsample((9, 4), mode='bilinear', align_corners=True)", "x(2, 4, 7, 6)"), ("nn.Upsample(scale_factor=(0.5, 2), mode='bicubic', align_corners=True, recompute_scale_factor=True)", "x(2, 4, 7, 6)"), ("nn.Upsample(8)", "x(2, 4, 9)"),
    ("nn.UpsamplingNearest2d(scale_factor=2)", "x(2, 4, 7, 6)"), ("nn.UpsamplingBilinear2d((3, 8))", "x(2, 4, 7, 6)"),
    ("nn.CosineSimilarity(1, 1e-6)", "x(4, 6), x(4, 6, scale=1.0)"), ("nn.PairwiseDistance(3.0, keepdim=True)", "x(4, 6), x(4, 6, scale=1.0)"), ("nn.PairwiseDistance()", "x(4, 6), x(4, 6, scale=1.0)"),
    # losses
    *[(f"nn.{loss}({r})", "x(4, 6), x(4, 6, scale=1.0)") for loss in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss") for r in ("", "reduction='sum'", "reduction='none'")],
    ("nn.SmoothL1Loss(beta=0.3)", "x(4, 6), x(4, 6, scale=1.0)"), ("nn.SmoothL1Loss(beta=0.0)", "x(4, 6), x(4, 6, scale=1.0)"), ("nn.HuberLoss(delta=0.4)", "x(4, 6), x(4, 6, scale=1.0)"),
    ("nn.BCELoss()", "pos(4, 6), pos(4, 6).detach()"), ("nn.BCELoss(weight=torch.linspace(0.1, 2, 6), reduction='sum')", "pos(4, 6), pos(4, 6).detach()"),
    ("nn.BCEWithLogitsLoss(pos_weight=torch.linspace(0.1, 2, 6))", "x(4, 6), pos(4, 6).detach()"), ("nn.BCEWithLogitsLoss(torch.linspace(0.1, 2, 6), reduction='none')", "x(4, 6), pos(4, 6).detach()"),
    *[(f"nn.CrossEntropyLoss({a})", f"x(4, 6), {t}") for t in ("i(4, below=6)", "pos(4, 6).detach()") for a in ("", "reduction='sum'", "label_smoothing=0.2", "torch.linspace(0.1, 2, 6)", "torch.linspace(0.1, 2, 6), label_smoothing=0.1, reduction='none'")],
    ("nn.CrossEntropyLoss(ignore_index=1)", "x(2, 3, 4), i(2, 4)"), ("nn.CrossEntropyLoss()", "x(3), torch.tensor(1)"), ("nn.CrossEntropyLoss(ignore_index=0, label_smoothing=0.3)", "x(4, 3), i(4)"),
    ("nn.NLLLoss(torch.tensor([0.5, 1.0, 2.0]), ignore_index=1)", "x(4, 3), i(4)"), ("nn.NLLLoss(reduction='none')", "x(2, 3, 4, 2), i(2, 4, 2)"), ("nn.NLLLoss(reduction='sum')", "x(2, 3, 4), i(2, 4)"),
    ("nn.LinearCrossEntropyLoss(5, 7, bias=True)", "x(4, 5), i(4, below=7)"), ("nn.LinearCrossEntropyLoss(5, 7, out_features=(2, 3), ignore_index=1)", "x(4, 5), i(4, 2, 3, below=7)"), ("nn.LinearCrossEntropyLoss(5, 7, options=nn.LinearCrossEntropyOptions(batch_chunk_size=3))", "x(4, 5), i(4, below=7)"),
    ("nn.KLDivLoss()", "x(4, 6), pos(4, 6).detach()"), ("nn.KLDivLoss(reduction='batchmean', log_target=True)", "x(4, 6), x(4, 6, scale=1.0)"),
    ("nn.PoissonNLLLoss()", "x(4, 6), pos(4, 6).detach()"), ("nn.PoissonNLLLoss(False, True, reduction='sum')", "pos(4, 6), (pos(4, 6) * 4).detach()"),
    ("nn.GaussianNLLLoss()", "x(4, 6), x(4, 6, scale=1.0), pos(4, 6)"), ("nn.GaussianNLLLoss(full=True, eps=0.3, reduction='none')", "x(4, 6), x(4, 6, scale=1.0), pos(4, 1)"),
    ("nn.HingeEmbeddingLoss(0.7)", "x(4, 6), sign(4, 6)"), ("nn.CosineEmbeddingLoss(0.2)", "x(4, 6), x(4, 6, scale=1.0), sign(4)"), ("nn.MarginRankingLoss(0.3)", "x(6), x(6, scale=1.0), sign(6)"),
    ("nn.MultiMarginLoss()", "x(4, 6), i(4, below=6)"), ("nn.MultiMarginLoss(2, 0.5, torch.linspace(0.1, 2, 6), reduction='sum')", "x(4, 6), i(4, below=6)"),
    ("nn.MultiLabelMarginLoss()", "x(2, 4), torch.tensor([[3, 0, -1, 1], [1, -1, 0, 0]])"), ("nn.MultiLabelSoftMarginLoss(torch.linspace(0.1, 2, 6))", "x(4, 6), (pos(4, 6) > 0.5).float()"),
    ("nn.SoftMarginLoss()", "x(4, 6), sign(4, 6)"), ("nn.TripletMarginLoss(0.8, 1.5, swap=True)", "x(4, 6), x(4, 6, scale=1.0), x(4, 6, scale=0.5)"), ("nn.TripletMarginLoss()", "x(4, 6), x(4, 6, scale=1.0), x(4, 6, scale=0.5)"),
    ("nn.TripletMarginWithDistanceLoss(distance_function=nn.PairwiseDistance(1.0), margin=0.5, swap=True)", "x(4, 6), x(4, 6, scale=1.0), x(4, 6, scale=0.5)"),
    ("nn.CTCLoss()", "x(6, 2, 4).log_softmax(2), i(2, 3, below=3, low=1), torch.tensor([6, 5]), torch.tensor([3, 2])"), ("nn.CTCLoss(blank=1, reduction='sum', zero_infinity=True)", "x(6, 2, 4).log_softmax(2), torch.tensor([0, 2, 2, 0, 2]), torch.tensor([6, 2]), torch.tensor([3, 2])"),
]  # fmt: skip

# constructors that are refused, or warn and go on
WRONG = [
    "nn.Conv2d(4, 6, 3, groups=3)", "nn.Conv2d(4, 6, 3, padding='same', stride=2)", "nn.Conv2d(4, 6, 3, groups=0)", "nn.Conv1d(3, 2, 2, groups=2)",
    "nn.ConvTranspose2d(2, 2, 3, padding_mode='reflect')", "nn.Linear(2)", "nn.Linear('a', 2)", "nn.Linear(-1, 2)", "nn.Linear(2, 3, foo=1)", "nn.Bilinear(0, 1, 2)", "nn.Dropout(-0.1)", "nn.Dropout(1.1)", "nn.AlphaDropout(2)", "nn.GroupNorm(3, 4)",
    "nn.LSTM(2, 3, proj_size=3)", "nn.LSTM(2, 3, proj_size=-1)", "nn.RNN(2, 3, proj_size=1)", "nn.RNN(2, 3, nonlinearity='x')", "nn.LSTM(2, 3, dropout=2)", "nn.LSTM(2, 0)", "nn.LSTM(2, 3, 0)", "nn.GRU(2, '3')", "nn.GRU(2, 3, proj_size=1)", "nn.RNNCell(2, 3, nonlinearity='x')(torch.ones(1, 2))",
    "nn.MultiheadAttention(5, 2)", "nn.MultiheadAttention(0, 2)", "nn.Embedding(3, 2, padding_idx=5)", "nn.Embedding(3, 2, padding_idx=-4)", "nn.Embedding(3, 2, _weight=torch.ones(2, 2))", "nn.EmbeddingBag(3, 2, mode='foo')", "nn.Embedding.from_pretrained(torch.ones(3))",
    "nn.Hardtanh(2, 1)", "nn.Softplus('a')", "nn.MultiMarginLoss(3)", "nn.MultiMarginLoss(weight=torch.ones(2, 2))", "nn.TripletMarginLoss(-1)", "nn.CTCLoss(reduction='x')", "nn.Unflatten(1, 3)", "nn.Unflatten('a', (2, 3))", "nn.Unflatten(1, (2, 'a'))",
    "nn.AdaptiveLogSoftmaxWithLoss(3, 5, [5])", "nn.AdaptiveLogSoftmaxWithLoss(3, 5, [])", "nn.AdaptiveLogSoftmaxWithLoss(3, 5, [3, 2])", "nn.LPPool2d(2)", "nn.FractionalMaxPool2d(2)", "nn.FractionalMaxPool2d(2, 3, 0.5)", "nn.FractionalMaxPool2d(2, output_ratio=2.0)",
    "nn.Upsample(scale_factor=2, mode='foo')(torch.ones(1, 1, 2, 2))", "nn.Upsample(mode='nearest')(torch.ones(1, 1, 2, 2))", "nn.Upsample(2, 2)(torch.ones(1, 1, 2, 2))", "nn.Upsample(3, mode='linear')(torch.ones(1, 1, 2, 2))", "nn.Sequential(1)", "nn.Sequential(nn.ReLU(), 'a')", "nn.ModuleList([1])", "nn.ModuleDict({'a': 1})", "nn.ModuleDict({1: nn.ReLU()})",
    "nn.TransformerEncoderLayer(8, 2, activation='foo')", "nn.TransformerEncoderLayer(8, 3)", "nn.Transformer(8, 2)(torch.ones(2, 3, 8), torch.ones(2, 4, 8))", "nn.Transformer(8, 2)(torch.ones(2, 3, 7), torch.ones(2, 3, 8))", "nn.Softmax(5)(torch.ones(2))", "nn.GLU(0)(torch.ones(3))", "nn.PixelShuffle(2)(torch.ones(1, 3, 2, 2))", "nn.PixelUnshuffle(2)(torch.ones(1, 3, 3, 2))",
    "nn.ChannelShuffle(2)(torch.ones(1, 3, 2, 2))", "nn.BatchNorm1d(3)(torch.ones(1, 3))", "nn.BatchNorm2d(3)(torch.ones(1, 3, 1, 1))", "nn.BatchNorm2d(3)(torch.ones(2, 4, 2, 2))", "nn.InstanceNorm1d(3)(torch.ones(2, 3, 1))", "nn.InstanceNorm2d(3)(torch.ones(3, 2))", "nn.InstanceNorm2d(3, affine=True)(torch.ones(2, 4, 3, 3))", "nn.LayerNorm(3)(torch.ones(2, 4))",
    "nn.LayerNorm(())(torch.ones(2))", "nn.GroupNorm(2, 4)(torch.ones(2, 3))", "nn.MaxPool2d(3)(torch.ones(1, 1, 2, 2))", "nn.MaxPool2d(2, padding=2)(torch.ones(1, 1, 4, 4))", "nn.AvgPool2d(2, padding=2)(torch.ones(1, 1, 4, 4))", "nn.MaxPool2d(0)(torch.ones(1, 1, 4, 4))", "nn.MaxPool2d(2, 0)(torch.ones(1, 1, 4, 4))", "nn.AvgPool2d(2, divisor_override=0)(torch.ones(1, 1, 4, 4))",
    "nn.AdaptiveAvgPool2d(-1)(torch.ones(1, 1, 4, 4))", "nn.ReflectionPad1d(4)(torch.ones(1, 2, 4))", "nn.ReplicationPad2d(1)(torch.ones(2, 2))", "nn.CircularPad1d(5)(torch.ones(1, 1, 4))", "nn.ConstantPad1d(-3, 0)(torch.ones(1, 2, 4))", "nn.Fold((4, 4), 2)(torch.ones(1, 3, 9))", "nn.Fold((4, 4), 2)(torch.ones(1, 4, 8))", "nn.Unfold(5)(torch.ones(1, 1, 4, 4))",
    "nn.Embedding(3, 2)(torch.tensor([3]))", "nn.Embedding(3, 2)(torch.tensor([0.5]))", "nn.EmbeddingBag(3, 2)(torch.tensor([1, 2]))", "nn.EmbeddingBag(3, 2)(torch.tensor([[1, 2]]), torch.tensor([0]))", "nn.EmbeddingBag(3, 2)(torch.tensor([1, 2]), torch.tensor([1]))", "nn.EmbeddingBag(3, 2)(torch.tensor([1, 2]), torch.tensor([0, 5]))",
    "nn.CosineSimilarity()(torch.ones(2, 3), torch.ones(2, 4))", "nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([0, 5]))", "nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([0]))", "nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([0.5, 1]))", "nn.CrossEntropyLoss(torch.ones(2))(torch.ones(2, 3), torch.tensor([0, 1]))", "nn.CrossEntropyLoss(label_smoothing=2.0)(torch.ones(2, 3), torch.tensor([0, 1]))",
    "nn.NLLLoss()(torch.ones(2, 3), torch.ones(2, 3))", "nn.NLLLoss()(torch.ones(2, 3, 2), torch.zeros(2, 3, dtype=torch.int64))", "nn.BCELoss()(torch.ones(2), torch.ones(3))", "nn.BCELoss()(torch.tensor([2.0]), torch.ones(1))", "nn.BCEWithLogitsLoss()(torch.ones(2), torch.ones(3))", "nn.MSELoss()(torch.ones(2), torch.ones(3))", "nn.MSELoss(reduction='foo')(torch.ones(2), torch.ones(2))", "nn.L1Loss()(torch.ones(2), torch.ones(3))", "nn.GaussianNLLLoss()(torch.ones(2), torch.ones(2), -torch.ones(2))", "nn.GaussianNLLLoss(reduction='x')(torch.ones(2), torch.ones(2), torch.ones(2))", "nn.GaussianNLLLoss()(torch.ones(2, 3), torch.ones(2, 3), torch.ones(4))",
    "nn.HuberLoss(delta=-1.0)(torch.ones(2), torch.ones(2))", "nn.SmoothL1Loss(beta=-1.0)(torch.ones(2), torch.ones(2))", "nn.KLDivLoss(reduction='x')(torch.ones(2), torch.ones(2))", "nn.CosineEmbeddingLoss()(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 1))", "nn.CosineEmbeddingLoss()(torch.ones(2), torch.ones(2, 3), torch.ones(2))", "nn.MarginRankingLoss()(torch.ones(2), torch.ones(2, 2), torch.ones(2))", "nn.MultiMarginLoss()(torch.ones(2, 3), torch.tensor([0]))", "nn.MultiMarginLoss()(torch.ones(2, 3), torch.tensor([0, 4]))", "nn.MultiLabelMarginLoss()(torch.ones(2, 3), torch.ones(2, 2, dtype=torch.int64))", "nn.SoftMarginLoss()(torch.ones(2), torch.ones(3))",
    "nn.TripletMarginLoss()(torch.ones(2, 3), torch.ones(3), torch.ones(2, 3))", "nn.PoissonNLLLoss(reduction='x')(torch.ones(2), torch.ones(2))", "nn.HingeEmbeddingLoss()(torch.ones(2), torch.ones(3))", "nn.LSTM(3, 4)(torch.ones(5, 2, 2))", "nn.LSTM(3, 4)(torch.ones(5, 2, 3), (torch.ones(1, 1, 4), torch.ones(1, 2, 4)))", "nn.LSTM(3, 4)(torch.ones(3))", "nn.LSTM(3, 4)(torch.ones(5, 2, 3), torch.ones(1, 2, 4))", "nn.GRU(3, 4)(torch.ones(5, 2, 3), torch.ones(2, 2, 4))", "nn.GRU(3, 4)(torch.ones(5, 2, 3).double())", "nn.LSTM(3, 4)(torch.ones(5, 3), (torch.ones(1, 1, 4), torch.ones(1, 1, 4)))",
    "nn.LSTMCell(3, 4)(torch.ones(2, 2))", "nn.LSTMCell(3, 4)(torch.ones(2, 2, 3))", "nn.GRUCell(3, 4)(torch.ones(2, 3), torch.ones(3, 4))", "nn.RNNCell(3, 4)(torch.ones(2, 3), torch.ones(2, 3))", "nn.MultiheadAttention(8, 2)(torch.ones(2, 8), torch.ones(3, 2, 8), torch.ones(3, 2, 8))", "nn.MultiheadAttention(8, 2)(torch.ones(2, 2, 7), torch.ones(3, 2, 8), torch.ones(3, 2, 8))", "nn.MultiheadAttention(8, 2)(torch.ones(2, 2, 8), torch.ones(3, 2, 8), torch.ones(4, 2, 8))", "nn.MultiheadAttention(8, 2)(torch.ones(2, 2, 8), torch.ones(3, 2, 8), torch.ones(3, 2, 8), attn_mask=torch.ones(3, 3))", "nn.MultiheadAttention(8, 2)(torch.ones(2, 2, 8), torch.ones(3, 2, 8), torch.ones(3, 2, 8), attn_mask=torch.ones(2, 3, dtype=torch.int64))", "nn.MultiheadAttention(8, 2)(torch.ones(2, 2, 8), torch.ones(3, 2, 8), torch.ones(3, 2, 8), is_causal=True)",
    "nn.Flatten(2, 1)(torch.ones(2, 3, 4))", "nn.Unflatten(1, (2, 2))(torch.ones(2, 3))", "nn.MaxUnpool2d(2)(torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 99))", "nn.MaxUnpool2d(2)(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))", "nn.MaxUnpool2d(2)(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.int64), output_size=(9, 9))", "nn.ConvTranspose2d(2, 2, 3, 2)(torch.ones(1, 2, 3, 3), output_size=(20, 20))", "nn.ConvTranspose2d(2, 2, 3, 2)(torch.ones(1, 2, 3, 3), output_size=(8, 7)).shape", "nn.PReLU(3)(torch.ones(2, 4))", "nn.CTCLoss()(torch.ones(6, 2, 4), torch.ones(2, 3), torch.tensor([7, 5]), torch.tensor([3, 2]))", "nn.CTCLoss()(torch.ones(6, 2, 4), torch.ones(2, 3, dtype=torch.int64), torch.tensor([6]), torch.tensor([3, 2]))",
]  # fmt: skip


def inputs_of(names, text):
    return list(eval(f"({text},)", names))


def leaves(values):
    """The floating tensors among (nested) inputs."""
    found = []
    for value in values:
        if isinstance(value, (tuple, list)):
            found += leaves(value)
        elif hasattr(value, "requires_grad") and value.requires_grad:
            found.append(value)
    return found


def results(value):
    return [r for v in value for r in results(v)] if isinstance(value, (tuple, list)) else [value]


def forward(torch, module, args, backward=True):
    """The results, and the gradients of a weighted sum of them."""
    inputs = leaves(args)
    given = [
        a.clone() if hasattr(a, "clone") and a.requires_grad else a for a in args
    ]  # inplace modules need no leaf
    out = module(*given)
    answer = {"out": plain(results(out))}
    floats = [o for o in results(out) if o is not None and o.requires_grad]
    if not backward or not floats:
        return answer
    total = sum(
        (o * torch.linspace(0.5, 1.5, max(o.numel(), 1), dtype=o.dtype)[: o.numel()].view(o.shape)).sum()
        for o in floats
    )
    parameters = list(module.parameters()) if hasattr(module, "parameters") else []
    grads = torch.autograd.grad(total, inputs + parameters, allow_unused=True)
    return {**answer, "grads": plain(list(grads))}


def changed(value, change, integers=False):
    """Applies change to the floating tensors, or to all, of (nested) inputs."""
    if isinstance(value, tuple) and isinstance(value[0], int):
        return value  # sizes
    if isinstance(value, tuple):
        return tuple(changed(v, change, integers) for v in value)
    if value is None or not (integers or value.is_floating_point()):
        return value
    return change(value.detach()).requires_grad_(value.requires_grad)


def strided(t):
    """The same values with other strides."""
    if t.dim() == 0:
        return t
    return t.unsqueeze(-1).repeat(*[1] * t.dim(), 2)[..., 1].transpose(0, -1).contiguous().transpose(0, -1)


def variants(torch, make, names, text):
    """Answers for other dtypes and forms of the input."""
    found = {}
    batch = inputs_of(names, text)[0].size(0)

    def along(t):  # whether the first dimension is (like) the batch
        return t.dim() > 0 and t.size(0) == batch

    for dtype in ("float64", "bfloat16", "float16"):

        def run(dtype=dtype):
            wanted = getattr(torch, dtype)
            args = [changed(a, lambda t: t.to(wanted)) for a in inputs_of(names, text)]
            return forward(torch, make().to(wanted), args)

        found[dtype] = evaluated(run)
    forms = {
        "strided": (lambda a: changed(a, strided), True),
        "unbatched": (lambda a: changed(a, lambda t: t[0] if along(t) else t, True), False),
        "empty": (lambda a: changed(a, lambda t: t[:0] if along(t) else t, True), True),
        "shorter": (lambda a: changed(a, lambda t: t[..., :-1] if t.dim() else t), False),
        "flat": (lambda a: changed(a, lambda t: t.reshape(-1)), False),
        "number": (lambda a: changed(a, lambda t: t.reshape(-1)[0]), False),
    }
    for form, (change, backward) in forms.items():

        def run(change=change, backward=backward):
            args = [change(a) for a in inputs_of(names, text)]
            return forward(torch, make(), args, backward)

        found[form] = evaluated(run)
        if form in ("flat", "number") and isinstance(found[form], str):
            found[form] = found[form].partition(":")[0]  # of such inputs only the type of the error

    def integers():
        args = [a.detach().long() if hasattr(a, "detach") else a for a in inputs_of(names, text)]
        return forward(torch, make(), args, False)

    found["integers"] = evaluated(integers)
    return found


def answers(torch):
    names = namespace(torch)
    for constructor, text in CASES:

        def make(constructor=constructor):
            torch.manual_seed(0)
            return eval(constructor, names)

        def whole(make=make, text=text, constructor=constructor):
            module = make()
            answer = {"repr": repr(module).split("\n")}
            if not constructor.startswith("nn.Lazy"):
                answer["state"] = plain(dict(module.state_dict()))
            torch.manual_seed(1)
            answer["train"] = forward(torch, module, inputs_of(names, text))
            answer["state_after"] = plain(
                {k: v for k, v in module.state_dict().items() if "running" in k or "num_" in k}
            )
            answer["eval"] = forward(torch, copy.deepcopy(module).eval(), inputs_of(names, text), False)
            return answer

        key = f"{constructor} ({text})"
        yield key, evaluated(whole)
        yield key + " variants", variants(torch, make, names, text)
    for text in WRONG:
        yield text, evaluated(lambda text=text: eval(text, names))
