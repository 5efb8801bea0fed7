#include "firmware/provision/signed_file.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

#include "firmware/runtime/encoding.h"
#include "firmware/runtime/file.h"
#include "firmware/runtime/issue_certificate.h"
#include "firmware/runtime/openssl_reason.h"

namespace hallmark::provision {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;
using Cms = std::unique_ptr<CMS_ContentInfo, decltype(&CMS_ContentInfo_free)>;
using Certificate = std::unique_ptr<X509, FreeCertificate>;
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;
using Store = std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)>;

constexpr std::size_t kMostCa = 1u << 20;

Error Invalid(const std::string& message) { return MakeError(Reason::kConfigInvalid, message + OpenSslReason()); }

Bio Reading(std::string_view octets) {
  return {BIO_new_mem_buf(octets.data(), static_cast<int>(octets.size())), &BIO_free_all};
}

std::string TakeAll(BIO* bio) {
  const char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

// 0: valid now; -1: not yet; 1: no longer.
int Age(const X509* certificate) {
  if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) return -1;
  return X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0 ? 1 : 0;
}

Status CheckAge(const X509* certificate, const std::string& name) {
  const int age = Age(certificate);
  if (age == 0) return Ok();
  return MakeError(Reason::kDeadlineExceeded, name + ": the signer's certificate is " +
                                                  (age < 0 ? "not valid yet" : "not valid any more") +
                                                  "; is this machine's clock right? If it is, sign with another one");
}

Signer Describe(X509* certificate) {
  Signer signer;
  const Bio line(BIO_new(BIO_s_mem()), &BIO_free_all);
  if (line) X509_NAME_print_ex(line.get(), X509_get_subject_name(certificate), 0, XN_FLAG_ONELINE);
  signer.subject = line ? TakeAll(line.get()) : "";
  signer.fingerprint = Fingerprint(certificate);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned char* key = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key);
  const std::unique_ptr<unsigned char, void (*)(unsigned char*)> owned(key, [](unsigned char* p) { OPENSSL_free(p); });
  std::size_t digest_size = 0;
  if (size > 0 && EVP_Q_digest(nullptr, "SHA256", nullptr, key, static_cast<std::size_t>(size), digest, &digest_size)) {
    signer.key = HexEncode({digest, digest_size});
  }
  return signer;
}

Result<Store> OwnerStore(const std::filesystem::path& owner_ca) {
  const auto text = ReadFile(owner_ca, kMostCa);
  if (!text) return text.error();
  Store store(X509_STORE_new(), &X509_STORE_free);
  const Bio bio = Reading(*text);
  if (!store || !bio) return Invalid("no memory for the owner's CA");
  int count = 0;
  while (true) {
    const Certificate ca(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!ca) break;
    X509_STORE_add_cert(store.get(), ca.get());
    ++count;
  }
  ERR_clear_error();
  if (count == 0) return Invalid(owner_ca.string() + ": holds no PEM certificate");
  // Any certificate of that CA may sign: the usual purpose would be mail.
  X509_STORE_set_purpose(store.get(), X509_PURPOSE_ANY);
  return store;
}

// Which certificate above the signer is not valid by the clock, and what helps, where the owner's signature lacks no
// more than that; empty where it lacks more. A clock may be set yet, a stranger stays one.
std::string OutOfDate(CMS_ContentInfo* cms, X509* signer, X509_STORE* store) {
  const std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> others(
      CMS_get1_certs(cms), [](STACK_OF(X509) * stack) { sk_X509_pop_free(stack, &X509_free); });
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(X509_STORE_CTX_new(),
                                                                                &X509_STORE_CTX_free);
  if (!context || X509_STORE_CTX_init(context.get(), store, signer, others.get()) != 1) return "";
  X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_NO_CHECK_TIME);
  if (X509_verify_cert(context.get()) != 1) return "";
  const STACK_OF(X509)* const chain = X509_STORE_CTX_get0_chain(context.get());
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509* const certificate = sk_X509_value(chain, i);
    if (const int age = Age(certificate); age != 0) {
      // Those before it in the chain came with the file.
      const bool owners = i >= X509_STORE_CTX_get_num_untrusted(context.get());
      return std::string("the certificate of ") + (owners ? "the owner's CA " : "a CA in the file ") +
             Describe(certificate).subject + (age < 0 ? " is not valid yet" : " is not valid any more") +
             "; is this machine's clock right? If it is, " +
             (owners ? "only an image with another CA takes this" : "sign again, with a valid one in its place");
    }
  }
  return "";
}

Result<Cms> Parse(std::string_view der, const std::string& name) {
  ERR_clear_error();
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* const end = at + der.size();
  Cms cms(d2i_CMS_ContentInfo(nullptr, &at, static_cast<long>(der.size())), &CMS_ContentInfo_free);
  if (!cms || at != end) return Invalid(name + ": is not what hallmark-provision pack makes");
  if (OBJ_obj2nid(CMS_get0_type(cms.get())) != NID_pkcs7_signed || CMS_is_detached(cms.get()) != 0) {
    return Invalid(name + ": is no signed configuration");
  }
  return cms;
}

// The one signer's certificate. More than one would leave open whose configuration it is.
Result<X509*> OnlySigner(CMS_ContentInfo* cms, const std::string& name) {
  const std::unique_ptr<STACK_OF(X509), void (*)(STACK_OF(X509)*)> signers(
      CMS_get0_signers(cms), [](STACK_OF(X509) * stack) { sk_X509_free(stack); });
  if (!signers || sk_X509_num(signers.get()) != 1) return Invalid(name + ": has not exactly one signer");
  return sk_X509_value(signers.get(), 0);
}

}  // namespace

Result<std::string> Sign(std::string_view content, const std::filesystem::path& key,
                         const std::filesystem::path& certificate) {
  const auto certificate_text = ReadFile(certificate, kMostCa);
  if (!certificate_text) return certificate_text.error();
  const Bio certificate_bio = Reading(*certificate_text);
  const Certificate signer(PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr));
  if (!signer) return Invalid(certificate.string() + ": is no PEM certificate");
  if (const Status valid = CheckAge(signer.get(), certificate.string()); !valid) return valid.error();

  const Bio key_bio(BIO_new_file(key.c_str(), "r"), &BIO_free_all);
  if (!key_bio) return Invalid(key.string() + ": cannot be read");
  const Key private_key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (!private_key) return Invalid(key.string() + ": is no PEM private key, or the passphrase was wrong");
  if (X509_check_private_key(signer.get(), private_key.get()) != 1) {
    return Invalid(key.string() + ": is not the key of " + certificate.string());
  }

  const Bio data = Reading(content);
  const Cms cms(CMS_sign(signer.get(), private_key.get(), nullptr, data.get(), CMS_BINARY | CMS_NOSMIMECAP),
                &CMS_ContentInfo_free);
  const Bio out(BIO_new(BIO_s_mem()), &BIO_free_all);
  if (!cms || !out || i2d_CMS_bio(out.get(), cms.get()) != 1) {
    return Invalid(key.string() + ": this kind of key does not sign here; take RSA or ECDSA");
  }
  return TakeAll(out.get());
}

Result<Signed> Open(std::string_view der, const std::string& name, const std::filesystem::path& owner_ca) {
  const auto parsed = Parse(der, name);
  if (!parsed) return parsed.error();
  CMS_ContentInfo* const cms = parsed->get();
  Store store(nullptr, &X509_STORE_free);
  if (!owner_ca.empty()) {
    auto owner = OwnerStore(owner_ca);
    if (!owner) return owner.error();
    store = std::move(*owner);
  }
  const Bio out(BIO_new(BIO_s_mem()), &BIO_free_all);
  // The signature first, whoever made it; then whether it is the owner's, so that each has a sentence of its own.
  if (!out || CMS_verify(cms, nullptr, nullptr, nullptr, out.get(), CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY) != 1) {
    return Invalid(name + ": the signature is not good: the file was changed or is damaged");
  }
  const auto signer = OnlySigner(cms, name);
  if (!signer) return signer.error();
  if (const Status valid = CheckAge(*signer, name); !valid) return valid.error();
  Signed opened{TakeAll(out.get()), Describe(*signer), false};
  if (store) {
    const Bio again(BIO_new(BIO_s_mem()), &BIO_free_all);
    if (!again || CMS_verify(cms, nullptr, store.get(), nullptr, again.get(), CMS_BINARY) != 1) {
      if (const std::string old = OutOfDate(cms, *signer, store.get()); !old.empty()) {
        ERR_clear_error();
        return MakeError(Reason::kDeadlineExceeded, name + ": " + old);
      }
      return Invalid(name + ": signed by " + opened.signer.subject + ", who is not under this box's owner's CA");
    }
    opened.by_owner = true;
  }
  return opened;
}

Result<std::string> ContentOf(std::string_view der, const std::string& name) {
  const auto parsed = Parse(der, name);
  if (!parsed) return parsed.error();
  ASN1_OCTET_STRING** const content = CMS_get0_content(parsed->get());
  if (content == nullptr || *content == nullptr) return Invalid(name + ": is no signed configuration");
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(*content)),
                     static_cast<std::size_t>(ASN1_STRING_length(*content)));
}

}  // namespace hallmark::provision
