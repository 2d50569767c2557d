// From the arguments of an operation to plain numbers.
#pragma once

#include <cstdint>
#include <optional>

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include "address.h"

namespace thinnet {

using Optional = std::optional<torch::stable::Tensor>;

inline Dtype dtype_of(const torch::stable::Tensor& x) {
  switch (x.scalar_type()) {
    case torch::headeronly::ScalarType::Float: return Dtype::f32;
    case torch::headeronly::ScalarType::Double: return Dtype::f64;
    case torch::headeronly::ScalarType::BFloat16: return Dtype::bf16;
    case torch::headeronly::ScalarType::Half: return Dtype::f16;
    default: STD_TORCH_CHECK(false, "thinnet: x must be float32, float64, bfloat16 or float16");
  }
}

inline int64_t scalar(const Optional& tensor) { return tensor ? *static_cast<const int64_t*>(tensor->const_data_ptr()) : 0; }

inline Address address_of(const torch::stable::Tensor& seed, const Optional& step, const Optional& site, const Optional& samples) {
  Address address{static_cast<uint64_t>(scalar(seed)), static_cast<uint32_t>(scalar(step)), static_cast<uint32_t>(scalar(site)),
                  samples.has_value(), nullptr, 0, 0};
  if (samples && samples->numel() == 1) {
    address.first_sample = scalar(samples);
  } else if (samples) {
    address.samples = static_cast<const int64_t*>(samples->const_data_ptr());
    address.sample_stride = samples->stride(0);
  }
  return address;
}

}  // namespace thinnet
