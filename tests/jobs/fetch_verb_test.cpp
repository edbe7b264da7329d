// gentrain fetch: its table, mirrors and every wrong command line; transfers are tried through the
// program (tests/tools/fetch_test.py).
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/io/sha256.h"
#include "core/net/transfer.h"
#include "jobs/cli/fetch_table.h"
#include "kernels/error.h"
#include "tests/jobs/verbs_fixture.h"

namespace gentrain::jobs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::string fetch_error(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "fetch");
  const Outcome outcome = gentrain(arguments);
  EXPECT_EQ(outcome.code, kUsage) << outcome.out;
  return outcome.err;
}

void check_hash(std::string_view hash, std::size_t digits) {
  EXPECT_TRUE(hash.empty() || (hash.size() == digits && io::is_hex(hash))) << hash;
}

TEST(FetchTable, HoldsWhatCanBeFetched) {
  std::set<std::string_view> names;
  for (const RemoteData& data : remote_data()) {
    EXPECT_TRUE(names.insert(data.name).second) << data.name;
    ASSERT_FALSE(data.files.empty()) << data.name;
    EXPECT_EQ(data.folder.empty(), data.inside.empty()) << data.name;
    EXPECT_TRUE(data.folder.empty() || data.files.size() == 1) << data.name;
    for (const RemoteFile& file : data.files) {
      EXPECT_FALSE(file.urls.empty()) << file.path;
      EXPECT_NE(file.path, data.folder);
      EXPECT_FALSE(file.path.starts_with('/')) << file.path;
      check_hash(file.sha256, 64);
      check_hash(file.md5, 32);
      EXPECT_FALSE(file.sha256.empty() && file.md5.empty()) << file.path;
      const std::string_view name = file.path.substr(file.path.rfind('/') + 1);
      for (const std::string_view url : file.urls) {
        EXPECT_TRUE(net::is_url(std::string(url))) << url;
        EXPECT_TRUE(url.ends_with("/" + std::string(name))) << url;
      }
    }
  }
  for (const char* name : {"mnist", "lfw", "flowers", "vgg16", "vgg16_top", "vgg19", "vgg19_top",
                           "inception_v3", "inception_v3_top", "squeezenet", "imagenet_classes"}) {
    EXPECT_EQ(names.count(name), 1U) << name;
  }
}

TEST(FetchTable, FilesLandWhereJobsLook) {
  const RemoteData& mnist = find_remote_data("mnist");
  EXPECT_EQ(mnist.files.size(), 4U);
  EXPECT_EQ(mnist.files[0].path, "mnist/train-images-idx3-ubyte.gz");
  EXPECT_EQ(find_remote_data("vgg19").files[0].path,
            "weights/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5");
  EXPECT_EQ(find_remote_data("lfw").folder, "lfw");
}

TEST(FetchTable, MirrorsTakeThePlaceOfItsUrls) {
  const RemoteData& data = find_remote_data("vgg16");
  const RemoteFile& file = data.files[0];
  const std::string name = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5";
  EXPECT_THAT(
      urls_of(data, file, {}),
      ElementsAre("https://storage.googleapis.com/tensorflow/keras-applications/vgg16/" + name));
  Mirrors mirrors;
  mirrors.base = "http://host/all";
  EXPECT_THAT(urls_of(data, file, mirrors), ElementsAre("http://host/all/weights/" + name));
  mirrors.of_names.push_back(read_mirror("vgg19=http://other"));
  EXPECT_THAT(urls_of(data, file, mirrors), ElementsAre("http://host/all/weights/" + name));
  mirrors.of_names.push_back(read_mirror("vgg16=http://mine/x/"));
  EXPECT_THAT(urls_of(data, file, mirrors), ElementsAre("http://mine/x/" + name));
}

TEST(FetchTable, WrongMirrorsAreRefused) {
  EXPECT_THAT([] { read_mirror("mnist"); },
              ThrowsMessage<JobError>(HasSubstr("--mirror 'mnist': NAME=URL was expected")));
  EXPECT_THAT([] { read_mirror("mnits=http://a"); },
              ThrowsMessage<JobError>(HasSubstr("there is no 'mnits' (did you mean 'mnist'?)")));
  EXPECT_THAT([] { read_mirror("mnist=a/b"); },
              ThrowsMessage<JobError>(HasSubstr("'a/b' cannot be fetched: a URL begins with")));
}

TEST(FetchVerb, ListsFilesSizesAndUrls) {
  const Outcome list = gentrain({"fetch", "--list", "--to", "here"});
  EXPECT_EQ(list.code, kSuccess) << list.err;
  for (const RemoteData& data : remote_data()) {
    EXPECT_THAT(list.out, HasSubstr(std::string(data.summary)));
  }
  EXPECT_THAT(list.out, HasSubstr("  here/mnist/t10k-labels-idx1-ubyte.gz, 4542 bytes\n"
                                  "    https://storage.googleapis.com/cvdf-datasets/mnist/"));
  EXPECT_THAT(list.out, HasSubstr("  here/lfw\n    http://vis-www.cs.umass.edu/lfw/"));
  EXPECT_THAT(gentrain({"fetch", "--list", "--mirror", "lfw=http://mine"}).out,
              HasSubstr("    http://mine/lfw-deepfunneled.tgz\n"));
}

TEST(FetchVerb, WrongCommandLinesAreRefused) {
  EXPECT_THAT(fetch_error({}), HasSubstr("fetch: what to fetch is missing, --list shows the names "
                                         "(usage: gentrain fetch NAME|URL... [options])"));
  EXPECT_THAT(fetch_error({"mnits"}), HasSubstr("there is no 'mnits' (did you mean 'mnist'?)"));
  EXPECT_THAT(fetch_error({"http://host"}),
              HasSubstr("'http://host' names no file: its path has to end with a name"));
  EXPECT_THAT(fetch_error({"http://me:pass@host/a/?b=/c"}),
              HasSubstr("'http://host/a/?b=/c' names"));
  EXPECT_THAT(fetch_error({"http://host/a/.."}), HasSubstr("names no file"));
  EXPECT_THAT(fetch_error({"mnist", "--mirror", "mnist"}), HasSubstr("NAME=URL was expected"));
  EXPECT_THAT(fetch_error({"mnist", "--stall", "0"}),
              HasSubstr("--stall 0: must be above 0 and at most 1000000 seconds"));
  EXPECT_THAT(fetch_error({"mnist", "--time=-1"}), HasSubstr("--time -1: must be above 0"));
  EXPECT_THAT(fetch_error({"mnist", "--tries", "0"}),
              HasSubstr("--tries 0: must be at least 1 and at most 100"));
}

TEST(FetchVerb, AHashIsForOneUrl) {
  const std::string hash(64, 'a');
  EXPECT_THAT(fetch_error({"mnist", "--sha256", hash}),
              HasSubstr("--sha256 is for a single URL; the hashes of names are known"));
  EXPECT_THAT(fetch_error({"http://a/b", "http://a/c", "--sha256", hash}),
              HasSubstr("a single URL"));
  EXPECT_THAT(fetch_error({"http://a/b", "--sha256", "abc"}),
              HasSubstr("--sha256 'abc': 64 digits of lower-case hex are needed"));
}

TEST(FetchVerb, AMirrorOfTheEnvironmentIsAUrl) {
  setenv("GENTRAIN_MIRROR", "some/folder", 1);
  EXPECT_THAT(fetch_error({"--list"}),
              HasSubstr("GENTRAIN_MIRROR is 'some/folder': a URL that begins with http:// or"));
  setenv("GENTRAIN_MIRROR", "http://host/base", 1);
  EXPECT_THAT(gentrain({"fetch", "--list"}).out,
              HasSubstr("    http://host/base/mnist/train-images-idx3-ubyte.gz\n"));
  unsetenv("GENTRAIN_MIRROR");
}

}  // namespace
}  // namespace gentrain::jobs
