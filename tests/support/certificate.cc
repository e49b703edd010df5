#include "tests/support/certificate.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>

#include "kernels/check.h"

namespace ternion {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using X509Owner = std::unique_ptr<X509, decltype(&X509_free)>;
using File = std::unique_ptr<FILE, decltype(&fclose)>;

X509Owner SelfSigned(EVP_PKEY* key, const std::string& name) {
  X509Owner cert(X509_new(), X509_free);
  X509_set_version(cert.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), 3600);
  X509_set_pubkey(cert.get(), key);
  X509_NAME* subject = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(cert.get(), subject);
  X509_EXTENSION* names =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  X509_add_ext(cert.get(), names, -1);
  X509_EXTENSION_free(names);
  CHECK(X509_sign(cert.get(), key, EVP_sha256()) != 0, "a certificate can be signed");
  return cert;
}

File Create(const std::string& path) {
  File file(fopen(path.c_str(), "w"), fclose);
  CHECK(file != nullptr, "a file can be written");
  return file;
}

}  // namespace

Certificate::Certificate(const std::filesystem::path& folder, const std::string& name, bool rsa)
    : cert(folder / (name + ".cert.pem")), key(folder / (name + ".key.pem")) {
  const Key pair(rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"), EVP_PKEY_free);
  const X509Owner made = SelfSigned(pair.get(), name);
  PEM_write_X509(Create(cert).get(), made.get());
  PEM_write_PrivateKey(Create(key).get(), pair.get(), nullptr, nullptr, 0, nullptr, nullptr);
}

}  // namespace ternion
