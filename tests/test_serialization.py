"""save and load: PyTorch's files both ways, safety, damaged files, atomic writing, pickling and copying."""

import copy
import io
import json
import os
import pickle
import warnings
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn

FOLDER = Path(__file__).parent / "vectors" / "checkpoint"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
CHECKPOINTS = [name for name in EXPECTED if name.endswith(".pt")]


def describe(obj):
    """An object in the form of expected.json."""
    if isinstance(obj, torch.Tensor):
        text = {
            "tensor": True,
            "dtype": str(obj.dtype),
            "shape": list(obj.shape),
            "requires_grad": obj.requires_grad,
        }
        if isinstance(obj, nn.Parameter):
            text["class"] = "Parameter"
        if obj.device.type == "meta":
            return {**text, "device": "meta"}
        if obj.layout != torch.strided:
            return {**text, "layout": str(obj.layout), "dense": obj.to_dense().tolist()}
        text.update(stride=list(obj.stride()), storage_offset=obj.storage_offset(), is_conj=obj.is_conj())
        plain = (obj.int_repr() if obj.is_quantized else obj.detach().resolve_conj()).contiguous()
        data = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if obj.numel() else b""
        return {**text, "bytes": data.hex(), "storage_nbytes": obj.untyped_storage().nbytes()}
    if isinstance(obj, dict):
        text = {"type": type(obj).__name__, "items": [[describe(k), describe(v)] for k, v in obj.items()]}
        if hasattr(obj, "_metadata"):
            text["_metadata"] = [[k, v] for k, v in obj._metadata.items()]
        return text
    if isinstance(obj, torch.Size):
        return {"type": "torch.Size", "items": list(obj)}
    if isinstance(obj, (list, tuple)):
        return {"type": type(obj).__name__, "items": [describe(v) for v in obj]}
    return obj if isinstance(obj, (int, float, str, type(None))) else {"repr": repr(obj)}


def round_trip(obj, **options):
    buffer = io.BytesIO()
    torch.save(obj, buffer, **options)
    buffer.seek(0)
    return torch.load(buffer)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        return self.fc(x)


# ---- files of PyTorch


@pytest.mark.parametrize("mmap", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_reads_pytorch_files(name, mmap):
    if name.startswith("legacy") and mmap:
        with pytest.raises(RuntimeError, match="mmap can only be used with files saved with"):
            torch.load(FOLDER / name, mmap=True)
        return
    wanted = EXPECTED[name]["weights_only=True"]
    if wanted == "loads":
        loaded = torch.load(FOLDER / name, mmap=mmap)
    else:
        with warnings.catch_warnings(), pytest.raises(pickle.UnpicklingError) as caught:
            warnings.simplefilter("ignore")
            torch.load(FOLDER / name, mmap=mmap)
        assert f"UnpicklingError: {caught.value}" == wanted
        loaded = torch.load(FOLDER / name, weights_only=False, mmap=mmap)
    content = EXPECTED[name]["content"]
    if isinstance(content, dict) and "repr" in content and "0x" in content["repr"]:
        assert isinstance(loaded, torch.Generator)
        assert loaded.initial_seed() == 5
    else:
        if name == "conj.pt":  # conjugates are computed here, not marked
            content = {**content, "is_conj": loaded.is_conj()}
        assert json.loads(json.dumps(describe(loaded))) == content


def test_aliases_stay_aliases():
    for name in ("aliases.pt", "legacy.pt"):
        tensors = torch.load(FOLDER / name)
        if name == "aliases.pt":
            assert len({t.untyped_storage().data_ptr() for t in tensors}) == 1
            tensors[0][0, 1] = 77
            assert tensors[1][1, 0] == 77


def test_full_module():
    module = torch.load(FOLDER / "full_module.pt", weights_only=False)
    assert type(module) is nn.Sequential and module(torch.ones(2, 3)).shape == (2, 2)
    classes = [nn.Sequential, nn.Linear, nn.BatchNorm1d]
    with torch.serialization.safe_globals(classes):
        again = torch.load(FOLDER / "full_module.pt")
    assert torch.equal(again.fc.weight, module.fc.weight)
    assert torch.serialization.get_safe_globals() == []
    unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(FOLDER / "full_module.pt")
    assert "torch.nn.modules.linear.Linear" in unsafe


# ---- files of ours


SUBJECTS = {
    "dict": lambda: {
        "a": torch.arange(3.0),
        "n": 3,
        "s": "é",
        "t": (1, 2.5, None, True),
        "l": [-1, 2**40, 70000],
    },
    "aliases": lambda: (lambda b: [b, b.t(), b[1:, 2:5], b[::2]])(torch.arange(24.0).reshape(4, 6)),
    "state_dict": lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).state_dict(),
    "dtypes": lambda: {
        str(d): torch.ones(3).to(d)
        for d in (
            torch.float64,
            torch.float16,
            torch.bfloat16,
            torch.int64,
            torch.int32,
            torch.int16,
            torch.int8,
            torch.uint8,
            torch.bool,
            torch.complex64,
            torch.complex128,
            torch.uint16,
            torch.float8_e4m3fn,
            torch.float8_e5m2fnuz,
        )
    },
    "parameters": lambda: [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2), requires_grad=False)],
    "scalars and empties": lambda: [torch.tensor(1.5), torch.empty(0), torch.empty(0, 3), torch.tensor(True)],
    "requires_grad": lambda: [torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True) * 2],
    "others": lambda: {
        "size": torch.Size([2, 3]),
        "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
        "set": {1},
        "bytes": b"ab",
        "c": 1j,
    },
    "counter": lambda: Counter("aab"),
    "long list": lambda: list(range(2500)),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_round_trip(subject, legacy):
    obj = SUBJECTS[subject]()
    back = round_trip(obj, _use_new_zipfile_serialization=not legacy)
    assert describe(back) == describe(obj)
    if subject == "requires_grad":
        assert back[1].is_leaf


@pytest.mark.parametrize("subject", [name for name in SUBJECTS if name != "long list"])
def test_same_bytes_as_torch(subject, tmp_path):
    oracle = pytest.importorskip("torch")
    obj = SUBJECTS[subject]()
    torch.save(obj, tmp_path / "x.pt")
    theirs = oracle.load(tmp_path / "x.pt", weights_only=True)
    ours = (tmp_path / "x.pt").read_bytes()
    oracle.save(theirs, tmp_path / "x.pt")
    written = (tmp_path / "x.pt").read_bytes()
    assert len(ours) == len(written)
    assert (
        sum(x != y for x, y in zip(ours, written, strict=True)) <= 48
    )  # the serialization id and its checksum


def test_layout_of_the_archive(tmp_path):
    path = tmp_path / "a.b.pt"
    torch.save({"x": torch.ones(2), "y": torch.ones(3)}, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = [
            "data.pkl",
            ".format_version",
            ".storage_alignment",
            "byteorder",
            "data/0",
            "data/1",
            "version",
            ".data/serialization_id",
        ]
        assert archive.namelist() == [f"a.b/{name}" for name in names]
        assert archive.read("a.b/version") == b"3\n" and len(archive.read("a.b/.data/serialization_id")) == 40
        raw = path.read_bytes()
        for info in archive.infolist():
            lengths = raw[info.header_offset + 26 : info.header_offset + 30]
            begin = (
                info.header_offset
                + 30
                + int.from_bytes(lengths[:2], "little")
                + int.from_bytes(lengths[2:], "little")
            )
            assert begin % 64 == 0 and info.compress_type == zipfile.ZIP_STORED


def test_rezipped_files_load(tmp_path):
    torch.save({"x": torch.arange(100.0)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as old,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    for mmap in (False, True):
        assert torch.equal(torch.load(tmp_path / "b.pt", mmap=mmap)["x"], torch.arange(100.0))


def test_module_keeps_torch_names(tmp_path):
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        data = archive.read("m/data.pkl")
    assert b"ctorch.nn.modules.container\nSequential\n" in data and b"rushlight" not in data
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(tmp_path / "m.pt")
    assert isinstance(torch.load(tmp_path / "m.pt", weights_only=False)[0], nn.Linear)


def test_own_module_class(tmp_path):
    net = Net()
    torch.save(net, tmp_path / "net.pt")
    back = torch.load(tmp_path / "net.pt", weights_only=False)
    assert type(back) is Net and torch.equal(back(torch.ones(1, 3)), net(torch.ones(1, 3)))


def test_optimizer_checkpoint():
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    saved = round_trip({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1})
    other = Net()
    other.load_state_dict(saved["model"])
    restored = torch.optim.SGD(other.parameters(), lr=0.5)
    restored.load_state_dict(saved["optimizer"])
    for model, opt in ((net, optimizer), (other, restored)):
        opt.zero_grad()
        model(torch.ones(4, 3)).sum().backward()
        opt.step()
    assert torch.equal(net.fc.weight, other.fc.weight)


def test_untyped_storages():
    storage = round_trip(torch.arange(3, dtype=torch.uint8).untyped_storage())
    assert isinstance(storage, torch.UntypedStorage) and storage.nbytes() == 3


# ---- views: what is written, and what stays an alias


def stored(obj, **options):
    """Bytes of every storage in a file with obj."""
    buffer = io.BytesIO()
    torch.save(obj, buffer, **options)
    with zipfile.ZipFile(buffer) as archive:
        return [info.file_size for info in archive.infolist() if "/data/" in info.filename]


def test_a_view_takes_only_its_own_elements():
    base = torch.arange(1 << 20, dtype=torch.float32)
    view = base[1000:1010]
    assert stored(view) == [40] and stored(view, whole_storages=True) == [4 << 20]
    assert torch.equal(round_trip(view), view) and round_trip(view).storage_offset() == 0
    whole = round_trip(view, whole_storages=True)
    assert whole.storage_offset() == 1000 and whole.untyped_storage().nbytes() == 4 << 20
    column = base.view(1024, 1024)[:, 7]
    assert stored(column) == [4096] and torch.equal(round_trip(column), column)
    assert stored([base, view]) == [4 << 20] and stored(base[5:5]) == [0]
    assert round_trip(base[5:5]).shape == (0,)
    parameter = nn.Parameter(base[:4])
    assert stored(parameter) == [16] and type(round_trip(parameter)) is nn.Parameter


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_views_that_touch_stay_aliases(legacy):
    base = torch.arange(100, dtype=torch.int64)
    grid = base[20:60].view(4, 10)
    views = [base[2:8], base[5:10], base[90:], grid.t(), grid[1], base[2:8], base[7:7], base[10:12]]
    back = round_trip(views, _use_new_zipfile_serialization=not legacy)
    assert all(torch.equal(a, b) for a, b in zip(back, views, strict=True))
    assert [t.stride() for t in back] == [t.stride() for t in views]
    back[0][3] = -1
    back[3][2, 1] = -2
    assert back[1][0] == -1 and back[5][3] == -1 and back[4][2] == -2
    assert back[7].untyped_storage()._cdata == back[1].untyped_storage()._cdata  # neighbours
    assert back[2].untyped_storage().nbytes() == 80


def test_storages_that_are_saved_themselves_are_whole():
    base = torch.arange(8, dtype=torch.uint8)
    assert stored([base[:2], base.storage()]) == [8]
    assert stored(base[3:5].to(torch.uint16)) == [4]
    wide = torch.arange(64, dtype=torch.int64).to(torch.uint16)
    back = round_trip([wide[9:11], wide[30:40]])
    assert back[0].tolist() == [9, 10] and back[1].tolist() == list(range(30, 40))


def test_views_of_other_dtypes_are_refused():
    x = torch.ones(2)
    with pytest.raises(
        RuntimeError,
        match="Cannot save multiple tensors or storages that view the same data as different types",
    ):
        round_trip([x, x.view(torch.int32)])


# ---- options


def test_map_location(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"a": torch.ones(2)}, path)
    calls = []

    def place(storage, location):
        calls.append((type(storage), location))

    for where in ("cpu", torch.device("cpu"), {"cpu": "cpu"}, lambda storage, location: storage, place, None):
        assert torch.load(path, map_location=where)["a"].tolist() == [1, 1]
    assert calls == [(torch.UntypedStorage, "cpu")]
    with pytest.raises(
        RuntimeError,
        match="don't know how to restore data location of torch.storage.UntypedStorage .tagged with foo.",
    ):
        torch.load(path, map_location="foo")
    with pytest.raises(TypeError):
        torch.load(path, map_location=3)
    if not torch.cuda.is_available():
        with pytest.raises(
            RuntimeError,
            match="Attempting to deserialize object on a CUDA device but torch.cuda.is_available",
        ):
            torch.load(path, map_location="cuda")


def test_mmap(tmp_path):
    path = tmp_path / "x.pt"
    torch.save([torch.arange(1000.0)], path)
    before = path.read_bytes()
    (x,) = torch.load(path, mmap=True)
    x[0] = 5  # a private copy of the page
    assert x[0] == 5 and path.read_bytes() == before
    with pytest.raises(ValueError, match="f must be a file path in order to use the mmap argument"):
        torch.load(io.BytesIO(before), mmap=True)


def test_mmap_by_default(tmp_path, monkeypatch):
    torch.save([torch.arange(1000.0)], tmp_path / "x.pt")
    monkeypatch.setattr(torch.utils.serialization.config.load, "mmap", True)
    (x,) = torch.load(tmp_path / "x.pt")
    assert x[999] == 999 and not x.untyped_storage().resizable()
    with pytest.raises(ValueError, match="f must be a file path in order to use the mmap argument"):
        torch.load(io.BytesIO((tmp_path / "x.pt").read_bytes()))


def test_npz(tmp_path):
    tensors = {"w": torch.arange(6).view(2, 3).t(), "file": torch.tensor(1.5), "none": torch.empty(0, 2)}
    torch.serialization.save_npz(tmp_path / "x.npz", tensors)
    with np.load(tmp_path / "x.npz") as arrays:
        assert {name: arrays[name].tolist() for name in arrays} == {k: v.tolist() for k, v in tensors.items()}
    np.savez_compressed(tmp_path / "y.npz", a=np.arange(3, dtype=">i4"), b=np.asfortranarray(np.ones((2, 3))))
    for load in (torch.load, torch.serialization.load_npz):
        back = load(tmp_path / "y.npz")
        assert back["a"].tolist() == [0, 1, 2] and back["a"].dtype == torch.int32 and back["b"].shape == (2, 3)
    np.savez(tmp_path / "z.npz", a=np.array([{}]))
    with pytest.raises(RuntimeError, match="array a.npy holds Python objects, which are not loaded"):
        torch.load(tmp_path / "z.npz")


def test_load_from_an_address(tmp_path, capsys):
    import hashlib

    torch.save({"w": torch.ones(2)}, tmp_path / "x.pt")
    digest = hashlib.sha256((tmp_path / "x.pt").read_bytes()).hexdigest()
    good, bad = tmp_path / f"net-{digest[:8]}.pt", tmp_path / "net-00000000.pt"
    for path in (good, bad):
        path.write_bytes((tmp_path / "x.pt").read_bytes())
    folder = tmp_path / "models"
    for _ in range(2):
        state = torch.hub.load_state_dict_from_url(good.as_uri(), model_dir=str(folder), check_hash=True)
        assert state["w"].tolist() == [1, 1]
    assert capsys.readouterr().err.count("Downloading:") == 1
    with pytest.raises(RuntimeError, match='invalid hash value .expected "00000000", got'):
        torch.hub.load_state_dict_from_url(bad.as_uri(), model_dir=str(folder), check_hash=True)
    assert os.listdir(folder) == [good.name]


def test_file_objects_and_paths(tmp_path):
    with open(tmp_path / "x.pt", "wb") as file:
        torch.save([1, torch.ones(1)], file)
    with open(tmp_path / "x.pt", "rb") as file:
        assert torch.load(file)[0] == 1
    torch.save(1, str(tmp_path / "noext"))
    assert torch.load(str(tmp_path / "noext")) == 1
    os.symlink(tmp_path / "noext", tmp_path / "link.pt")
    torch.save(2, tmp_path / "link.pt")
    assert (tmp_path / "link.pt").is_symlink() and torch.load(tmp_path / "noext") == 2


@pytest.mark.parametrize(
    "action, error, text",
    [
        (lambda: torch.load("missing.pth"), FileNotFoundError, "No such file or directory: 'missing.pth'"),
        (lambda: torch.load(io.BytesIO(b"")), EOFError, ""),
        (
            lambda: torch.load(io.BytesIO(pickle.dumps({}, 2))),
            RuntimeError,
            "Invalid magic number; corrupt file?",
        ),
        (
            lambda: torch.load(3),
            AttributeError,
            "'int' object has no attribute 'seek'. You can only torch.load from a file that is seekable.",
        ),
        (
            lambda: torch.save(1, 3),
            AttributeError,
            "expected 'f' to be string, path, or a file-like object with a 'write' attribute",
        ),
        (lambda: torch.save(1, "/nope/x.pt"), RuntimeError, "Parent directory /nope does not exist."),
        (lambda: torch.save(1, ".hidden"), RuntimeError, "invalid file name: .hidden"),
        (
            lambda: torch.load(io.BytesIO(), weights_only=True, pickle_module=pickle),
            RuntimeError,
            "Can not safely load weights when explicit pickle_module is specified",
        ),
    ],
)
def test_errors(action, error, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        action()
    assert text in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_environment_variables(tmp_path, monkeypatch):
    torch.save(Net(), tmp_path / "x.pt")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.warns(UserWarning, match="TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected"):
        assert isinstance(torch.load(tmp_path / "x.pt"), Net)
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(RuntimeError, match="Only one of"):
        torch.load(tmp_path / "x.pt")
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "x.pt", weights_only=False)


# ---- pickle and copy


def test_plain_pickle():
    base = torch.arange(6.0).reshape(2, 3)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps([base, base.t(), nn.Parameter(torch.ones(2))], protocol))
        assert torch.equal(back[0], base) and back[1].stride() == (1, 3) and isinstance(back[2], nn.Parameter)
    net = Net()
    assert torch.equal(pickle.loads(pickle.dumps(net)).fc.weight, net.fc.weight)


def test_deepcopy():
    base = torch.arange(6.0)
    x, view = copy.deepcopy([base, base[2:4]])
    view[0] = 50
    assert x[2] == 50 and base[2] == 2
    leaf = torch.ones(2, requires_grad=True)
    leaf.grad = torch.full((2,), 3.0)
    clone = copy.deepcopy(leaf)
    assert clone.requires_grad and clone.grad.tolist() == [3, 3] and clone.grad is not leaf.grad
    assert type(copy.deepcopy(nn.Parameter(leaf))) is nn.Parameter
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(leaf * 2)
    state = copy.deepcopy(OrderedDict(a=torch.ones(1)))
    assert state["a"].tolist() == [1]
