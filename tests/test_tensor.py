"""The tensor object itself: attributes, dtypes, devices and sizes as Python objects, copies and pickles, subclasses and
__torch_function__, weak references, memory shared with NumPy and through DLPack, many dimensions, version counters and
overlapping memory.
"""

import copy
import gc
import pickle
import struct
import sys
import threading
import warnings
import weakref

import numpy as np
import pytest

import rushlight as rl

DTYPES = [rl.bool, rl.uint8, rl.int8, rl.int16, rl.int32, rl.int64, rl.float16, rl.float32, rl.float64, rl.complex64,
          rl.complex128]  # fmt: skip


# ---- attributes ----
def test_attributes():
    x = rl.arange(24.0).reshape(2, 3, 4)
    assert x.shape == (2, 3, 4) and x.size() == x.shape and x.size(1) == x.shape[-2] == 3
    assert x.ndim == x.dim() == 3 and x.numel() == x.nelement() == 24 and len(x) == 2
    assert x.stride() == (12, 4, 1) and x.stride(0) == 12 and x[1].storage_offset() == 12
    assert x.dtype is rl.float32 and x.itemsize == x.element_size() == 4 and x.nbytes == 96
    assert x.device == rl.device("cpu") and x.is_cpu and not x.is_cuda and x.layout is rl.strided
    assert x.is_contiguous() and not x.transpose(0, 1).is_contiguous()
    assert x.is_leaf and not x.requires_grad and x.grad is None and x.grad_fn is None and x._version == 0
    assert x.T.shape == (4, 3, 2) and x.mT.shape == (2, 4, 3)
    assert x.is_floating_point() and not x.is_complex() and x.is_signed() and not x.bool().is_signed()
    assert x.data_ptr() == x.untyped_storage().data_ptr() and x[1].data_ptr() == x.data_ptr() + 48


def test_attributes_that_may_not_be_set():
    x = rl.ones(2)
    for name in ("shape", "dtype", "device", "ndim", "is_leaf", "grad_fn", "_version"):
        with pytest.raises((AttributeError, TypeError, RuntimeError)):
            setattr(x, name, 1)


def test_own_attributes():
    x = rl.ones(2)
    x.tag = "mine"
    assert x.tag == "mine" and "tag" in x.__dict__
    with pytest.raises(AttributeError):
        x.unknown


def test_grad_assignment():
    x = rl.ones(2, requires_grad=True)
    x.grad = rl.ones(2)
    assert x.grad.tolist() == [1, 1]
    x.grad = None
    assert x.grad is None
    for wrong in (1.0, rl.ones(3), rl.ones(2, dtype=rl.float64)):
        with pytest.raises((TypeError, RuntimeError)):
            x.grad = wrong
    assert x.grad is None


def test_python_protocols():
    x = rl.tensor([3, 1, 2])
    assert [int(v) for v in x] == [3, 1, 2] and 2 in x and 7 not in x
    assert list(reversed(x.tolist())) == [2, 1, 3] and x.tolist() == [3, 1, 2]
    assert hash(x) == hash(x) and {x: 1}[x] == 1
    assert f"{rl.tensor(2.5):.2f}" == "2.50" and format(rl.tensor([1.0])) == "tensor([1.])"
    for convert in (int, float, bool, complex):
        with pytest.raises((ValueError, RuntimeError, TypeError)):
            convert(x)
    with pytest.raises(TypeError):
        len(rl.tensor(1))
    with pytest.raises(TypeError):
        iter(rl.tensor(1)).__next__()


@pytest.mark.parametrize("dtype", [*DTYPES, rl.bfloat16], ids=str)
def test_item_and_conversions(dtype):
    x = rl.tensor([1, 0]).to(dtype)
    value = x[0].item()
    kind = (
        bool
        if dtype == rl.bool
        else complex
        if dtype.is_complex
        else float
        if dtype.is_floating_point
        else int
    )
    assert type(value) is kind and value == 1
    assert x.tolist() == [1, 0] and x.to(rl.float64).to(dtype).dtype == dtype
    for method, target in [("float", rl.float32), ("double", rl.float64), ("half", rl.float16), ("int", rl.int32), ("long", rl.int64),
                           ("short", rl.int16), ("char", rl.int8), ("byte", rl.uint8), ("bool", rl.bool), ("bfloat16", rl.bfloat16)]:  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert getattr(x, method)().dtype is target
    assert x.to(dtype) is x and x.type(dtype) is x


def test_conversion_of_extreme_numbers():
    assert rl.tensor([1e30, -1e30, float("inf")]).half().tolist() == [
        float("inf"),
        float("-inf"),
        float("inf"),
    ]
    assert rl.tensor([300, -1]).to(rl.uint8).tolist() == [44, 255]
    assert rl.tensor([float("nan"), 0.0, -2.0]).bool().tolist() == [True, False, True]
    assert rl.tensor([1.00390625, 3.3895e38]).bfloat16().float().tolist()[0] == 1.0
    assert rl.tensor([2.0**-24]).half().item() == 2.0**-24  # the smallest number of float16
    rl.tensor([float("nan"), 1e30, -1e30]).long()  # any answer, no trap


# ---- dtype, device, Size ----
def test_dtype_objects():
    assert (
        rl.float is rl.float32 and rl.double is rl.float64 and rl.long is rl.int64 and rl.half is rl.float16
    )
    assert str(rl.float32) == repr(rl.float32) == "torch.float32"
    assert (
        rl.float32.is_floating_point
        and rl.complex64.is_complex
        and rl.int8.is_signed
        and not rl.uint8.is_signed
    )
    assert rl.float32.itemsize == 4 and rl.complex128.itemsize == 16
    assert pickle.loads(pickle.dumps(rl.bfloat16)) is rl.bfloat16 and copy.deepcopy(rl.int8) is rl.int8
    assert (
        len({rl.float32, rl.float, rl.float64}) == 2 and rl.float32 != rl.float64 and rl.float32 != "float32"
    )
    assert rl.finfo(rl.float32).eps == 2.0**-23 and rl.iinfo(rl.int16).max == 32767
    with pytest.raises(TypeError):
        rl.finfo(rl.int32)
    with pytest.raises(TypeError):
        rl.iinfo(rl.float32)


def test_device_objects():
    cpu = rl.device("cpu")
    assert cpu == rl.device("cpu") and cpu.type == "cpu" and cpu.index is None and str(cpu) == "cpu"
    assert rl.device("cpu", 0) == rl.device("cpu:0") and rl.device("cuda:1").index == 1
    assert repr(rl.device("cuda", 1)) == "device(type='cuda', index=1)"
    assert (
        pickle.loads(pickle.dumps(rl.device("cpu:0"))) == rl.device("cpu:0")
        and len({cpu, rl.device("cpu")}) == 1
    )
    for wrong in ("nowhere", "cpu:x", "cuda:-1", ""):
        with pytest.raises(RuntimeError):
            rl.device(wrong)
    with pytest.raises((TypeError, RuntimeError)):
        rl.device(1.5)


def test_size_objects():
    s = rl.zeros(2, 3).shape
    assert isinstance(s, tuple) and isinstance(s, rl.Size) and s == (2, 3) and s.numel() == 6
    assert repr(s) == "torch.Size([2, 3])" and isinstance(s[:1], rl.Size) and type(s[0]) is int
    assert isinstance(s + (4,), rl.Size) and isinstance(s * 2, rl.Size) and hash(s) == hash((2, 3))
    assert pickle.loads(pickle.dumps(s)) == s and rl.Size([1, 2]) == (1, 2) and rl.Size().numel() == 1
    with pytest.raises(TypeError):
        rl.Size([1.5])
    with pytest.raises(TypeError):
        rl.Size(["a"])


def test_meta_tensors_have_shapes_only():
    x = rl.empty(2**20, 2**20, device="meta")
    y = (x + 1).sum(0)
    assert y.shape == (2**20,) and y.is_meta and y.device.type == "meta"
    for wrong in (lambda: y[0].item(), lambda: y.tolist(), lambda: y.numpy(), lambda: rl.ones(2**20) + y):
        with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
            wrong()


# ---- copies and pickles ----
@pytest.mark.parametrize("dtype", [*DTYPES, rl.bfloat16], ids=str)
def test_pickle_and_deepcopy(dtype):
    x = rl.tensor([[1, 0, 2], [3, 1, 0]]).to(dtype)
    for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), pickle.loads(pickle.dumps(x, protocol=5))):
        assert y is not x and y.dtype is dtype and rl.equal(x, y) and y.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("make", [lambda: rl.arange(6.0).reshape(2, 3).t(), lambda: rl.arange(9.0)[1::2], lambda: rl.tensor(3.0),
                                  lambda: rl.zeros(0, 3), lambda: rl.ones(1).expand(4), lambda: rl.ones((1,) * 12)])  # fmt: skip
def test_pickle_and_deepcopy_keep_the_layout(make):
    x = make()
    for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert rl.equal(x, y) and y.stride() == x.stride() and y.shape == x.shape


def test_pickle_keeps_gradients_settings_and_attributes():
    x = rl.ones(2, requires_grad=True)
    x.note = [1, 2]
    y = pickle.loads(pickle.dumps(x))
    assert y.requires_grad and y.is_leaf and y.note == [1, 2]
    x.grad = rl.ones(2)
    assert copy.deepcopy(x).grad.tolist() == [1, 1]
    with pytest.raises(RuntimeError):
        copy.deepcopy(x * 2)
    assert copy.copy(x).data_ptr() == x.data_ptr()


def test_views_of_one_storage_stay_so():
    base = rl.arange(6.0)
    a, b = copy.deepcopy((base[:3], base[2:]))
    a[2] = 100
    assert b[0] == 100
    a, b = pickle.loads(pickle.dumps((base, base)))
    assert a is b


# ---- subclasses ----
class Tagged(rl.Tensor):
    pass


def test_subclass_instances():
    x = rl.ones(2).as_subclass(Tagged)
    assert type(x) is Tagged and isinstance(x, rl.Tensor)
    assert (
        type(x + 1) is Tagged
        and type(x.sum()) is Tagged
        and type(x[0]) is Tagged
        and type(rl.add(1 * x, x)) is Tagged
    )
    assert type(rl.stack([x, rl.ones(2)])) is Tagged
    y = copy.deepcopy(x)
    assert type(y) is Tagged and rl.equal(x, y)
    assert type(pickle.loads(pickle.dumps(x))) is Tagged
    assert type(rl.Tensor._make_subclass(Tagged, rl.ones(2))) is Tagged
    x.requires_grad_()
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_torch_function_sees_functions_methods_and_operators():
    calls = []

    class Recorder(rl.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            calls.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs or {})

    x = rl.ones(2).as_subclass(Recorder)
    for call in (lambda: rl.add(x, 1), lambda: x.add(1), lambda: x + 1, lambda: 1 + x, lambda: rl.stack([rl.ones(2), x]), lambda: x.sum(dim=0),
                 lambda: x.mul_(2), lambda: x[0]):  # fmt: skip
        calls.clear()
        assert type(call()) is Recorder and calls


def test_torch_function_of_anything():
    class Foreign:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func.__name__, len(args)

    class Refuses:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    assert rl.add(rl.ones(1), Foreign()) == ("add", 2) and rl.ones(1) + Foreign() is not None
    with pytest.raises(TypeError, match="NotImplemented"):
        rl.add(rl.ones(1), Refuses())


def test_disabled_torch_function():
    class Plain(rl.Tensor):
        __torch_function__ = rl._C._disabled_torch_function_impl

    x = rl.ones(2).as_subclass(Plain)
    assert type(x) is Plain and type(x + 1) is rl.Tensor


# ---- life and death ----
def test_weak_references():
    x = rl.ones(2)
    gone = []
    reference = weakref.ref(x, lambda _: gone.append(1))
    assert reference() is x
    del x
    assert reference() is None and gone == [1]
    table = weakref.WeakKeyDictionary()
    y = rl.ones(1)
    table[y] = 1
    assert len(table) == 1
    del y
    assert len(table) == 0


def test_reference_cycles_are_collected():
    class Node:
        pass

    x = rl.ones(2, requires_grad=True)
    x.me = x
    node = Node()
    x.node, node.tensor = node, x
    reference, other = weakref.ref(x), weakref.ref(node)
    del x, node
    gc.collect()
    assert reference() is None and other() is None


def test_the_array_outlives_the_tensor_and_the_reverse():
    a = np.arange(1000.0)
    t = rl.from_numpy(a)
    before = sys.getrefcount(a)
    del t
    assert sys.getrefcount(a) == before - 1
    n = rl.arange(1000.0).numpy()
    gc.collect()
    assert n.sum() == 499500


# ---- NumPy ----
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_numpy_shares_memory_both_ways(dtype):
    t = rl.zeros(2, 3, dtype=dtype)
    a = t.numpy()
    a[0, 1] = 1
    assert t[0, 1] == 1
    t[1, 2] = 1
    assert a[1, 2] == 1 and str(a.dtype) == str(dtype).rpartition(".")[2].replace("bool", "bool")
    b = rl.from_numpy(a)
    assert b.dtype is dtype and b.data_ptr() == t.data_ptr()
    assert rl.as_tensor(a).data_ptr() == a.ctypes.data and rl.tensor(a).data_ptr() != a.ctypes.data


def test_numpy_layouts():
    t = rl.arange(24.0).reshape(2, 3, 4)
    for view in (t.transpose(0, 2), t[:, 1], t[..., ::2], t[1:], t[0, 0, 0], t[:0], t.unsqueeze(1)):
        a = view.numpy()
        assert a.shape == tuple(view.shape) and a.tolist() == view.tolist()
        assert rl.from_numpy(a).stride() == view.stride() or not a.size
    assert not np.asarray(t[:1].expand(2, 3, 4)).flags.c_contiguous
    with pytest.raises(ValueError, match="negative"):
        rl.from_numpy(np.arange(3)[::-1])
    with pytest.raises(TypeError):
        rl.from_numpy([1, 2])
    with pytest.raises(TypeError):
        rl.from_numpy(np.array(["a"]))
    with pytest.raises(TypeError):
        rl.from_numpy(np.array([object()]))
    swapped = np.arange(3, dtype=">i4")
    with pytest.raises((TypeError, ValueError)):
        rl.from_numpy(swapped)


def test_numpy_of_tensors_in_a_graph():
    x = rl.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="requires grad"):
        x.numpy()
    assert x.detach().numpy().tolist() == [1, 1] and x.numpy(force=True).tolist() == [1, 1]
    with pytest.raises(TypeError):
        rl.ones(2, dtype=rl.bfloat16).numpy()


def test_numpy_functions_and_operators():
    t = rl.tensor([1.0, 2.0])
    a = np.array([10.0, 20.0], dtype="float32")
    assert (
        np.sum(t) == 3 and np.asarray(t).dtype == np.float32 and np.array(t, dtype="int64").tolist() == [1, 2]
    )
    assert (
        isinstance(t + a, rl.Tensor)
        and (t + a).tolist() == [11, 22]
        and (t * np.float64(2)).tolist() == [2, 4]
    )
    # NumPy computes, by its own rules: the dtype is its dtype, and tensors with a history cannot take part
    assert (t + np.arange(2)).dtype == (np.ones(2) / t).dtype == rl.float64 and np.isnan(t).dtype == rl.uint8
    assert t.__mul__(a) is NotImplemented and (t > a).tolist() == [False, False]
    with pytest.raises(RuntimeError, match="requires grad. Use tensor.detach"):
        rl.ones(2, requires_grad=True) * a
    with pytest.raises(TypeError, match="unsupported operand"):
        a - t
    assert np.array_equal(a, rl.from_numpy(a)) and np.stack([t, t]).shape == (2, 2)
    assert (np.float32(2) * t).tolist() == [2, 4] and t[np.array([1, 0])].tolist() == [2, 1]
    assert (
        rl.tensor([np.float32(1), np.int8(2)]).tolist() == [1, 2]
        and rl.tensor(np.arange(3)).dtype == rl.int64
    )


def test_read_only_arrays_warn_and_survive():
    a = np.arange(3.0)
    a.flags.writeable = False
    rl.set_warn_always(True)
    try:
        with pytest.warns(UserWarning, match="not writable"):
            rl.from_numpy(a)
    finally:
        rl.set_warn_always(False)
    assert rl.tensor(a).tolist() == [0, 1, 2]


def test_frombuffer():
    memory = bytearray(struct.pack("4f", 1, 2, 3, 4))
    t = rl.frombuffer(memory, dtype=rl.float32)
    memory[:4] = struct.pack("f", 9)
    assert t.tolist() == [9, 2, 3, 4]
    assert rl.frombuffer(memory, dtype=rl.float32, count=2, offset=4).tolist() == [2, 3]
    for bad in (
        dict(count=9),
        dict(offset=15),
        dict(offset=-1),
        dict(offset=99),
        dict(count=2**62),
        dict(count=0),
    ):
        with pytest.raises((ValueError, RuntimeError)):
            rl.frombuffer(memory, dtype=rl.float32, **bad)
    with pytest.raises((ValueError, RuntimeError, BufferError)):
        rl.frombuffer(bytearray(), dtype=rl.float32)


def test_dlpack():
    t = rl.arange(12.0).reshape(3, 4)
    a = np.from_dlpack(t)
    a[0, 0] = 7
    assert t[0, 0] == 7 and a.shape == (3, 4)
    back = rl.from_dlpack(np.arange(6.0).reshape(2, 3).T)
    assert back.shape == (3, 2) and back.stride() == (1, 3) and back.tolist() == [[0, 3], [1, 4], [2, 5]]
    same = rl.from_dlpack(t)
    assert same.data_ptr() == t.data_ptr() and t.__dlpack_device__() == (1, 0)
    del t
    gc.collect()
    assert same[2, 3] == 11
    with pytest.raises((RuntimeError, BufferError)):
        rl.ones(2, requires_grad=True).__dlpack__()
    with pytest.raises((TypeError, AttributeError, RuntimeError)):
        rl.from_dlpack(object())


def test_dlpack_capsules_are_used_once_and_freed():
    capsule = (
        rl.utils.dlpack.to_dlpack(rl.arange(3.0))
        if hasattr(rl.utils, "dlpack")
        else rl.arange(3.0).__dlpack__()
    )
    assert rl.from_dlpack(capsule).tolist() == [0, 1, 2]
    with pytest.raises((RuntimeError, ValueError)):
        rl.from_dlpack(capsule)
    rl.ones(1000).__dlpack__()  # dropped without being consumed


# ---- many dimensions, odd shapes ----
def test_many_dimensions():
    shape = (2, 1) * 8
    x = rl.arange(256.0).reshape(shape)
    y = x.permute(tuple(range(16))[::-1])
    assert (x + 1).shape == shape and (y * 2).sum() == 2 * x.sum() and y.contiguous().shape == y.shape
    assert rl.equal(
        (x + y).permute(tuple(range(16))[::-1]),
        y + x.permute(tuple(range(16))[::-1]).permute(tuple(range(16))[::-1]),
    )
    assert x.sum(dim=tuple(range(0, 16, 2))).shape == (1,) * 8 and x[(0,) * 16].item() == 0
    deep = rl.ones((1,) * 64)
    assert (deep + deep).ndim == 64 and deep.squeeze().ndim == 0 and deep.sum().item() == 1
    assert copy.deepcopy(deep).shape == deep.shape and pickle.loads(pickle.dumps(deep)).ndim == 64


def test_empty_tensors():
    x = rl.empty(0, 3)
    assert (
        x.numel() == 0
        and x.tolist() == []
        and (x + 1).shape == (0, 3)
        and x.sum().item() == 0
        and x.prod().item() == 1
    )
    assert rl.empty(2, 0).tolist() == [[], []] and x.t().shape == (3, 0) and x.reshape(3, 0).shape == (3, 0)
    assert (x @ rl.ones(3, 2)).shape == (0, 2) and (rl.ones(2, 0) @ rl.ones(0, 2)).tolist() == [
        [0, 0],
        [0, 0],
    ]
    assert x.mean().isnan() and rl.cat([x, x]).shape == (0, 3) and x.clone().add_(1).shape == (0, 3)
    for name in ("max", "min", "argmax"):
        with pytest.raises((RuntimeError, IndexError)):
            getattr(x, name)()


@pytest.mark.parametrize("size", [(-1,), (2**62, 2**62), (2**63 - 1,), (2**40, 2**40), (2**61,), (3, -2)])
def test_impossible_sizes_raise(size):
    for make in (rl.zeros, rl.empty, rl.ones, rl.rand, rl.randn):
        with pytest.raises((RuntimeError, MemoryError)):
            make(size)
    with pytest.raises((RuntimeError, MemoryError)):
        rl.ones(1).resize_(size)
    with pytest.raises((RuntimeError, MemoryError)):
        rl.full(size, 1)
    if size != (-1,):
        with pytest.raises((RuntimeError, MemoryError)):
            rl.ones(2).view(size)


def test_views_outside_the_storage_raise():
    x = rl.arange(6.0)
    for bad in (
        ((7,), (1,), 0),
        ((2, 3), (3, 2), 0),
        ((1,), (1,), 6),
        ((2**62,), (1,), 0),
        ((2,), (2**62,), 0),
        ((1,), (1,), -1),
        ((2,), (-1,), 1),
    ):
        with pytest.raises((RuntimeError, ValueError)):
            x.as_strided(*bad)
    assert x.as_strided((2, 2), (1, 2), 1).tolist() == [[1, 3], [2, 4]]
    assert x.as_strided((0,), (1,), 0).numel() == 0


# ---- writes ----
def test_version_counters():
    x = rl.zeros(3)
    view = x[1:]
    view.add_(1)
    assert x._version == view._version == 1
    x[0] = 5
    x.data.mul_(2)  # counted apart
    assert view._version == 2
    assert x.detach()._version == 2
    x.detach().zero_()
    assert x._version == 3
    rl.add(view, 1, out=view)
    assert x._version == 4


def test_out_is_written_straight_or_by_a_copy():
    base = rl.arange(8.0)
    reversed_rows = rl.arange(6.0).reshape(2, 3)
    for out, left, right in [
        (rl.empty(3), base[:3], base[1:4]),
        (base[:3].clone(), None, base[1:4]),  # out is also an operand
        (rl.empty(3, dtype=rl.float64), base[:3], base[1:4]),
        (rl.empty(3, 2).t(), reversed_rows, reversed_rows + 1),
        (rl.empty(2, 6)[:, ::2], reversed_rows, reversed_rows + 1),
        (rl.empty(2, 3), base[:3], reversed_rows),
    ]:
        left = out if left is None else left
        expected = np.add(left.numpy().copy(), right.numpy())
        address, version = out.data_ptr(), out._version
        assert rl.add(left, right, out=out) is out
        assert out.data_ptr() == address and out._version == version + 1
        np.testing.assert_array_equal(out.numpy(), expected)
    interleaved = rl.arange(8.0)  # shares a range of memory, but no element, with out
    rl.add(interleaved[::2], 1, out=interleaved[1::2])
    assert interleaved.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(RuntimeError, match="doesn't support|don't support"):
        rl.exp(rl.ones(3, requires_grad=True), out=rl.empty(3))


def test_conversion_of_a_subclass_asks_its_override():
    class Counting(rl.Tensor):
        asked = []

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.asked.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs or {})

    x = rl.ones(2).as_subclass(Counting)
    assert x.to(rl.float64).dtype == rl.float64 and "to" in Counting.asked
    assert rl.ones(2).type() == "torch.FloatTensor" and rl.Tensor.type.__name__ == "type"


def test_overlapping_memory_is_not_written():
    x = rl.zeros(1).expand(3)
    for write in (lambda: x.add_(1), lambda: x.copy_(rl.ones(3)), lambda: x.fill_(1), lambda: rl.add(rl.ones(3), 1, out=x),
                  lambda: x.zero_(), lambda: x.__setitem__(slice(None), rl.ones(3)), lambda: x.mul_(2), lambda: x.normal_()):  # fmt: skip
        with pytest.raises(RuntimeError, match="single memory"):
            write()
    assert x.tolist() == [0, 0, 0]
    a = rl.arange(6.0)
    with pytest.raises(RuntimeError, match="overlap|single memory"):
        a[1:].add_(a[:-1])
    assert a.tolist() == [0, 1, 2, 3, 4, 5]
    assert a[:3].add_(a[3:]).tolist() == [3, 5, 7] and a.add_(a).tolist()[0] == 6


def test_resize_and_set():
    x = rl.arange(4.0)
    assert x.resize_(2, 2).tolist() == [[0, 1], [2, 3]] and x.resize_(2).tolist() == [0, 1]
    x.resize_(8)
    assert x.numel() == 8 and x[:4].tolist() == [0, 1, 2, 3]
    y = rl.zeros(1).set_(x)
    assert y.data_ptr() == x.data_ptr() and y.shape == (8,)
    with pytest.raises(RuntimeError):
        rl.from_numpy(np.zeros(2)).resize_(100)
    with pytest.raises(RuntimeError):
        rl.ones(2, requires_grad=True).resize_(3)


def test_threads_share_tensors():
    x = rl.zeros(1000)
    y = rl.arange(1000.0)
    failures = []

    def work():
        try:
            for _ in range(50):
                assert (y + 1).sum().item() == 500500
                x.clone().add_(y)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
