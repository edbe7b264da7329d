// oneDNN primitives: creation, cache, execution.
#include "kernels/cpu/onednn.h"

#include <functional>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "kernels/cpu/openmp.h"
#include "kernels/error.h"

namespace gentrain::cpu {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;
using Desc = memory::desc;

constexpr auto kF32 = memory::data_type::f32;

std::string_view name_of(Operation operation) {
  switch (operation) {
    case Operation::kConvForward:
      return "convolution forward";
    case Operation::kConvBackwardData:
      return "convolution backward data";
    case Operation::kConvBackwardWeights:
      return "convolution backward weights";
    case Operation::kProduct:
      break;
  }
  return "matrix product";
}

/// The CPU, for all primitives of the process.
const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

/// A stream of the calling thread, which oneDNN then keeps to one thread.
dnnl::stream& thread_stream() {
  thread_local dnnl::stream stream = [] {
    omp_set_num_threads(1);
    return dnnl::stream(cpu_engine());
  }();
  return stream;
}

dnnl::primitive_attr own_scratch() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

/// The weights of a convolution: with groups those have an axis of their own.
Desc weights_of(const ConvGeometry& g, bool as_tensor) {
  if (g.groups == 1) {
    return {{g.oc, g.c, g.kh, g.kw}, kF32, as_tensor ? Tag::ohwi : Tag::any};
  }
  return {{g.groups, g.oc / g.groups, g.c / g.groups, g.kh, g.kw},
          kF32,
          as_tensor ? Tag::gohwi : Tag::any};
}

/// The layouts of a convolution's tensors: images NHWC, weights as oneDNN likes them. Its dilation
/// counts the pixels in between.
struct ConvLayouts {
  Desc x, w, bias, y;
  memory::dims stride, dilation, before, after;

  ConvLayouts(const ConvGeometry& g, bool with_bias)
      : x({g.n, g.c, g.h, g.w}, kF32, Tag::nhwc),
        w(weights_of(g, false)),
        bias(with_bias ? Desc({g.oc}, kF32, Tag::x) : Desc()),
        y({g.n, g.oc, g.oh(), g.ow()}, kF32, Tag::nhwc),
        stride({g.stride_h, g.stride_w}),
        dilation({g.dilation_h - 1, g.dilation_w - 1}),
        before({g.top, g.left}),
        after({g.bottom, g.right}) {}
};

/// What all primitives have in common.
template <class PrimitiveDesc>
std::unique_ptr<Program> start(Operation operation, const PrimitiveDesc& desc) {
  auto program = std::make_unique<Program>();
  program->operation = operation;
  program->scratch = desc.scratchpad_desc();
  program->implementation = desc.impl_info_str();
  return program;
}

/// Adds the way between the tensor's layout of the weights and the primitive's.
void add_reorder(Program& program, bool from_primitive) {
  if (program.plain_w == program.w) {
    return;
  }
  const Desc& from = from_primitive ? program.w : program.plain_w;
  const Desc& to = from_primitive ? program.plain_w : program.w;
  const dnnl::reorder::primitive_desc desc(cpu_engine(), from, cpu_engine(), to, own_scratch());
  program.reorder_scratch = desc.scratchpad_desc();
  program.reorder = dnnl::reorder(desc);
}

std::unique_ptr<Program> make_conv(Operation operation, const ConvGeometry& g, bool with_bias) {
  constexpr auto kDirect = dnnl::algorithm::convolution_direct;
  const ConvLayouts l(g, with_bias);
  const dnnl::primitive_attr attributes = own_scratch();
  const dnnl::convolution_forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, kDirect, l.x, l.w, l.bias, l.y, l.stride, l.dilation,
       l.before, l.after},
      attributes, cpu_engine());
  std::unique_ptr<Program> program;
  if (operation == Operation::kConvForward) {
    program = start(operation, forward);
    program->primitive = dnnl::convolution_forward(forward);
    program->w = forward.weights_desc();
  } else if (operation == Operation::kConvBackwardData) {
    const dnnl::convolution_backward_data::primitive_desc desc(
        {kDirect, l.x, l.w, l.y, l.stride, l.dilation, l.before, l.after}, attributes, cpu_engine(),
        forward);
    program = start(operation, desc);
    program->primitive = dnnl::convolution_backward_data(desc);
    program->w = desc.weights_desc();
  } else {
    const dnnl::convolution_backward_weights::primitive_desc desc(
        {kDirect, l.x, l.w, l.bias, l.y, l.stride, l.dilation, l.before, l.after}, attributes,
        cpu_engine(), forward);
    program = start(operation, desc);
    program->primitive = dnnl::convolution_backward_weights(desc);
    program->w = desc.diff_weights_desc();
  }
  program->x = l.x;
  program->y = l.y;
  program->bias = l.bias;
  program->plain_w = weights_of(g, true);
  add_reorder(*program, operation == Operation::kConvBackwardWeights);
  return program;
}

std::unique_ptr<Program> make_product(const ProductGeometry& g) {
  const Desc x({g.n, g.k}, kF32, g.x_transposed ? Tag::ba : Tag::ab);
  const Desc w({g.k, g.m}, kF32, g.w_transposed ? Tag::ba : Tag::ab);
  const Desc y({g.n, g.m}, kF32, Tag::ab);
  const dnnl::matmul::primitive_desc desc({x, w, y}, own_scratch(), cpu_engine());
  std::unique_ptr<Program> program = start(Operation::kProduct, desc);
  program->primitive = dnnl::matmul(desc);
  program->x = x;
  program->y = y;
  program->w = w;
  program->plain_w = w;
  return program;
}

/// A number for a layout of weights: a hash over what distinguishes two of blocks, as they all are.
Layout number_of(const Desc& desc) {
  const dnnl_memory_desc_t& d = desc.data;
  const dnnl_blocking_desc_t& blocking = d.format_desc.blocking;
  Layout hash = 0xCBF29CE484222325U;  // FNV-1a over words
  const auto add = [&hash](std::int64_t word) {
    hash = (hash ^ static_cast<Layout>(word)) * 0x100000001B3U;
    hash ^= hash >> 32;
  };
  for (const int word : {d.ndims, static_cast<int>(d.data_type), static_cast<int>(d.format_kind),
                         blocking.inner_nblks}) {
    add(word);
  }
  add(d.offset0);
  for (int i = 0; i < d.ndims; ++i) {
    add(d.dims[i]);
    add(d.padded_dims[i]);
    add(blocking.strides[i]);
  }
  for (int i = 0; i < blocking.inner_nblks; ++i) {
    add(blocking.inner_blks[i]);
    add(blocking.inner_idxs[i]);
  }
  return hash | kOneDnnLayout;
}

/// oneDNN's argument numbers of an operation.
struct ArgumentNumbers {
  int x, w, bias, y;
};

ArgumentNumbers numbers_of(Operation operation) {
  switch (operation) {
    case Operation::kConvBackwardData:
      return {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DIFF_DST};
    case Operation::kConvBackwardWeights:
      return {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_DST};
    case Operation::kConvForward:
    case Operation::kProduct:
      break;
  }
  return {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST};
}

/// oneDNN takes writable addresses for sources too.
void* writable(const void* address) {
  return const_cast<void*>(address);
}

}  // namespace

template <class Make>
const Program& OneDnn::find(const Key& key, Make make) {
  {
    const std::shared_lock lock(mutex_);
    if (const auto found = programs_.find(key); found != programs_.end()) {
      return *found->second;
    }
  }
  const std::unique_lock lock(mutex_);
  if (const auto found = programs_.find(key); found != programs_.end()) {
    return *found->second;
  }
  thread_stream();
  std::unique_ptr<Program> program = make();
  program->layout = layout_of(program->w);
  return *programs_.emplace(key, std::move(program)).first->second;
}

Layout OneDnn::layout_of(const Desc& w) {
  const Layout number = number_of(w);
  if (const auto [known, added] = layouts_.emplace(number, w); !added && known->second != w) {
    throw DeviceError(fmt::format("two of oneDNN's layouts have the number {:x}", number));
  }
  return number;
}

const Program& OneDnn::conv(Operation operation, const ConvGeometry& g, bool with_bias) {
  const Key key = {static_cast<std::int64_t>(operation),
                   g.n,
                   g.h,
                   g.w,
                   g.c,
                   g.oc,
                   g.kh,
                   g.kw,
                   g.stride_h,
                   g.stride_w,
                   g.top,
                   g.bottom,
                   g.left,
                   g.right,
                   g.groups,
                   g.dilation_h,
                   g.dilation_w,
                   with_bias ? 1 : 0};
  try {
    return find(key, [&] { return make_conv(operation, g, with_bias); });
  } catch (const dnnl::error& error) {
    throw DeviceError(fmt::format("oneDNN makes no {} for images {} and weights {}: {}",
                                  name_of(operation), g.x_shape().str(), g.w_shape().str(),
                                  error.what()));
  }
}

const Program& OneDnn::product(const ProductGeometry& g) {
  const Key key = {static_cast<std::int64_t>(Operation::kProduct),
                   g.n,
                   g.k,
                   g.m,
                   g.x_transposed ? 1 : 0,
                   g.w_transposed ? 1 : 0};
  try {
    return find(key, [&] { return make_product(g); });
  } catch (const dnnl::error& error) {
    throw DeviceError(fmt::format("oneDNN makes no matrix product [{}, {}] x [{}, {}]: {}", g.n,
                                  g.k, g.k, g.m, error.what()));
  }
}

void OneDnn::run_reorder(const Program& program, const void* from, void* to, void* scratch) {
  const bool from_primitive = program.operation == Operation::kConvBackwardWeights;
  program.reorder.execute(
      thread_stream(),
      {{DNNL_ARG_FROM,
        memory(from_primitive ? program.w : program.plain_w, cpu_engine(), writable(from))},
       {DNNL_ARG_TO, memory(from_primitive ? program.plain_w : program.w, cpu_engine(), to)},
       {DNNL_ARG_SCRATCHPAD, memory(program.reorder_scratch, cpu_engine(), scratch)}});
}

void OneDnn::execute(const Program& program, CpuQueue& queue, const Operands& operands) {
  const bool reorders = static_cast<bool>(program.reorder);
  const bool makes_weights = program.operation == Operation::kConvBackwardWeights;
  const bool kept = reorders && !makes_weights && operands.version != 0;
  ScratchPlan plan;
  const std::size_t work = plan.add(program.scratch.get_size());
  const std::size_t reorder_work = plan.add(program.reorder_scratch.get_size());
  const std::size_t weights = plan.add(reorders && !kept ? program.w.get_size() : 0);
  auto* scratch = static_cast<std::byte*>(queue.scratch(plan.bytes()));

  std::shared_ptr<const Buffer> shared;
  void* w = reorders ? scratch + weights : writable(operands.w);
  try {
    if (kept) {
      const Weights values{{operands.w, DType::kF32, {}}, operands.version};
      const auto fill = [&](void* to) {
        run_reorder(program, operands.w, to, scratch + reorder_work);
      };
      shared = weights_->get(values, program.layout, program.w.get_size(), std::ref(fill));
      w = shared->data();
    } else if (reorders && !makes_weights) {
      run_reorder(program, operands.w, w, scratch + reorder_work);
    }
    const ArgumentNumbers numbers = numbers_of(program.operation);
    std::unordered_map<int, memory> arguments = {
        {numbers.x, memory(program.x, cpu_engine(), writable(operands.x))},
        {numbers.w, memory(program.w, cpu_engine(), w)},
        {numbers.y, memory(program.y, cpu_engine(), writable(operands.y))},
        {DNNL_ARG_SCRATCHPAD, memory(program.scratch, cpu_engine(), scratch + work)}};
    if (operands.bias != nullptr) {
      arguments.emplace(numbers.bias, memory(program.bias, cpu_engine(), writable(operands.bias)));
    }
    program.primitive.execute(thread_stream(), arguments);
    if (reorders && makes_weights) {
      run_reorder(program, w, writable(operands.w), scratch + reorder_work);
    }
  } catch (const dnnl::error& error) {
    throw DeviceError(fmt::format("oneDNN's {} ({}) failed: {}", name_of(program.operation),
                                  program.implementation, error.what()));
  }
}

std::vector<std::string> OneDnn::implementations() const {
  const std::shared_lock lock(mutex_);
  std::vector<std::string> result;
  for (const auto& [key, program] : programs_) {
    result.push_back(fmt::format("{}: {}", name_of(program->operation), program->implementation));
  }
  return result;
}

}  // namespace gentrain::cpu
