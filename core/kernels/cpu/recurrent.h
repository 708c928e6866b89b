// One recurrent layer in one direction over packed sequences, all steps in one call. T is float or double.
#pragma once

#include <cstdint>

#include "tensor/dims.h"

namespace rushlight::cpu {

enum class Cell { lstm, gru, tanh, relu };

// Rows are time steps one after another: step t has batch_sizes[t] rows (not increasing), row r belongs to sequence r.
struct Recurrent {
  Cell cell;
  int64_t hidden, state;  // size of the cell, and of h: smaller where w_hr projects it
  IntSpan batch_sizes;
  bool reverse;

  int64_t gates() const { return hidden * (cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1); }
  // Numbers per row that backward reads again: the gates' values (GRU: r, z, n and the hidden part of n).
  int64_t kept() const { return cell == Cell::lstm || cell == Cell::gru ? 4 * hidden : 0; }
};

// x: (rows, gates), the input's part of the gates. h (sequences, state) and c (sequences, hidden; LSTM only): the initial
// states, which become the final ones. out: (rows, state). cells: (rows, hidden), every c, LSTM only.
// b_hh and w_hr may be null.
template <class T>
void recurrent(const Recurrent& r, const T* x, const T* w_hh, const T* b_hh, const T* w_hr, T* h, T* c,
               T* out, T* kept, T* cells);

template <class T> struct RecurrentGradients {
  T *h, *c;        // on entry those of the final states, on return those of the initial states
  T* x;            // (rows, gates)
  T* hidden_part;  // the same behind w_hh; differs from x for a GRU only, null otherwise
  T* before;       // (rows, state): h before each step, the other factor of w_hh's gradient
  T *output,
      *plain;  // projections only: the whole gradient of each h (rows, state), and h unprojected (rows, hidden)
};
template <class T>
void recurrent_backward(const Recurrent& r, const T* grad_out, const T* w_hh, const T* w_hr, const T* h0,
                        const T* c0, const T* out, const T* kept, const T* cells,
                        const RecurrentGradients<T>& g);

}  // namespace rushlight::cpu
