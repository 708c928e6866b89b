// What the files of the tensor type share: indexing, construction from data, storages.
#pragma once
#include <span>

#include "python/python.h"

namespace rushlight {

// index.cpp: x[key] and x[key] = value
PyObject* tensor_getitem(PyObject* self, PyObject* key);
int tensor_setitem(PyObject* self, PyObject* key, PyObject* value);

// number_slots.cpp: a + b, a < b, a += b, ...
std::span<const PyType_Slot> number_slots();

// data.cpp: nested sequences, numbers and arrays -> a new tensor (dtype none: inferred)
Tensor tensor_from_data(PyObject* data, Dtype dtype, Device device);
// rl.Tensor(2, 3), rl.Tensor([1, 2]), rl.IntTensor(...)
Tensor legacy_tensor(Dtype dtype, PyObject* args, PyObject* kwargs, const char* name);

// storage.cpp: the Storage inside an UntypedStorage object, null for anything else; a tensor over an array's memory
StorageRef storage_of(PyObject* o);
PyObject* storage_to_python(StorageRef s);
Tensor from_array(PyObject* array, bool share);
bool is_array(PyObject* o);

}  // namespace rushlight
