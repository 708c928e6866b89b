"""Checkpoints between rushlight and an installed PyTorch: whole modules both ways, options, views."""

import io
import warnings

import pytest

import rushlight as rl

torch = pytest.importorskip("torch")

ARGUMENTS = {
    "Bilinear": (2, 3, 4),
    "Linear": (3, 2),
    "LayerNorm": (3,),
    "RMSNorm": (3,),
    "GroupNorm": (2, 4),
    "Embedding": (5, 3),
    "EmbeddingBag": (5, 3),
    "FractionalMaxPool2d": (2, 3),
    "FractionalMaxPool3d": (2, 3),
    "MultiheadAttention": (4, 2),
    "Transformer": (4, 2, 1, 1, 8),
    "TransformerEncoderLayer": (4, 2, 8),
    "TransformerDecoderLayer": (4, 2, 8),
    "LSTM": (3, 2),
    "GRU": (3, 2),
    "RNN": (3, 2),
    "LSTMCell": (3, 2),
    "GRUCell": (3, 2),
    "RNNCell": (3, 2),
    "AdaptiveLogSoftmaxWithLoss": (4, 10, [2, 5]),
    "Unflatten": (1, (2, 3)),
}
# base classes, and one whose attributes depend on the devices that there are
LEFT_OUT = {"RNNBase", "RNNCellBase", "Module", "DataParallel"}


def module_names():
    found = []
    for name in dir(torch.nn):
        cls = getattr(torch.nn, name)
        if isinstance(cls, type) and issubclass(cls, torch.nn.Module) and hasattr(rl.nn, name):
            found.append(name)
    return sorted(set(found) - LEFT_OUT)


def make(library, name):
    """A module of that class, with the first arguments that suit it."""
    nn = library.nn
    if name in ("TransformerEncoder", "TransformerDecoder"):
        return getattr(nn, name)(getattr(nn, name + "Layer")(4, 2, 8), 2)
    for arguments in [ARGUMENTS[name]] if name in ARGUMENTS else [(), (2,), (2, 2), (2, 2, 3), (4, 4, 2)]:
        try:
            return getattr(nn, name)(*arguments)
        except TypeError:
            continue
    raise AssertionError(f"no arguments for {name}")


def carry(obj, writer, reader, **options):
    """Written by one library, read by the other."""
    buffer = io.BytesIO()
    writer.save(obj, buffer)
    buffer.seek(0)
    return reader.load(buffer, **options)


@pytest.mark.filterwarnings("ignore:Lazy modules", "ignore:.*nested_tensor", "ignore:.*lazy")
@pytest.mark.parametrize("name", module_names())
def test_whole_modules_cross(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, ours = make(torch, name), make(rl, name)
    there = carry(ours, rl, torch, weights_only=False)
    assert type(there) is type(theirs) and repr(there) == repr(theirs)
    assert set(vars(there)) == set(vars(theirs))
    here = carry(theirs, torch, rl, weights_only=False)
    assert type(here) is type(ours) and repr(here) == repr(theirs) and set(vars(here)) == set(vars(ours))
    if name.startswith("Lazy"):
        return
    state = here.state_dict()
    for key, value in theirs.state_dict().items():
        assert state[key].tolist() == value.tolist()


@pytest.mark.parametrize("function", ["relu", "nn.functional.gelu", "nn.functional.relu"])
def test_functions_inside_modules_cross(function):
    def find(library):
        for part in function.split("."):
            library = getattr(library, part)
        return library

    ours = rl.nn.TransformerEncoderLayer(4, 2, 8, activation=find(rl))
    assert carry(ours, rl, torch, weights_only=False).activation is find(torch)
    theirs = torch.nn.TransformerEncoderLayer(4, 2, 8, activation=find(torch))
    assert carry(theirs, torch, rl, weights_only=False).activation is find(rl)


def test_allowed_classes_open_with_weights_only():
    net = rl.nn.Sequential(rl.nn.Linear(2, 3), rl.nn.ReLU())
    with torch.serialization.safe_globals([torch.nn.Sequential, torch.nn.Linear, torch.nn.ReLU]):
        there = carry(net, rl, torch)
    with rl.serialization.safe_globals([rl.nn.Sequential, rl.nn.Linear, rl.nn.ReLU]):
        here = carry(there, torch, rl)
    assert here[0].weight.tolist() == net[0].weight.tolist()


def test_views_open_in_pytorch():
    base = rl.arange(1000.0)
    square = base[100:200].view(10, 10)
    saved = [base[5:15], base[8:20], square.t(), square[:, 1:3], base[900:], base[300:600:50]]
    there = carry(saved, rl, torch)
    assert [t.tolist() for t in there] == [t.tolist() for t in saved]
    there[0][3] = -1
    assert there[1][0] == -1 and there[0].untyped_storage().nbytes() == 15 * 4
    there[2][2, 0] = -2
    assert there[3][0, 1] == -2 and there[5].untyped_storage().nbytes() == 6 * 4


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_training_state_crosses(legacy):
    def train(library):
        library.manual_seed(0)
        net = library.nn.Sequential(library.nn.Linear(3, 4), library.nn.BatchNorm1d(4))
        optimizer = library.optim.AdamW(net.parameters())
        scheduler = library.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
        net(library.arange(6.0).reshape(2, 3)).pow(2).sum().backward()
        optimizer.step()
        scheduler.step()
        return {
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
        }

    for writer, reader in ((rl, torch), (torch, rl)):
        state = train(writer)
        buffer = io.BytesIO()
        writer.save(state, buffer, _use_new_zipfile_serialization=not legacy)
        buffer.seek(0)
        back = reader.load(buffer)
        assert list(back["net"]) == list(state["net"]) and back["net"]._metadata == state["net"]._metadata
        assert all(back["net"][k].tolist() == v.tolist() for k, v in state["net"].items())
        assert back["scheduler"] == state["scheduler"]
        moments = zip(back["optimizer"]["state"].values(), state["optimizer"]["state"].values(), strict=True)
        assert all(a["exp_avg"].tolist() == b["exp_avg"].tolist() for a, b in moments)


@pytest.mark.parametrize("where", ["cpu", "meta", {"cpu": "meta"}, {"cuda:0": "cpu"}])
def test_map_location_as_in_pytorch(where):
    buffer = io.BytesIO()
    torch.save({"x": torch.ones(3), "y": torch.ones(2)}, buffer)
    expected = torch.load(io.BytesIO(buffer.getvalue()), map_location=where)
    got = rl.load(io.BytesIO(buffer.getvalue()), map_location=where)
    assert [(v.device.type, tuple(v.shape)) for v in got.values()] == [
        (v.device.type, tuple(v.shape)) for v in expected.values()
    ]
