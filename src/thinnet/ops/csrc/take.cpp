// A part of a matrix out of it, and back into zeros: `thinnet::take` and `thinnet::put` on the CPU.
//
// A matrix is (rows, columns, run): `run` numbers that stay together, such as the taps of a convolution's filter.

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

namespace thinnet {
namespace {

using torch::stable::Tensor;

constexpr int64_t kGrain = 16384;  // numbers a task

// Which of `count` places are taken, in the order of the result: all of them where no index is given.
struct Index {
  const int64_t* at;
  int64_t size;

  Index(const std::optional<Tensor>& index, int64_t count) : at(nullptr), size(count) {
    if (!index) return;
    STD_TORCH_CHECK(index->dim() == 1 && index->is_contiguous(), "thinnet::take: an index must be contiguous, of one axis");
    at = static_cast<const int64_t*>(index->const_data_ptr());
    size = index->numel();
    for (int64_t i = 0; i < size; ++i)
      STD_TORCH_CHECK(at[i] >= 0 && at[i] < count, "thinnet::take: an index must be below ", count, "; got ", at[i]);
  }
  int64_t operator[](int64_t i) const { return at ? at[i] : i; }
};

template <class Number>
void take_row(const Number* from, Number* to, const Index& columns, int64_t run) {
  if (!columns.at) {
    std::memcpy(to, from, columns.size * run * sizeof(Number));
  } else if (run == 1) {
    for (int64_t c = 0; c < columns.size; ++c) to[c] = from[columns.at[c]];
  } else {
    for (int64_t c = 0; c < columns.size; ++c) std::memcpy(to + c * run, from + columns.at[c] * run, run * sizeof(Number));
  }
}

template <class Number>
void put_row(const Number* from, Number* to, const Index& columns, int64_t run) {
  if (!columns.at) {
    std::memcpy(to, from, columns.size * run * sizeof(Number));
  } else if (run == 1) {
    for (int64_t c = 0; c < columns.size; ++c) to[columns.at[c]] = from[c];
  } else {
    for (int64_t c = 0; c < columns.size; ++c) std::memcpy(to + columns.at[c] * run, from + c * run, run * sizeof(Number));
  }
}

template <class Work>
void by_rows(int64_t rows, int64_t width, const Work& work) {
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width));
  torch::stable::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) work(r);
  });
}

template <class Number>
void take_as(const Tensor& x, const Tensor& y, const Index& rows, const Index& columns) {
  const int64_t run = x.size(2), all = x.size(1) * run, some = columns.size * run;
  const auto* from = static_cast<const Number*>(x.const_data_ptr());
  auto* to = static_cast<Number*>(y.mutable_data_ptr());
  by_rows(rows.size, some, [&](int64_t r) { take_row(from + rows[r] * all, to + r * some, columns, run); });
}

template <class Number>
void put_as(const Tensor& x, const Tensor& y, const Index& rows, const Index& columns) {
  const int64_t run = x.size(2), all = y.size(1) * run, some = columns.size * run;
  const auto* from = static_cast<const Number*>(x.const_data_ptr());
  auto* to = static_cast<Number*>(y.mutable_data_ptr());
  std::vector<int64_t> source(y.size(0), -1);
  for (int64_t r = 0; r < rows.size; ++r) source[rows[r]] = r;
  by_rows(y.size(0), all, [&](int64_t r) {
    if (columns.at || source[r] < 0) std::memset(to + r * all, 0, all * sizeof(Number));
    if (source[r] >= 0) put_row(from + source[r] * some, to + r * all, columns, run);
  });
}

template <class... Arguments>
void by_size(int64_t bytes, bool taking, const Arguments&... arguments) {
  switch (bytes) {
    case 2: return taking ? take_as<uint16_t>(arguments...) : put_as<uint16_t>(arguments...);
    case 4: return taking ? take_as<uint32_t>(arguments...) : put_as<uint32_t>(arguments...);
    case 8: return taking ? take_as<uint64_t>(arguments...) : put_as<uint64_t>(arguments...);
    default: STD_TORCH_CHECK(false, "thinnet::take: numbers must have 2, 4 or 8 bytes; got ", bytes);
  }
}

void check(const Tensor& x) {
  STD_TORCH_CHECK(x.dim() == 3 && x.is_contiguous(), "thinnet::take: x must be contiguous, (rows, columns, run)");
}

Tensor take(Tensor x, std::optional<Tensor> rows, std::optional<Tensor> columns) {
  check(x);
  const Index r(rows, x.size(0)), c(columns, x.size(1));
  Tensor y = torch::stable::new_empty(x, {r.size, c.size, x.size(2)});
  if (y.numel() > 0) by_size(x.element_size(), true, x, y, r, c);
  return y;
}

Tensor put(Tensor x, std::optional<Tensor> rows, std::optional<Tensor> columns, int64_t row_count, int64_t column_count) {
  check(x);
  const Index r(rows, row_count), c(columns, column_count);
  STD_TORCH_CHECK(r.size == x.size(0) && c.size == x.size(1), "thinnet::put: x must have a place for each of its numbers");
  Tensor y = torch::stable::new_empty(x, {row_count, column_count, x.size(2)});
  if (y.numel() > 0) by_size(x.element_size(), false, x, y, r, c);
  return y;
}

}  // namespace
}  // namespace thinnet

STABLE_TORCH_LIBRARY_IMPL(thinnet, CPU, m) {
  m.impl("take", TORCH_BOX(&thinnet::take));
  m.impl("put", TORCH_BOX(&thinnet::put));
}
