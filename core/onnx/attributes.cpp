// Attributes by name and type.
#include "core/onnx/attributes.h"

#include <algorithm>

#include "core/onnx/constant.h"

namespace gentrain::onnx {
namespace {

std::string_view name_of(AttributeKind kind) {
  switch (kind) {
    case AttributeKind::kFloat:
      return "a number";
    case AttributeKind::kInt:
      return "an integer";
    case AttributeKind::kString:
      return "a text";
    case AttributeKind::kTensor:
      return "a tensor";
    case AttributeKind::kFloats:
      return "a list of numbers";
    case AttributeKind::kInts:
      return "a list of integers";
    case AttributeKind::kStrings:
      return "a list of texts";
    case AttributeKind::kUndefined:
      return "nothing";
    case AttributeKind::kOther:
      break;
  }
  return "something else";
}

}  // namespace

Attributes::Attributes(const Node& node) : node_(&node) {
  std::set<std::string_view> names;
  for (const Attribute& attribute : node.attributes) {
    if (!names.insert(attribute.name).second) {
      refuse("its attribute {} is there twice", attribute.name);
    }
    if (attribute.kind == AttributeKind::kUndefined) {
      refuse("its attribute {} has no type", attribute.name);
    }
  }
}

const Attribute* Attributes::find(std::string_view name) const {
  const auto found =
      std::find_if(node_->attributes.begin(), node_->attributes.end(),
                   [&](const Attribute& attribute) { return attribute.name == name; });
  return found == node_->attributes.end() ? nullptr : &*found;
}

const Attribute* Attributes::read(std::string_view name, AttributeKind kind) {
  const Attribute* const attribute = find(name);
  if (attribute == nullptr) {
    return nullptr;
  }
  if (attribute->kind != kind) {
    refuse("its attribute {} is {}, {} is needed", name, name_of(attribute->kind), name_of(kind));
  }
  read_.emplace(name);
  return attribute;
}

std::int64_t Attributes::integer(std::string_view name, std::int64_t otherwise) {
  const Attribute* const attribute = read(name, AttributeKind::kInt);
  return attribute == nullptr ? otherwise : attribute->integer;
}

bool Attributes::flag(std::string_view name, bool otherwise) {
  const std::int64_t value = integer(name, otherwise ? 1 : 0);
  if (value != 0 && value != 1) {
    refuse("its attribute {} is {}, 0 or 1 is needed", name, value);
  }
  return value == 1;
}

double Attributes::real(std::string_view name, double otherwise) {
  const Attribute* const attribute = read(name, AttributeKind::kFloat);
  return attribute == nullptr ? otherwise : static_cast<double>(attribute->real);
}

std::string Attributes::text(std::string_view name, std::string_view otherwise) {
  const Attribute* const attribute = read(name, AttributeKind::kString);
  return std::string(attribute == nullptr ? otherwise : attribute->text);
}

std::optional<std::vector<std::int64_t>> Attributes::integers(std::string_view name) {
  const Attribute* const attribute = read(name, AttributeKind::kInts);
  return attribute == nullptr ? std::nullopt : std::optional(attribute->integers);
}

std::optional<std::vector<float>> Attributes::reals(std::string_view name) {
  const Attribute* const attribute = read(name, AttributeKind::kFloats);
  return attribute == nullptr ? std::nullopt : std::optional(attribute->reals);
}

const Tensor* Attributes::tensor(std::string_view name) {
  const Attribute* const attribute = read(name, AttributeKind::kTensor);
  return attribute == nullptr ? nullptr : &attribute->tensor.value();
}

void Attributes::need_all_read() const {
  for (const Attribute& attribute : node_->attributes) {
    if (!read_.contains(attribute.name)) {
      refuse("its attribute {} is not known", attribute.name);
    }
  }
}

}  // namespace gentrain::onnx
