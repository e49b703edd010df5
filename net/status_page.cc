#include "net/status_page.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"

namespace ternion {

// net/page's files, made into C++ by embed.cmake.
std::string_view page_html_text();
std::string_view page_style_text();
std::string_view page_script_text();

namespace {

struct Page {
  std::string html;
  std::string policy;
};

// As a content security policy names a text: 'sha256-...'.
std::string HashSource(std::string_view text) {
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash);
  unsigned char base64[4 * ((SHA256_DIGEST_LENGTH + 2) / 3) + 1];
  const int length = EVP_EncodeBlock(base64, hash, sizeof(hash));
  return absl::StrCat("'sha256-", std::string(reinterpret_cast<char*>(base64), static_cast<size_t>(length)),
                      "'");
}

void Fill(std::string* html, std::string_view mark, std::string_view text) {
  const size_t place = html->find(mark);
  CHECK(place != std::string::npos, "page.html has a place for its style and its script");
  html->replace(place, mark.size(), text);
}

Page MakePage() {
  Page page{std::string(page_html_text()), ""};
  Fill(&page.html, "{{style}}", page_style_text());
  Fill(&page.html, "{{script}}", page_script_text());
  page.policy = absl::StrCat("default-src 'none'; style-src ", HashSource(page_style_text()), "; script-src ",
                             HashSource(page_script_text()),
                             "; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                             "frame-ancestors 'none'");
  return page;
}

}  // namespace

HttpResponse StatusPage() {
  static const Page page = MakePage();
  return {200,
          page.html,
          {{"Content-Security-Policy", page.policy},
           {"X-Content-Type-Options", "nosniff"},
           {"Referrer-Policy", "no-referrer"},
           {"Cache-Control", "no-cache"}},
          "text/html; charset=utf-8"};
}

}  // namespace ternion
