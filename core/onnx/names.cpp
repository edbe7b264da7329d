// UTF-8 as RFC 3629 has it: no longer forms than needed, no surrogates, nothing beyond U+10FFFF.
#include "core/onnx/names.h"

#include "core/onnx/constant.h"

namespace gentrain::onnx {
namespace {

/// Bytes of the character that a text begins with; 0 if it is none, or a control character.
std::size_t first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned>(static_cast<unsigned char>(text[i])) : 0U;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) {
    return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  }
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  unsigned code = lead & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0U) != 0x80U) {
      return 0;
    }
    code = code << 6U | (byte(i) & 0x3fU);
  }
  constexpr unsigned kLeast[] = {0, 0, 0xa0, 0x800, 0x10000};  // 0x80 to 0x9f: control characters
  const bool sound = lead >= 0xc2 && lead <= 0xf4 && code >= kLeast[size] && code <= 0x10ffff &&
                     (code < 0xd800 || code > 0xdfff);
  return sound ? size : 0;
}

void need_text(std::string_view what, std::string_view text) {
  if (!is_printable(text)) {
    refuse("the name or text of {} is no printable text in UTF-8", what);
  }
}

void need_texts(std::string_view what, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    need_text(what, text);
  }
}

void need_texts(const Tensor& tensor) {
  need_text("a tensor", tensor.name);
  for (const auto& [key, value] : tensor.external_data) {
    need_text("external data", key);
    need_text("external data", value);
  }
}

void need_texts(const Node& node) {
  need_text("a node", node.name);
  need_text("an operator", node.op_type);
  need_text("a domain", node.domain);
  need_texts("a value", node.inputs);
  need_texts("a value", node.outputs);
  for (const Attribute& attribute : node.attributes) {
    need_text("an attribute", attribute.name);
    need_text("an attribute", attribute.text);
    if (attribute.tensor) {
      need_texts(*attribute.tensor);
    }
  }
}

void need_texts(const std::vector<ValueInfo>& values) {
  for (const ValueInfo& value : values) {
    need_text("a value", value.name);
    for (const Dimension& dimension : value.dims.value_or(std::vector<Dimension>())) {
      need_text("an extent", dimension.symbol);
    }
  }
}

}  // namespace

bool is_printable(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = first_character(text);
    if (size == 0) {
      return false;
    }
    text.remove_prefix(size);
  }
  return true;
}

void need_printable(const Model& model) {
  need_text("the producer", model.producer_name);
  need_text("the producer", model.producer_version);
  for (const OpsetImport& opset : model.opsets) {
    need_text("a domain", opset.domain);
  }
  for (const Node& node : model.nodes) {
    need_texts(node);
  }
  for (const Tensor& tensor : model.initializers) {
    need_texts(tensor);
  }
  need_texts(model.inputs);
  need_texts(model.outputs);
}

}  // namespace gentrain::onnx
