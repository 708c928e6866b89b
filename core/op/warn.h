// Warnings in PyTorch's words. Call with the GIL held, before anything is changed: a program may turn warnings into errors.
#pragma once
#include <string>

#include "tensor/dtype.h"

namespace rushlight {

void warn(const std::string& text, int stack_level = 1);  // UserWarning
void warn_once(const std::string& text,
               int stack_level = 1);  // each text once per program; see set_warn_always
void set_warn_always(bool on);
void warn_if_imaginary_is_lost(Dtype from, Dtype to);  // a conversion or copy

}  // namespace rushlight
