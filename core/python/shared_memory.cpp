// Storages whose bytes several processes see: anonymous memory behind a file descriptor, which travels to the other
// process. It has no name anywhere, so nothing is left behind however a process ends.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string>

#include "device/allocator.h"
#include "python/python.h"
#include "python/system.h"
#include "python/tensor_type.h"
#include "tensor/aliases.h"

namespace rushlight {

namespace {

using FileId = std::pair<dev_t, ino_t>;

// What a storage in shared memory owns. Freed under the GIL, like every storage.
struct SharedBlock {
  void* address;
  size_t nbytes;
  int fd;  // -1: not kept, the block cannot be sent on
  FileId id;
  // the memory that the storage had before, where pointers to it may still be around
  char* old_data = nullptr;
  size_t old_nbytes = 0;
  void (*old_free)(void*) = nullptr;
  void* old_owner = nullptr;
};

// Blocks that are mapped here: a block that arrives twice is one storage, so that views of it stay views of one another.
std::map<FileId, Storage*>& open_blocks() {
  static auto* blocks = new std::map<FileId, Storage*>;
  return *blocks;
}

[[noreturn]] void system_failure(const char* what, size_t nbytes) {
  throw runtime_error("unable to ", what, " shared memory of ", nbytes, " bytes: ", std::strerror(errno),
                      " (", errno, ")");
}

void free_block(void* owner) {
  auto* block = static_cast<SharedBlock*>(owner);
  open_blocks().erase(block->id);
  if (block->nbytes) munmap(block->address, block->nbytes);
  if (block->fd >= 0) close(block->fd);
  if (block->old_free) block->old_free(block->old_owner);
  else if (block->old_data) release(block->old_data, block->old_nbytes);
  delete block;
}

int anonymous_file(size_t nbytes) {
#if defined(__linux__)
  int fd = memfd_create("rushlight", MFD_CLOEXEC);
#else
  static int count = 0;
  std::string name = "/rushlight." + std::to_string(getpid()) + "." + std::to_string(++count);
  int fd = shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (fd >= 0) shm_unlink(name.c_str());
#endif
  if (fd < 0) system_failure("open", nbytes);
  if (ftruncate(fd, off_t(nbytes)) < 0) {
    close(fd);
    system_failure("grow", nbytes);
  }
  return fd;
}

// Maps the first nbytes of a file; takes the descriptor over.
SharedBlock* map_block(int fd, size_t nbytes) {
  struct stat about{};
  void* address = nullptr;
  bool failed = fstat(fd, &about) < 0;
  if (!failed && size_t(about.st_size) < nbytes) failed = true, errno = EINVAL;
  if (!failed && nbytes) {
    address = mmap(nullptr, nbytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    failed = address == MAP_FAILED;
  }
  if (failed) {
    int reason = errno;
    close(fd);
    errno = reason;
    system_failure("map", nbytes);
  }
  return new SharedBlock{address, nbytes, fd, {about.st_dev, about.st_ino}};
}

// The block of a storage, null when its memory is not shared.
SharedBlock* block_of(Storage* s) {
  return s->free_fn == free_block ? static_cast<SharedBlock*>(s->owner) : nullptr;
}

StorageRef storage_on(SharedBlock* block) {
  StorageRef s(Storage::wrap(static_cast<char*>(block->address), block->nbytes, block, free_block));
  open_blocks()[block->id] = s.get();
  return s;
}

StorageRef checked_storage(PyObject* o) {
  StorageRef s = storage_of(o);
  if (!s) throw type_error("expected an UntypedStorage, got ", Py_TYPE(o)->tp_name);
  return s;
}

PyObject* shared_storage(PyObject*, PyObject* n) {
  return guarded([&] {
    int64_t nbytes = to_int(n);
    if (nbytes < 0) throw runtime_error("a storage cannot have ", nbytes, " bytes");
    return storage_to_python(storage_on(map_block(anonymous_file(size_t(nbytes)), size_t(nbytes))));
  });
}

PyObject* open_shared(PyObject*, PyObject* args) {
  return guarded([&] {
    int fd;
    Py_ssize_t nbytes;
    if (!PyArg_ParseTuple(args, "in", &fd, &nbytes)) throw PythonError();
    struct stat about;
    if (fstat(fd, &about) < 0) system_failure("open", size_t(nbytes));
    auto known = open_blocks().find({about.st_dev, about.st_ino});
    if (known != open_blocks().end() && known->second->nbytes == size_t(nbytes)) {
      close(fd);
      return storage_to_python(StorageRef::share(known->second));
    }
    return storage_to_python(storage_on(map_block(fd, size_t(nbytes))));
  });
}

// Moves the bytes of a storage; all tensors on it follow.
PyObject* share(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    StorageRef ref = checked_storage(o);
    Storage* s = ref->root();
    if (block_of(s)) Py_RETURN_NONE;
    if (s->device.type != Device::cpu) throw runtime_error("only storages on the CPU can be shared");
    SharedBlock* block = map_block(anonymous_file(s->nbytes), s->nbytes);
    if (s->nbytes) std::memcpy(block->address, s->data, s->nbytes);
    if (s->free_fn) block->old_free = s->free_fn, block->old_owner = s->owner;
    else if (s->inline_data) s->inline_data = false, s->inline_capacity_kept = s->capacity;
    else if (s->resizable) release(s->data, s->capacity);
    else block->old_data = s->data, block->old_nbytes = s->capacity;  // somebody outside points at it
    s->data = static_cast<char*>(block->address);
    for (Storage* alias : aliases_of(s)) alias->data = s->data;
    s->capacity = s->nbytes;
    s->resizable = false;
    s->free_fn = free_block;
    s->owner = block;
    open_blocks()[block->id] = s;
    Py_RETURN_NONE;
  });
}

PyObject* is_shared(PyObject*, PyObject* o) {
  return guarded([&] {
    StorageRef ref = checked_storage(o);
    Storage* s = ref->root();
    bool yes = block_of(s);
    for (auto& [id, open] : open_blocks())  // a part of a block: a batch of a worker process
      yes |= open->data <= s->data && s->data < open->data + open->nbytes;
    return PyBool_FromLong(yes);
  });
}

PyObject* shared_fd(PyObject*, PyObject* o) {
  return guarded([&] {
    SharedBlock* block = block_of(checked_storage(o)->root());
    return PyLong_FromLong(block ? block->fd : -1);
  });
}

PyObject* close_shared_fd(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    SharedBlock* block = block_of(checked_storage(o)->root());
    if (block && block->fd >= 0) close(std::exchange(block->fd, -1));
    Py_RETURN_NONE;
  });
}

PyMethodDef functions[] = {
    {"_shared_storage", shared_storage, METH_O, "_shared_storage(nbytes): a storage in new shared memory."},
    {"_open_shared", open_shared, METH_VARARGS,
     "_open_shared(fd, nbytes): the storage on shared memory that arrived as a file descriptor, which it "
     "takes over."},
    {"_share", share, METH_O, "_share(storage): move its bytes to shared memory; tensors on it follow."},
    {"_is_shared", is_shared, METH_O, "_is_shared(storage): whether other processes can see its bytes."},
    {"_shared_fd", shared_fd, METH_O,
     "_shared_fd(storage): the descriptor of its shared memory, -1 if none is kept."},
    {"_close_shared_fd", close_shared_fd, METH_O,
     "_close_shared_fd(storage): keep the memory but not the descriptor; it cannot be sent on after that."},
    {}};

}  // namespace

void add_shared_memory(PyObject* module) {
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight
