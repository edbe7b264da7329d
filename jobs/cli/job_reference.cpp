// docs/job-reference.md, made from the descriptions of the keys.
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "jobs/cli/job.h"
#include "jobs/cli/job_lister.h"

namespace gentrain::jobs {
namespace {

constexpr std::string_view kHeader = R"(# Job reference

Every key of a job file. This file is what `gentrain list keys` prints; a test holds it against the
program, so after a change of the schema write it again:
`gentrain list keys > docs/job-reference.md`.

A job is a YAML file. `a.b` below is key `b` in the map `a`:

```yaml
batch:
  global: 2048
  shards: 16
```

- Unknown and duplicate keys, wrong types and values out of range are errors, all of them reported at
  once with `file:line:column`.
- `--set a.b=value` on the command line replaces or adds a key; the value is YAML, lists included:
  `--set optimizer.lr=0.1`, `--set 'trainable=["conv1/*"]'`.
- `${NAME}` in a value is the environment variable NAME, `${NAME:-default}` has a default for one that
  is not set or empty, `$${` is a plain `${`.
- Numbers are decimal (`60000`, `1e-3`), booleans are `true` and `false`, indentation is spaces.
- Relative paths are relative to the working directory.
- A key whose default is *required* must be given where its map is.

)";

constexpr std::string_view kStages = R"(
## Stages

A job has one stage, named `train`, that the keys `stop`, `optimizer`, `schedule`, `clip_norm`,
`trainable` and `freeze` describe; or it has several, run in order, each with these keys of its own:

```yaml
stages:
  head:
    stop: {epochs: 1}
    trainable: ["fc2/*"]
  all:
    stop: {epochs: 2}
    optimizer: {name: sgd, lr: 0.05}
```

## Layers

`model.layers` is a list; each item is a layer's name alone, or a map of one layer and its values.
Extents and channels of inputs are inferred. A layer with one main value may be written with it alone:
`{linear: 100}` is `{linear: {out: 100}}`. Errors count layers from 1.

```yaml
model:
  layers:
    - {conv: {out: 6, kernel: 5, padding: same}}
    - tanh
    - {max_pool: 2}
    - flatten
    - {dropout: 0.5}
    - {linear: 10}
```

)";

constexpr std::string_view kPreparation = R"(
## Faces

A job of the kind `prepare_faces` makes packs of the faces in a folder of photographs
([images.md](images.md)). It has these keys and no others:

)";

constexpr std::string_view kFeatures = R"(
## Features

A job of the kind `feature_regression` fits a logistic regression to what a layer of a pretrained network
gives of images ([features.md](features.md)). It has these keys and no others:

)";

constexpr std::string_view kDreams = R"(
## Dreams

A job of the kind `deepdream` changes images until layers of a network answer more strongly
([dreaming.md](dreaming.md)). It has these keys and no others:

)";

std::string_view layer_meaning(trainers::LayerKind kind) {
  using trainers::LayerKind;
  switch (kind) {
    case LayerKind::kConv:
      return "Two-dimensional convolution";
    case LayerKind::kMaxPool:
      return "Largest value of each window";
    case LayerKind::kAveragePool:
      return "Mean of each window";
    case LayerKind::kLinear:
      return "Dense layer on flat samples";
    case LayerKind::kFlatten:
      return "[h, w, c] to one row";
    case LayerKind::kDropout:
      return "Zeroes values in training";
    default:
      return "Activation";
  }
}

std::string shown_default(const Entry& entry) {
  if (!entry.default_text.empty()) {
    return entry.default_text;
  }
  if (entry.required) {
    return "*required*";
  }
  return entry.value.empty() || entry.value == "\"\"" ? "" : fmt::format("`{}`", entry.value);
}

std::string row(const Entry& entry) {
  return fmt::format("| `{}` | {}{}{} | {} | {} |\n", fmt::join(entry.path, "."), entry.type,
                     entry.range.empty() ? "" : ", ", entry.range, shown_default(entry), entry.doc);
}

std::string job_table(JobKind kind) {
  std::string text = "| key | type and range | default | meaning |\n|---|---|---|---|\n";
  Lister lister(Lister::Mode::kReference);
  Job job;
  job.kind = kind;
  describe(lister, job);
  for (const Entry& entry : lister.entries()) {
    text += row(entry);
  }
  return text;
}

std::string layer_table() {
  std::string text =
      "| layer | value | type and range | default | meaning |\n|---|---|---|---|---|\n";
  for (const Choice<trainers::LayerKind>& choice : kChoices<trainers::LayerKind>) {
    text += fmt::format("| `{}` | | | | {} |\n", choice.name, layer_meaning(choice.value));
    trainers::LayerSpec layer;
    layer.kind = choice.value;
    Lister lister(Lister::Mode::kReference);
    describe(lister, layer);
    for (const Entry& entry : lister.entries()) {
      text += "| " + row(entry);
    }
  }
  return text;
}

}  // namespace

std::string job_reference() {
  return fmt::format("{}{}{}{}{}{}{}{}{}{}", kHeader, job_table(JobKind::kTrain), kStages,
                     layer_table(), kPreparation, job_table(JobKind::kPrepareFaces), kFeatures,
                     job_table(JobKind::kFeatureRegression), kDreams,
                     job_table(JobKind::kDeepDream));
}

}  // namespace gentrain::jobs
