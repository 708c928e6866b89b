"""A reader of pickles that can only build what is on a list: the instrument of load(weights_only=True).

It knows the opcodes that checkpoints need and no others, looks globals up in a table of its own (nothing is ever
imported because a file says so), and calls only functions of that table.
"""

import pickle
import struct
import warnings
from collections import Counter, OrderedDict

import rushlight as rl

from .. import _utils
from . import names

_BLOCKED = ("sys", "os", "posix", "nt")
_user_globals = {}  # id(object) -> object or (object, "full.path")


class BlockedGlobal(pickle.UnpicklingError):
    """A global of a module that is never allowed."""


class DamagedPickle(pickle.UnpicklingError):
    """Not a valid pickle: nothing that could be allowed."""


# ---- globals


def _brief(obj):
    """An object in an error text. Containers of a hostile file can have a repr of any length: only their type."""
    simple = isinstance(obj, (type, int, float, str)) or callable(obj) or obj is None
    return str(obj)[:200] if simple else f"a {type(obj).__name__}"


def _encode_latin1(text, encoding="latin1"):
    """_codecs.encode as pickles use it for bytes; other codecs would run more than that."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"_codecs.encode with the encoding {_brief(encoding)} is not allowed")
    return text.encode("latin1")


def _make_bytearray(data=b"", encoding="latin1"):
    """bytearray of given content; bytearray(n) would let a small file ask for any amount of memory."""
    if isinstance(data, str):
        return bytearray(_encode_latin1(data, encoding))
    if not isinstance(data, (bytes, bytearray, list, tuple)):
        raise pickle.UnpicklingError(f"bytearray of a {type(data).__name__} is not allowed")
    return bytearray(data)


_HASH_BUDGET = 10_000


def _check_key(key):
    """Refuse tuples whose hash would take for ever (each twice in the next) or overflow the C stack (nested deeply)."""
    if type(key) is not tuple:
        return
    todo, left = [key], _HASH_BUDGET
    while todo:
        items = todo.pop()
        left -= 1 + len(items)
        if left < 0:
            raise pickle.UnpicklingError("a tuple that is used as a key is nested too deeply")
        todo.extend(item for item in items if type(item) is tuple)


def _make_set(items=()):
    """set of a list or tuple of items that can be hashed at reasonable cost."""
    if not isinstance(items, (list, tuple, set)):
        raise pickle.UnpicklingError(f"set of a {type(items).__name__} is not allowed")
    for item in items:
        _check_key(item)
    return set(items)


def _check_content(arguments):
    """What OrderedDict or Counter is called with: nothing, a dict, or a list of keys or of pairs."""
    if not arguments:
        return
    content = arguments[0]
    if len(arguments) > 1 or not isinstance(content, (list, tuple, dict)):
        raise pickle.UnpicklingError(f"a mapping made from {_brief(content)} is not allowed")
    for item in content:
        _check_key(item)
        if isinstance(item, (list, tuple)) and item:
            _check_key(item[0])


def _rebuild_from_type(function, cls, arguments, state):
    """_rebuild_from_type_v2 for the tensor classes and rebuild functions that are allowed."""
    allowed = _allowed()
    if id(function) not in allowed.functions or not getattr(function, "__name__", "").startswith("_rebuild"):
        raise pickle.UnpicklingError(f"Trying to call reduce for unrecognized function {_brief(function)}")
    if not (isinstance(cls, type) and issubclass(cls, rl.Tensor) and id(cls) in allowed.objects):
        raise pickle.UnpicklingError(f"Trying to rebuild a tensor as {_brief(cls)}")
    return _utils._rebuild_from_type_v2(function, cls, arguments, state)


class _Allowed:
    """The table of one load: names -> objects, and which of them may be called or instantiated."""

    def __init__(self):
        table = names.torch_globals()
        table["torch._tensor._rebuild_from_type_v2"] = _rebuild_from_type
        table["collections.OrderedDict"] = OrderedDict
        table["collections.Counter"] = Counter
        table["_codecs.encode"] = _encode_latin1
        table["builtins.bytearray"] = _make_bytearray
        table["builtins.set"] = _make_set
        table["builtins.complex"] = complex
        table["builtins.bytes"] = bytes  # only as bytes(): the empty bytes object
        self.classes = {
            id(OrderedDict): OrderedDict,
            id(Counter): Counter,
            id(rl.nn.Parameter): rl.nn.Parameter,
        }
        # Files name the classes of tensors and storages, and never call them.
        callables = [v for name, v in table.items() if callable(v) and not name.endswith(("Tensor", "Storage"))]
        self.user = {}
        for entry in _user_globals.values():
            obj, path = entry if isinstance(entry, tuple) else (entry, None)
            for name in (path,) if path else _paths(obj):
                table[name] = obj
            callables.append(obj)
            if isinstance(obj, type):
                self.classes[id(obj)] = self.user[id(obj)] = obj
        self.table = table
        self.functions = {id(v): v for v in callables}
        self.objects = {id(v): v for v in table.values()}


_tables = {}


def _allowed():
    """The table for the present safe globals, built once for each set of them."""
    key = tuple(sorted(_user_globals))
    if key not in _tables:
        _tables.clear()
        _tables[key] = _Allowed()
    return _tables[key]


def _paths(obj):
    """The names by which files may call an object: its own, and PyTorch's for it."""
    module, name = obj.__module__, obj.__qualname__
    return {f"{module}.{name}", ".".join(names.to_torch(module, name))}


def _modern(module, name):
    """Python 3's names for the Python 2 names that protocol 2 uses."""
    import _compat_pickle

    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def find_allowed(module, name):
    """The object for a global of a file, or an UnpicklingError."""
    from ..storage import StorageType

    module, name = _modern(module, name)
    path = f"{module}.{name}"
    base = module.partition(".")[0]
    if base in _BLOCKED:
        raise BlockedGlobal(f"Trying to load unsupported GLOBAL {path} whose module {base} is blocked.")
    if path in _allowed().table:
        found = _allowed().table[path]
        if found is None:
            raise NotImplementedError(f"the file uses {path}, which rushlight does not have")
        return found
    if path == "torch.storage.UntypedStorage":
        return StorageType("UntypedStorage")
    path = path.removeprefix("builtins.")
    raise pickle.UnpicklingError(
        f"Unsupported global: GLOBAL {path} was not an allowed global by default. Please use "
        f"`torch.serialization.add_safe_globals([{path}])` or the `torch.serialization.safe_globals([{path}])` "
        "context manager to allowlist this global if you trust this class/function."
    )


# ---- the machine

_SETITEM_TYPES = (dict, OrderedDict, Counter)
_STEP = 1 << 20
_U8, _U16, _U32, _I32, _F64 = (struct.Struct(form) for form in ("<B", "<H", "<I", "<i", ">d"))


class SafeUnpickler:
    """Reads one pickle from a file object. `persistent_load` resolves storages, `find_class` the globals."""

    find_class = staticmethod(find_allowed)

    def __init__(self, file, encoding="utf-8"):
        self._file = file
        self._encoding = encoding
        self.protocol = None

    def persistent_load(self, pid):
        raise pickle.UnpicklingError("unsupported persistent id encountered")

    def _read(self, size):
        # in steps, so that a wrong length in a short file does not ask for gigabytes
        data = self._file.read(min(size, _STEP))
        if len(data) == size:
            return data
        parts, have = [data], len(data)
        while have < size:
            parts.append(self._file.read(min(size - have, _STEP)))
            have += len(parts[-1])
            if not parts[-1]:
                raise EOFError("the pickle ends in the middle of a value")
        return b"".join(parts)

    def _line(self):
        line = self._file.readline(4096)
        if not line.endswith(b"\n"):
            raise EOFError("the pickle ends in the middle of a name")
        return line[:-1].decode("utf-8")

    def load(self):
        """The object of the pickle."""
        self._stack, self._marks, self._memo = [], [], {}
        actions = _ACTIONS
        try:
            while True:
                key = self._file.read(1)
                if not key:
                    raise EOFError("the pickle has no end")
                action = actions.get(key[0])
                if action is None:
                    raise pickle.UnpicklingError(f"Unsupported operand {key[0]}")
                if action is _stop:
                    return self._stack.pop()
                action(self)
        except (IndexError, UnicodeDecodeError) as error:
            raise DamagedPickle(f"the pickle is damaged: {error}") from None

    def _number(self, form):
        return form.unpack(self._read(form.size))[0]

    def _items(self):
        """What was pushed since the last mark."""
        items, self._stack = self._stack, self._marks.pop()
        return items


def _stop(u):
    """STOP is handled in the loop."""


def _proto(u):
    u.protocol = u._read(1)[0]
    if u.protocol != 2:
        warnings.warn(
            f"Detected pickle protocol {u.protocol} in the checkpoint, which was not the default pickle protocol used "
            "by `torch.load` (2). The weights_only Unpickler might not support all instructions implemented by this "
            "protocol, please file an issue for adding support if you encounter this.",
            stacklevel=6,
        )


def _global(u):
    module, name = u._line(), u._line()
    u._stack.append(u.find_class(module, name))


def _newobj(u):
    arguments, cls = u._stack.pop(), u._stack.pop()
    if id(cls) not in _allowed().classes or not isinstance(arguments, tuple):
        raise pickle.UnpicklingError(
            "Can only create new object for nn.Parameter or classes allowlisted via `add_safe_globals` "
            f"but got {_brief(cls)}"
        )
    u._stack.append(cls.__new__(cls, *arguments))


def _reduce(u):
    arguments, function = u._stack.pop(), u._stack.pop()
    if id(function) not in _allowed().functions:
        raise pickle.UnpicklingError(f"Trying to call reduce for unrecognized function {_brief(function)}")
    if not isinstance(arguments, tuple):
        raise DamagedPickle("the pickle is damaged: arguments that are not a tuple")
    if function in (OrderedDict, Counter):
        _check_content(arguments)
    if function is bytes and arguments:
        raise pickle.UnpicklingError("bytes with arguments is not allowed")
    u._stack.append(function(*arguments))


def _build(u):
    state, obj = u._stack.pop(), u._stack[-1]
    kind = type(obj)
    if kind is OrderedDict:
        if not isinstance(state, dict):
            raise DamagedPickle("the pickle is damaged: attributes that are not a dict")
        obj.__dict__.update(state)
    elif id(kind) in _allowed().user:
        if hasattr(obj, "__setstate__"):
            obj.__setstate__(state)
        else:
            _utils._set_state(obj, state)
    elif kind is rl.nn.Parameter and isinstance(state, tuple):
        _utils._set_state(obj, state)
    else:
        raise pickle.UnpicklingError(
            f"Can only build Tensor, Parameter, OrderedDict or types allowlisted via `add_safe_globals`, but got {kind}"
        )


def _append_to(u, items):
    target = u._stack[-1]
    if type(target) is not list:
        raise pickle.UnpicklingError(f"Can only append to lists, but got {type(target)}")
    target.extend(items)


def _set_items(u, items):
    target = u._stack[-1]
    if type(target) not in _SETITEM_TYPES:
        raise pickle.UnpicklingError(
            f"Can only SETITEM for dict, collections.OrderedDict, collections.Counter, but got {type(target)}"
        )
    if len(items) % 2:
        raise DamagedPickle("the pickle is damaged: a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        _check_key(key)
        target[key] = value


def _setitem(u):
    value, key = u._stack.pop(), u._stack.pop()
    _set_items(u, [key, value])


def _mark(u):
    u._marks.append(u._stack)
    u._stack = []


def _tuple_of(count):
    def action(u):
        if len(u._stack) < count:
            raise IndexError("too few values for a tuple")
        u._stack[len(u._stack) - count :] = [tuple(u._stack[len(u._stack) - count :])]

    return action


def _memo_get(form):
    def action(u):
        index = u._number(form)
        if index not in u._memo:
            raise DamagedPickle(f"Memo value not found at index {index}")
        u._stack.append(u._memo[index])

    return action


def _memo_put(form):
    def action(u):
        index = u._number(form)
        if not u._stack:
            raise IndexError("nothing to remember")
        u._memo[index] = u._stack[-1]

    return action


def _push(make):
    def action(u):
        value = make(u)  # first: it may change which stack is the current one
        u._stack.append(value)

    return action


def _long1(u):
    return int.from_bytes(u._read(u._number(_U8)), "little", signed=True)


def _unicode(u):
    return u._read(u._number(_U32)).decode("utf-8", "surrogatepass")


def _short_string(u):
    data = u._read(u._number(_U8))
    return data if u._encoding == "bytes" else data.decode(u._encoding, "strict")


def _persistent(u):
    pid = u._stack.pop()
    if not isinstance(pid, tuple) or not pid or (type(pid[0]) is not int and pid[0] != "storage"):
        raise DamagedPickle(
            f"persistent_load id must be a tuple that begins with 'storage', but got {_brief(pid)}"
        )
    u._stack.append(u.persistent_load(pid))


_ACTIONS = {
    op[0]: action
    for op, action in {
        pickle.PROTO: _proto,
        pickle.STOP: _stop,
        pickle.GLOBAL: _global,
        pickle.NEWOBJ: _newobj,
        pickle.REDUCE: _reduce,
        pickle.BUILD: _build,
        pickle.APPEND: lambda u: _append_to(u, [u._stack.pop()]),
        pickle.APPENDS: lambda u: _append_to(u, u._items()),
        pickle.SETITEM: _setitem,
        pickle.SETITEMS: lambda u: _set_items(u, u._items()),
        pickle.MARK: _mark,
        pickle.TUPLE: _push(lambda u: tuple(u._items())),
        pickle.TUPLE1: _tuple_of(1),
        pickle.TUPLE2: _tuple_of(2),
        pickle.TUPLE3: _tuple_of(3),
        pickle.NONE: _push(lambda u: None),
        pickle.NEWTRUE: _push(lambda u: True),
        pickle.NEWFALSE: _push(lambda u: False),
        pickle.EMPTY_TUPLE: _push(lambda u: ()),
        pickle.EMPTY_LIST: _push(lambda u: []),
        pickle.EMPTY_DICT: _push(lambda u: {}),
        pickle.EMPTY_SET: _push(lambda u: set()),
        pickle.BININT: _push(lambda u: u._number(_I32)),
        pickle.BININT1: _push(lambda u: u._number(_U8)),
        pickle.BININT2: _push(lambda u: u._number(_U16)),
        pickle.LONG1: _push(_long1),
        pickle.BINFLOAT: _push(lambda u: u._number(_F64)),
        pickle.BINUNICODE: _push(_unicode),
        pickle.SHORT_BINSTRING: _push(_short_string),
        pickle.BINPERSID: _persistent,
        pickle.BINGET: _memo_get(_U8),
        pickle.LONG_BINGET: _memo_get(_U32),
        pickle.BINPUT: _memo_put(_U8),
        pickle.LONG_BINPUT: _memo_put(_U32),
    }.items()
}
