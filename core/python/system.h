// The smaller parts of the module that random.cpp adds along with itself.
#pragma once
#include <Python.h>

namespace rushlight {

void add_system(PyObject* module);         // threads, memory figures, instruction set, result types
void add_dlpack(PyObject* module);         // exchange of tensors with other libraries
void add_archive(PyObject* module);        // checksums and write-out of checkpoints
void add_shared_memory(PyObject* module);  // storages that several processes see

}  // namespace rushlight
