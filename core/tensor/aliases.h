// The aliases of a storage (Note [Data aliases]): needed when its bytes move to another place.
#pragma once
#include <vector>

#include "tensor/storage.h"

namespace rushlight {

std::vector<Storage*> aliases_of(Storage* root);

}  // namespace rushlight
