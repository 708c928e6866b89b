"""Named results such as `max(values=..., indices=...)`: tuples whose fields have names, printed as PyTorch prints them."""

from operator import itemgetter as _itemgetter


class _ResultType(type):
    def __repr__(cls):
        return f"<class 'torch.return_types.{cls.__name__}'>"


def named_result(name, fields):
    """Make the tuple type of an operator's results (called by the core, once per operator)."""

    def __new__(cls, values):
        values = tuple(values)
        if len(values) != len(fields):
            raise TypeError(f"torch.return_types.{name}() takes a {len(fields)}-sequence ({len(values)}-sequence given)")
        return tuple.__new__(cls, values)

    def __repr__(self):
        body = ",\n".join(f"{field}={value!r}" for field, value in zip(fields, self, strict=True))
        return f"torch.return_types.{name}(\n{body})"

    def __reduce__(self):
        return type(self), (tuple(self),)

    members = {"__new__": __new__, "__repr__": __repr__, "__reduce__": __reduce__, "__slots__": (), "_fields": tuple(fields)}
    members |= {field: property(_itemgetter(i)) for i, field in enumerate(fields)}
    members |= {"__module__": "rushlight.return_types", "n_fields": len(fields), "n_sequence_fields": len(fields)}
    result = _ResultType(name, (tuple,), members)
    globals().setdefault(name, result)
    return result
