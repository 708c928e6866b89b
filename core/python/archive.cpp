// What checkpoints need beneath Python: the checksum of zip archives at memory speed, with which every save and load is
// checked, and a way to send a file to the disk while it is still being written.
#if defined(__linux__)
#include <fcntl.h>
#endif

#include <array>
#include <cstring>

#include "python/python.h"
#include "python/system.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rushlight {

namespace {

constexpr uint32_t polynomial = 0xEDB88320;  // bits in reversed order, as zip has it

// table[k][b]: what byte b contributes when k more bytes follow it
constexpr auto tables = [] {
  std::array<std::array<uint32_t, 256>, 8> table{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? polynomial : 0);
    table[0][b] = crc;
  }
  for (int k = 1; k < 8; ++k)
    for (int b = 0; b < 256; ++b) table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 255];
  return table;
}();

// `crc` is the register itself, without the complements at both ends.
uint32_t by_tables(uint32_t crc, const unsigned char* p, size_t n) {
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    word ^= crc;
    crc = 0;
    for (int i = 0; i < 8; ++i) crc ^= tables[7 - i][(word >> (8 * i)) & 255];
  }
  for (; n; ++p, --n) crc = (crc >> 8) ^ tables[0][(crc ^ *p) & 255];
  return crc;
}

#if defined(__x86_64__)
// Carry-less products fold 64 bytes at a time onto the 64 that follow, then the last 64 onto 16. ("Fast CRC
// computation for generic polynomials using PCLMULQDQ", Gopal et al., Intel 2009; the constants are its x^n mod P.)
__attribute__((target("pclmul,sse4.1"))) inline __m128i fold(__m128i x, __m128i onto, __m128i by) {
  __m128i low = _mm_clmulepi64_si128(x, by, 0x00), high = _mm_clmulepi64_si128(x, by, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}
__attribute__((target("pclmul,sse4.1"))) uint32_t by_folding(uint32_t crc, const unsigned char* p, size_t n) {
  const __m128i by_64 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
  const __m128i by_16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  auto block = [](const unsigned char* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); };
  __m128i x[4];
  for (int i = 0; i < 4; ++i) x[i] = block(p + 16 * i);
  x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128(int(crc)));
  for (p += 64, n -= 64; n >= 64; p += 64, n -= 64)
    for (int i = 0; i < 4; ++i) x[i] = fold(x[i], block(p + 16 * i), by_64);
  for (int i = 1; i < 4; ++i) x[i] = fold(x[i - 1], x[i], by_16);
  for (; n >= 16; p += 16, n -= 16) x[3] = fold(x[3], block(p), by_16);
  unsigned char rest[16];  // 16 bytes with the same remainder as all that was read
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rest), x[3]);
  return by_tables(by_tables(0, rest, 16), p, n);
}
#endif

uint32_t crc32(uint32_t crc, const unsigned char* p, size_t n) {
  crc = ~crc;
#if defined(__x86_64__)
  static const bool fast = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
  if (fast && n >= 64) return ~by_folding(crc, p, n);
#endif
  return ~by_tables(crc, p, n);
}

PyObject* s_crc32(PyObject*, PyObject* args) {
  Py_buffer view;
  unsigned int crc = 0;
  if (!PyArg_ParseTuple(args, "y*|I", &view, &crc)) return nullptr;
  constexpr Py_ssize_t worth_releasing = 1 << 16;
  PyThreadState* state = view.len > worth_releasing ? PyEval_SaveThread() : nullptr;
  crc = crc32(crc, static_cast<const unsigned char*>(view.buf), size_t(view.len));
  if (state) PyEval_RestoreThread(state);
  PyBuffer_Release(&view);
  return PyLong_FromUnsignedLong(crc);
}

// A hint: where the system has no such call, or refuses it (a pipe, some file systems), nothing is lost.
PyObject* s_start_writing(PyObject*, PyObject* args) {
  int file;
  long long begin, count;
  if (!PyArg_ParseTuple(args, "iLL", &file, &begin, &count)) return nullptr;
#if defined(__linux__)
  Py_BEGIN_ALLOW_THREADS;
  (void)sync_file_range(file, begin, count, SYNC_FILE_RANGE_WRITE);
  Py_END_ALLOW_THREADS;
#endif
  Py_RETURN_NONE;
}

PyMethodDef functions[] = {
    {"_crc32", s_crc32, METH_VARARGS,
     "_crc32(data, crc=0): the checksum that zip files use, of data after a part with crc."},
    {"_start_writing", s_start_writing, METH_VARARGS,
     "_start_writing(file, begin, count): send these bytes of an open file to the disk, without waiting for "
     "it."},
    {}};

}  // namespace

void add_archive(PyObject* module) {
  if (PyModule_AddFunctions(module, functions) < 0) throw PythonError();
}

}  // namespace rushlight
