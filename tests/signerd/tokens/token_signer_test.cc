#include "signerd/token_signer.h"

#include "token_set_fixture.h"

namespace hallmark {
namespace {

class TokenSignerTest : public tokens::TokenSetTest {};

// A key is tried before mail depends on it, in a token that hashes what it signs too.
TEST_F(TokenSignerTest, ATokenThatHashesItselfGetsWhatIsHashed) {
  WriteFaults("hsm",
              "C_GetMechanismInfo * return CKR_MECHANISM_INVALID\n"
              "C_SignInit * return CKR_MECHANISM_INVALID of CKM_RSA_PKCS");
  Start({Faulty("hsm", "")});
  const auto key = MakeKey("hsm", "hsm", link::KeyType::kRsa);
  TokenSigner signer(*tokens_);
  const auto signature = signer.Sign(key, "a test");
  ASSERT_TRUE(signature) << signature.error().message;
  EXPECT_TRUE(key->public_key->Verify(dkim::Sha256Of("a test"), *signature));
}

}  // namespace
}  // namespace hallmark
