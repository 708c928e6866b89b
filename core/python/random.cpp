// rushlight.Generator: the state of the random number streams as a Python object.
#include "ops/random.h"

#include <structmember.h>

#include "python/python.h"
#include "python/system.h"
#include "tensor/tensor.h"

namespace rushlight {

namespace {

struct GeneratorObject {
  PyObject_HEAD Generator* generator;  // owned
  PyObject* weakrefs;
};
PyTypeObject* generator_type;
PyObject* default_object;  // lives as long as the process

Generator& of(PyObject* o) { return *reinterpret_cast<GeneratorObject*>(o)->generator; }

PyObject* make(Generator* g) {
  auto* o = reinterpret_cast<GeneratorObject*>(checked(generator_type->tp_alloc(generator_type, 0)));
  o->generator = g;
  return reinterpret_cast<PyObject*>(o);
}

PyObject* g_new(PyTypeObject* type, PyObject* args, PyObject* kw) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"device", nullptr};
    PyObject* device = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "|O", const_cast<char**>(names), &device)) throw PythonError();
    if (device && device != Py_None) {
      Device d = to_device(device);
      if (d.type == Device::cuda) throw runtime_error("Cannot get CUDA generator without ATen_cuda library.");
      if (d.type != Device::cpu)
        throw runtime_error("Device type META is not supported for torch.Generator() api.");
    }
    auto* o = reinterpret_cast<GeneratorObject*>(checked(type->tp_alloc(type, 0)));
    o->generator = new Generator;
    return reinterpret_cast<PyObject*>(o);
  });
}
void g_dealloc(PyObject* o) {
  auto* g = reinterpret_cast<GeneratorObject*>(o);
  if (g->weakrefs) PyObject_ClearWeakRefs(o);
  delete g->generator;
  PyTypeObject* type = Py_TYPE(o);
  type->tp_free(o);
  Py_DECREF(type);
}

uint64_t seed_value(PyObject* seed) {
  if (!PyLong_Check(seed))
    throw runtime_error("manual_seed expected a long, but got ", Py_TYPE(seed)->tp_name);
  int overflow;
  long long s = PyLong_AsLongLongAndOverflow(seed, &overflow);
  if (!overflow) return uint64_t(s);
  unsigned long long u = overflow > 0 ? PyLong_AsUnsignedLongLong(seed) : -1ull;
  if (overflow < 0 || PyErr_Occurred()) {
    PyErr_Clear();
    throw value_error("Overflow when unpacking long long");
  }
  return u;
}
PyObject* g_manual_seed(PyObject* o, PyObject* seed) {
  return guarded([&] {
    of(o).manual_seed(seed_value(seed));
    return Py_NewRef(o);
  });
}
PyObject* g_seed(PyObject* o, PyObject*) { return PyLong_FromUnsignedLongLong(of(o).seed()); }
PyObject* g_initial_seed(PyObject* o, PyObject*) { return PyLong_FromUnsignedLongLong(of(o).initial_seed()); }

PyObject* g_get_state(PyObject* o, PyObject*) {
  return guarded([&] {
    Tensor state = empty(Dims{int64_t(Generator::state_size)}, Dtype::u8);
    of(o).get_state(state.data<uint8_t>());
    return to_python(state);
  });
}
void restore(Generator& g, PyObject* state) {
  if (!is_tensor(state)) throw type_error("expected a torch.ByteTensor, but got ", Py_TYPE(state)->tp_name);
  Tensor t = as_tensor(state);
  if (t.dtype() != Dtype::u8 || !t->storage) throw type_error("RNG state must be a torch.ByteTensor");
  if (!t.contiguous()) {
    static const Op& contiguous = find_op("contiguous");
    t = contiguous(t);
  }
  g.set_state(t.data<uint8_t>(), t.numel());
}
PyObject* g_set_state(PyObject* o, PyObject* state) {
  return guarded([&] {
    restore(of(o), state);
    return Py_NewRef(o);
  });
}
PyObject* g_clone_state(PyObject* o, PyObject*) {
  return guarded([&] { return make(new Generator(of(o))); });
}
PyObject* g_get_offset(PyObject*, PyObject*) {
  PyErr_SetString(PyExc_RuntimeError, "CPU Generator does not use offset");
  return nullptr;
}
PyObject* g_set_offset(PyObject* o, PyObject*) { return g_get_offset(o, nullptr); }
PyObject* g_device(PyObject*, void*) { return to_python(Device{}); }

// Pickled as Generator(device), then the state (seed, offset or None, bytes).
PyObject* g_reduce(PyObject* o, PyObject*) {
  return guarded([&] {
    Py device(checked(to_python(Device{}))), seed(checked(g_initial_seed(o, nullptr))),
        state(checked(g_get_state(o, nullptr)));
    return checked(Py_BuildValue("O(O)(OOO)", Py_TYPE(o), device.get(), seed.get(), Py_None, state.get()));
  });
}
PyObject* g_setstate(PyObject* o, PyObject* state) {
  return guarded([&] {
    if (!PyTuple_Check(state) || PyTuple_GET_SIZE(state) != 3)
      throw type_error("Generator state must be a tuple of 3 values");
    Generator fresh;
    fresh.manual_seed(seed_value(PyTuple_GET_ITEM(state, 0)));
    restore(fresh, PyTuple_GET_ITEM(state, 2));
    of(o) = fresh;
    return Py_NewRef(Py_None);
  });
}

PyObject* g_repr(PyObject* o) { return PyUnicode_FromFormat("<torch._C.Generator object at %p>", o); }

PyMethodDef methods[] = {
    {"manual_seed", g_manual_seed, METH_O,
     "manual_seed(seed): starts the stream of that seed; returns the generator."},
    {"seed", g_seed, METH_NOARGS, "Seeds from the operating system; returns the seed."},
    {"initial_seed", g_initial_seed, METH_NOARGS, "The last seed that was set."},
    {"get_state", g_get_state, METH_NOARGS, "The state as a uint8 tensor."},
    {"set_state", g_set_state, METH_O, "set_state(state): continues from a state that get_state gave."},
    {"clone_state", g_clone_state, METH_NOARGS, "A generator that continues from the same state on its own."},
    {"get_offset", g_get_offset, METH_NOARGS, "Offset of a counter-based stream; the CPU has none."},
    {"set_offset", g_set_offset, METH_O, "Offset of a counter-based stream; the CPU has none."},
    {"__reduce__", g_reduce, METH_NOARGS, nullptr},
    {"__setstate__", g_setstate, METH_O, nullptr},
    {}};
PyGetSetDef getset[] = {{"device", g_device, nullptr, "The device whose numbers are drawn.", nullptr}, {}};
PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(GeneratorObject, weakrefs), READONLY, nullptr}, {}};
PyType_Slot slots[] = {
    {Py_tp_new, (void*)g_new},
    {Py_tp_repr, (void*)g_repr},
    {Py_tp_dealloc, (void*)g_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {Py_tp_doc, (void*)"Generator(device='cpu'): a stream of random numbers with its state."},
    {0, nullptr}};
PyType_Spec spec = {"rushlight._C.Generator", sizeof(GeneratorObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

}  // namespace

Generator& generator_of(const Value& v) {
  if (v.tag == Value::none) return of(default_object);
  if (v.tag != Value::object || !PyObject_TypeCheck(v.o, generator_type))
    throw type_error("argument 'generator' must be torch.Generator, not ",
                     v.tag == Value::object ? Py_TYPE(v.o)->tp_name : "a value");
  return of(v.o);
}

void add_random(PyObject* module) {
  generator_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  PyModule_AddObjectRef(module, "Generator", reinterpret_cast<PyObject*>(generator_type));
  default_object = make(new Generator);
  of(default_object).seed();
  PyModule_AddObjectRef(module, "default_generator", default_object);
  add_system(module);
  add_dlpack(module);
  add_archive(module);
  add_shared_memory(module);
}

}  // namespace rushlight
