// The table. Hashes are those that publishers give (Keras gives MD5), or of files whose published
// hashes were compared; sizes are those that the servers give.
#include "jobs/cli/fetch_table.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "core/net/transfer.h"
#include "jobs/cli/yaml.h"
#include "kernels/error.h"

namespace gentrain::jobs {
namespace {

RemoteFile classes() {
  return {"weights/imagenet_class_index.json",
          {"https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json"},
          35'363,
          "a1e7a966a1f601d39e4b43e119b3e7dd4a2ad3ea08cf69847cbaf021013767bc",
          ""};
}

/// "URL/NAME", whether or not the URL ends with a slash.
std::string below(const std::string& url, std::string_view name) {
  return fmt::format("{}{}{}", url, url.ends_with('/') ? "" : "/", name);
}

std::vector<RemoteData> pictures() {
  return {{"mnist",
           "MNIST: 70,000 handwritten digits",
           {{"mnist/train-images-idx3-ubyte.gz",
             {"https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz",
              "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz"},
             9'912'422,
             "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
             ""},
            {"mnist/train-labels-idx1-ubyte.gz",
             {"https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz",
              "https://ossci-datasets.s3.amazonaws.com/mnist/train-labels-idx1-ubyte.gz"},
             28'881,
             "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
             ""},
            {"mnist/t10k-images-idx3-ubyte.gz",
             {"https://storage.googleapis.com/cvdf-datasets/mnist/t10k-images-idx3-ubyte.gz",
              "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz"},
             1'648'877,
             "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
             ""},
            {"mnist/t10k-labels-idx1-ubyte.gz",
             {"https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz",
              "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz"},
             4'542,
             "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
             ""}},
           "",
           ""},
          {"lfw",
           "Labeled Faces in the Wild, deep-funneled: 13,233 photographs",
           {{"lfw-deepfunneled.tgz",
             {"http://vis-www.cs.umass.edu/lfw/lfw-deepfunneled.tgz"},
             std::nullopt,
             "",
             "68331da3eb755a505a502b5aacb3c201"}},
           "lfw",
           "lfw-deepfunneled"},
          {"flowers",
           "flower_photos: 3,670 photographs of five kinds of flowers",
           {{"flower_photos.tgz",
             {"http://download.tensorflow.org/example_images/flower_photos.tgz",
              "https://storage.googleapis.com/download.tensorflow.org/example_images/"
              "flower_photos.tgz"},
             std::nullopt,
             "",
             "6f87fb78e9cc9ab41eff2015b380011d"}},
           "flowers",
           "flower_photos"}};
}

/// A weights file of Keras Applications; with the top the names of its classes come along.
RemoteData keras(std::string_view name, std::string_view summary, std::string_view path,
                 std::string_view url, std::uint64_t bytes, std::string_view md5) {
  RemoteData data{name, summary, {{path, {url}, bytes, "", md5}}};
  if (name.ends_with("_top")) {
    data.files.push_back(classes());
  }
  return data;
}

std::vector<RemoteData> weights() {
  return {keras("vgg16", "VGG16 of Keras, without the top",
                "weights/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
                "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
                58'889'256, "6d6bbae143d832006294945121d1f1fc"),
          keras("vgg16_top", "VGG16 of Keras with the top, names of the classes",
                "weights/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
                "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
                "vgg16_weights_tf_dim_ordering_tf_kernels.h5",
                553'467'096, "64373286793e3c8b2b4e3219cbf3544b"),
          keras("vgg19", "VGG19 of Keras, without the top",
                "weights/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
                "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
                80'134'624, "253f8cb515780f3b799900260a226db6"),
          keras("vgg19_top", "VGG19 of Keras with the top, names of the classes",
                "weights/vgg19_weights_tf_dim_ordering_tf_kernels.h5",
                "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
                "vgg19_weights_tf_dim_ordering_tf_kernels.h5",
                574'710'816, "cbe5617147190e668d6c5d5026f83318"),
          keras("inception_v3", "InceptionV3 of Keras, without the top",
                "weights/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
                "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
                87'910'968, "bcbd6486424b2319ff4ef7d526e38f63"),
          keras("inception_v3_top", "InceptionV3 of Keras with the top, names of the classes",
                "weights/inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
                "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"
                "inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
                96'112'376, "9a0d58056eeedaa3f26cb7ebd46da564"),
          {"squeezenet",
           "SqueezeNet v1.1 for Keras, without the last convolution",
           {{"weights/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5",
             {"https://github.com/rcmalli/keras-squeezenet/releases/download/v1.0/"
              "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"},
             3'002'560,
             "17154246284f555591549ac2c83e127abfbf4307dc4b0060fdaa2931d0fa38da",
             ""}}},
          {"imagenet_classes", "the names of ImageNet's 1,000 classes", {classes()}}};
}

}  // namespace

const std::vector<RemoteData>& remote_data() {
  static const std::vector<RemoteData> table = [] {
    std::vector<RemoteData> all = pictures();
    std::ranges::move(weights(), std::back_inserter(all));
    return all;
  }();
  return table;
}

const RemoteData& find_remote_data(const std::string& name) {
  const auto& table = remote_data();
  const auto found = std::ranges::find(table, std::string_view(name), &RemoteData::name);
  if (found == table.end()) {
    std::vector<std::string_view> names;
    names.reserve(table.size());
    for (const RemoteData& data : table) {
      names.push_back(data.name);
    }
    throw JobError(fmt::format("fetch: there is no '{}'{}", name, suggest(name, names)));
  }
  return *found;
}

Mirrors::OfName read_mirror(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) {
    throw JobError(fmt::format("--mirror '{}': NAME=URL was expected", text));
  }
  Mirrors::OfName mirror{text.substr(0, equals), text.substr(equals + 1)};
  find_remote_data(mirror.name);
  net::require_url(mirror.url);
  return mirror;
}

std::vector<std::string> urls_of(const RemoteData& data, const RemoteFile& file,
                                 const Mirrors& mirrors) {
  for (const Mirrors::OfName& mirror : mirrors.of_names) {
    if (mirror.name == data.name) {
      return {below(mirror.url, file.path.substr(file.path.rfind('/') + 1))};
    }
  }
  if (!mirrors.base.empty()) {
    return {below(mirrors.base, file.path)};
  }
  return {file.urls.begin(), file.urls.end()};
}

}  // namespace gentrain::jobs
