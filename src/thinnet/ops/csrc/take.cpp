// Parts of a matrix out of it, and back into zeros: `thinnet::take` and `thinnet::put` on the CPU.
//
// A matrix is (rows, columns, run): `run` numbers that stay together, such as the taps of a convolution's filter.
// Its parts are (groups, some rows, some columns, run): each group has rows and columns of its own.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Half.h>

namespace thinnet {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kGrain = 16384;  // numbers a task

// Which of `count` places each group has, in the order of the part: all of them where no index is given.
struct Index {
  const int64_t* at = nullptr;
  int64_t groups = 1, size;

  Index(const std::optional<Tensor>& index, int64_t count) : size(count) {
    if (!index) return;
    STD_TORCH_CHECK(index->dim() == 2 && index->is_contiguous(), "thinnet::take: an index must be contiguous, (groups, places)");
    at = static_cast<const int64_t*>(index->const_data_ptr());
    groups = index->size(0), size = index->size(1);
    for (int64_t i = 0; i < groups * size; ++i)
      STD_TORCH_CHECK(at[i] >= 0 && at[i] < count, "thinnet::take: an index must be below ", count, "; got ", at[i]);
  }
  const int64_t* of(int64_t group) const { return at ? at + group * size : nullptr; }
};

int64_t groups_of(const Index& rows, const Index& columns) {
  STD_TORCH_CHECK(!rows.at || !columns.at || rows.groups == columns.groups, "thinnet::take: indices must have as many groups");
  return rows.at ? rows.groups : columns.groups;
}

template <class Number>
void take_row(const Number* from, Number* to, const int64_t* columns, int64_t count, int64_t run) {
  if (!columns) {
    std::memcpy(to, from, count * run * sizeof(Number));
  } else if (run == 1) {
    for (int64_t c = 0; c < count; ++c) to[c] = from[columns[c]];
  } else {
    for (int64_t c = 0; c < count; ++c) std::memcpy(to + c * run, from + columns[c] * run, run * sizeof(Number));
  }
}

template <class Number>
void put_row(const Number* from, Number* to, const int64_t* columns, int64_t count, int64_t run) {
  if (!columns) {
    std::memcpy(to, from, count * run * sizeof(Number));
  } else if (run == 1) {
    for (int64_t c = 0; c < count; ++c) to[columns[c]] = from[c];
  } else {
    for (int64_t c = 0; c < count; ++c) std::memcpy(to + columns[c] * run, from + c * run, run * sizeof(Number));
  }
}

template <class Number>
void add(const Number* from, Number* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<Number>(to[i] + from[i]);
}

template <class Number>
void add_row(const Number* from, Number* to, const int64_t* columns, int64_t count, int64_t run) {
  if (!columns) return add(from, to, count * run);
  if (run == 1) {
    for (int64_t c = 0; c < count; ++c) to[columns[c]] = static_cast<Number>(to[columns[c]] + from[c]);
  } else {
    for (int64_t c = 0; c < count; ++c) add(from + c * run, to + columns[c] * run, run);
  }
}

template <class Work>
void by_rows(int64_t rows, int64_t width, const Work& work) {
  const int64_t least = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width));
  torch::stable::parallel_for(0, rows, least, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) work(r);
  });
}

template <class Number>
void take_as(const Tensor& x, const Tensor& y, const Index& rows, const Index& columns) {
  const int64_t run = x.size(2), all = x.size(1) * run, some = columns.size * run;
  const auto* from = static_cast<const Number*>(x.const_data_ptr());
  auto* to = static_cast<Number*>(y.mutable_data_ptr());
  by_rows(y.size(0) * rows.size, some, [&](int64_t r) {
    const int64_t group = r / rows.size, row = rows.at ? rows.at[r] : r % rows.size;
    take_row(from + row * all, to + r * some, columns.of(group), columns.size, run);
  });
}

template <class Number>
void put_as(const Tensor& x, const Tensor& y, const Index& rows, const Index& columns) {
  const int64_t run = x.size(3), all = y.size(1) * run, some = columns.size * run, groups = x.size(0), count = y.size(0);
  const auto* from = static_cast<const Number*>(x.const_data_ptr());
  auto* to = static_cast<Number*>(y.mutable_data_ptr());
  std::vector<int64_t> source(groups * count, -1);  // the row of the part that goes to a row of the whole
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t r = 0; r < rows.size; ++r)
      source[group * count + (rows.at ? rows.of(group)[r] : r)] = group * rows.size + r;
  by_rows(count, all, [&](int64_t r) {
    bool empty = true;
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t s = source[group * count + r];
      if (s < 0) continue;
      if (empty && columns.at) std::memset(to + r * all, 0, all * sizeof(Number));
      (empty ? put_row<Number> : add_row<Number>)(from + s * some, to + r * all, columns.of(group), columns.size, run);
      empty = false;
    }
    if (empty) std::memset(to + r * all, 0, all * sizeof(Number));
  });
}

void check_dtype(const Tensor& x, bool known) {
  STD_TORCH_CHECK(known, "thinnet::take: x must be float32, float64, bfloat16 or float16; got ", static_cast<int>(x.scalar_type()));
}

Tensor take(Tensor x, std::optional<Tensor> rows, std::optional<Tensor> columns) {
  STD_TORCH_CHECK(x.dim() == 3 && x.is_contiguous(), "thinnet::take: x must be contiguous, (rows, columns, run)");
  const Index r(rows, x.size(0)), c(columns, x.size(1));
  Tensor y = torch::stable::new_empty(x, {groups_of(r, c), r.size, c.size, x.size(2)});
  if (y.numel() == 0) return y;
  switch (x.element_size()) {
    case 2: take_as<uint16_t>(x, y, r, c); break;
    case 4: take_as<uint32_t>(x, y, r, c); break;
    case 8: take_as<uint64_t>(x, y, r, c); break;
    default: check_dtype(x, false);
  }
  return y;
}

Tensor put(Tensor x, std::optional<Tensor> rows, std::optional<Tensor> columns, int64_t row_count, int64_t column_count) {
  STD_TORCH_CHECK(x.dim() == 4 && x.is_contiguous(), "thinnet::put: x must be contiguous, (groups, rows, columns, run)");
  const Index r(rows, row_count), c(columns, column_count);
  STD_TORCH_CHECK(groups_of(r, c) == x.size(0) && r.size == x.size(1) && c.size == x.size(2),
                  "thinnet::put: indices must have a place for each number of x");
  Tensor y = torch::stable::new_empty(x, {row_count, column_count, x.size(3)});
  if (y.numel() == 0) return y;
  switch (x.scalar_type()) {
    case ScalarType::Float: put_as<float>(x, y, r, c); break;
    case ScalarType::Double: put_as<double>(x, y, r, c); break;
    case ScalarType::BFloat16: put_as<torch::headeronly::BFloat16>(x, y, r, c); break;
    case ScalarType::Half: put_as<torch::headeronly::Half>(x, y, r, c); break;
    default: check_dtype(x, false);
  }
  return y;
}

}  // namespace
}  // namespace thinnet

STABLE_TORCH_LIBRARY_IMPL(thinnet, CPU, m) {
  m.impl("take", TORCH_BOX(&thinnet::take));
  m.impl("put", TORCH_BOX(&thinnet::put));
}
