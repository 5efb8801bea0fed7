#include "tools/milter/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "milter_conversation.h"

namespace hallmark::milter {
namespace {

using testing::ElementsAre;

relay::Outcome TwoSignatures(const Handed&) {
  relay::Outcome outcome;
  outcome.signatures = {{"DKIM-Signature: v=1; s=a;\r\n\tb=one\r\n", "a", "rsa-sha256"},
                        {"DKIM-Signature: v=1; s=b;\r\n\tb=two\r\n", "b", "ed25519-sha256"}};
  return outcome;
}

Conversation::Signer Failing(relay::FailureKind kind, std::string reason, std::string message = "because") {
  return [=](const Handed&) {
    relay::Outcome outcome;
    outcome.failure = relay::Failure{kind, reason, message, {}};
    return outcome;
  };
}

const std::string kHeader =
    Packet('L', Strings({"From", " Alice <alice@example.com>"})) + Packet('L', Strings({"Subject", " Lun\n\tch"}));
const std::string kMail =
    Packet('D', 'M' + Strings({"{auth_authen}", "alice"})) + Packet('M', Strings({"<alice@example.com>"}));
const std::string kMessage = kMail + Packet('R', Strings({"<bob@example.org>"})) + Packet('T') + kHeader + Packet('N') +
                             Packet('B', "At noon?\r") + Packet('B', "\n") + Packet('E');

class MilterSession : public testing::Test {
 protected:
  Conversation Start(Conversation::Signer signer = TwoSignatures) {
    return Conversation(settings, tally, std::move(signer));
  }
  // One that has negotiated with an MTA of today.
  std::unique_ptr<Conversation> Negotiated(Conversation::Signer signer = TwoSignatures) {
    auto conversation = std::make_unique<Conversation>(settings, tally, std::move(signer));
    conversation->Push(Offer(6, kAllActions, kAllSteps));
    return conversation;
  }
  std::uint64_t Count(Verdict verdict) const { return tally.messages[static_cast<std::size_t>(verdict)]; }

  SessionSettings settings;
  Tally tally;
};

TEST_F(MilterSession, TakesOfAnOfferNoMoreThanIsOffered) {
  for (const std::uint32_t version : {2u, 3u, 4u, 5u, 6u, 7u, 0xffffffffu}) {
    for (const std::uint32_t actions : {0x1u, 0x1fu, 0x3fu, kAllActions, 0xffffffffu}) {
      for (std::uint32_t bit = 0; bit <= 32; ++bit) {
        const std::uint32_t steps = bit == 32 ? 0xffffffffu : 1u << bit;
        auto conversation = Start();
        const auto answers = Answers(conversation.Push(Offer(version, actions, steps)));
        ASSERT_EQ(answers.size(), 1u);
        const auto& [code, data] = answers.front();
        ASSERT_EQ(code, 'O');
        ASSERT_GE(data.size(), 12u);
        EXPECT_EQ(ReadU32(data), std::min(version, 6u));
        const std::uint32_t taken = ReadU32(std::string_view(data).substr(4));
        EXPECT_EQ(taken & ~actions, 0u);
        EXPECT_NE(taken & action::kAddHeader, 0u);
        EXPECT_EQ(ReadU32(std::string_view(data).substr(8)) & ~steps, 0u);
        EXPECT_EQ(data.size() > 12, (taken & action::kSymbolList) != 0);
      }
    }
  }
}

TEST_F(MilterSession, WithoutHeaderFieldsToAddThereIsNothingToDo) {
  for (const std::uint32_t actions : {0u, kAllActions & ~action::kAddHeader}) {
    auto conversation = Start();
    EXPECT_EQ(conversation.Push(Offer(6, actions, kAllSteps)), "");
    EXPECT_TRUE(conversation.broken());
  }
  for (const std::string& offer : {Offer(1, kAllActions, kAllSteps), Offer(0, kAllActions, kAllSteps), Packet('O'),
                                   Packet('O', std::string(11, '\1'))}) {
    auto conversation = Start();
    EXPECT_EQ(conversation.Push(offer), "");
    EXPECT_TRUE(conversation.broken());
  }
}

TEST_F(MilterSession, SignsTheSameAtEveryCut) {
  const std::string whole = Negotiated()->Push(kMessage);
  EXPECT_EQ(Codes(whole), "ciic");
  for (std::size_t cut = 0; cut <= kMessage.size(); ++cut) {
    auto conversation = Negotiated();
    std::string out = conversation->Push(kMessage.substr(0, cut));
    out += conversation->Push(kMessage.substr(cut));
    ASSERT_EQ(out, whole) << "cut at " << cut;
    ASSERT_EQ(conversation->handed().front().content.octets,
              "From: Alice <alice@example.com>\r\nSubject: Lun\r\n\tch\r\n\r\n");
  }
  auto conversation = Negotiated();
  std::string out;
  for (const char octet : kMessage) out += conversation->Push({&octet, 1});
  EXPECT_EQ(out, whole);
}

TEST_F(MilterSession, TheFirstSignatureEndsUpOnTop) {
  const auto answers = Answers(Negotiated()->Push(kMessage));
  ASSERT_EQ(answers.size(), 4u);
  const std::string top("\0\0\0\0", 4);
  EXPECT_EQ(answers[1].second, top + Strings({"DKIM-Signature", " v=1; s=b;\n\tb=two"}));
  EXPECT_EQ(answers[2].second, top + Strings({"DKIM-Signature", " v=1; s=a;\n\tb=one"}));
}

TEST_F(MilterSession, WithoutLeadingSpaceTheMtaPutsIt) {
  auto conversation = Start();
  conversation.Push(Offer(2, 0x3f, 0x7f));
  const std::string out =
      conversation.Push(kMail + Packet('L', Strings({"From", "alice@example.com"})) + Packet('N') + Packet('E'));
  const auto answers = Answers(out);
  EXPECT_EQ(Codes(out), "ccciic");
  EXPECT_EQ(answers[4].second.substr(4), Strings({"DKIM-Signature", "v=1; s=a;\n\tb=one"}));
  EXPECT_EQ(conversation.handed().front().content.octets, "From: alice@example.com\r\n\r\n");
}

// Each answers where it must, and nowhere else, whichever answers the MTA does without.
TEST_F(MilterSession, AnswersWhatWantsAnAnswer) {
  constexpr std::pair<char, std::uint32_t> kOptional[] = {
      {'C', step::kNoReplyConnect},     {'H', step::kNoReplyHelo}, {'M', 0},
      {'R', step::kNoReplyRecipient},   {'T', step::kNoReplyData}, {'L', step::kNoReplyHeader},
      {'N', step::kNoReplyEndOfHeader}, {'B', step::kNoReplyBody}};
  for (std::uint32_t bit = 0; bit < 21; ++bit) {
    for (const std::uint32_t steps : {0u, 1u << bit, kAllSteps, kAllSteps & ~(1u << bit)}) {
      auto conversation = Start();
      const std::string offered = Answers(conversation.Push(Offer(6, kAllActions, steps))).front().second;
      const std::uint32_t taken = ReadU32(std::string_view(offered).substr(8));
      for (const auto& [command, no_reply] : kOptional) {
        if (command == 'M') conversation.Push(Packet('D', 'M' + Strings({"{auth_authen}", "alice"})));
        const std::string answer = conversation.Push(Packet(command, Strings({"From", " a@example.com"})));
        EXPECT_EQ(Codes(answer), (taken & no_reply) != 0 ? "" : "c") << command << " with steps " << steps;
      }
      EXPECT_EQ(Codes(conversation.Push(Packet('E'))), "iic");
    }
  }
}

TEST_F(MilterSession, AbortAtEveryStepLeavesNothingForTheNext) {
  const std::vector<std::string> steps = {
      Packet('C', Strings({"h"}) + "4" + std::string(2, '\1') + Strings({"192.0.2.1"})),
      Packet('H', Strings({"h"})),
      Packet('D', 'M' + Strings({"{auth_authen}", "mallory"})),
      Packet('M', Strings({"<mallory@example.net>"})),
      Packet('R', Strings({"<victim@example.net>"})),
      Packet('T'),
      Packet('L', Strings({"From", " mallory@example.net"})),
      Packet('N'),
      Packet('B', "secret"),
  };
  for (const char end : {'A', 'K'}) {
    for (std::size_t count = 0; count <= steps.size(); ++count) {
      auto conversation = Negotiated();
      for (std::size_t at = 0; at < count; ++at) conversation->Push(steps[at]);
      EXPECT_EQ(conversation->Push(Packet(end)), "");
      EXPECT_EQ(Codes(conversation->Push(kMessage)), "ciic") << count << " steps before";
      ASSERT_EQ(conversation->handed().size(), 1u);
      const Handed& handed = conversation->handed().front();
      EXPECT_EQ(handed.content.octets, "From: Alice <alice@example.com>\r\nSubject: Lun\r\n\tch\r\n\r\n");
      EXPECT_EQ(handed.options.envelope_sender, "alice@example.com");
      EXPECT_THAT(handed.options.envelope_recipients, ElementsAre("bob@example.org"));
      // Nor does what was said of the one before make the next one ours.
      EXPECT_EQ(Codes(conversation->Push(Packet('M', Strings({"<x@example.net>"})))), "a");
    }
  }
}

TEST_F(MilterSession, OneMessageAfterTheOtherEachWithItsOwn) {
  settings.partners = {{"acme", {"acme-*"}, {}, {}, {}}};
  auto conversation = Negotiated();
  for (int i = 0; i < 3; ++i) {
    const std::string number = std::to_string(i);
    const std::string user = i == 1 ? "acme-1" : "own";
    EXPECT_EQ(Codes(conversation->Push(Packet('D', 'M' + Strings({"{auth_authen}", user})) +
                                       Packet('M', Strings({"<a" + number + "@example.com>"})) +
                                       Packet('R', Strings({"<b" + number + "@example.org>"})) +
                                       Packet('L', Strings({"X", " " + number})) + Packet('N') + Packet('E', number))),
              "ciic");
    const Handed& handed = conversation->handed().back();
    EXPECT_EQ(handed.content.octets, "X: " + number + "\r\n\r\n");
    EXPECT_EQ(handed.options.envelope_sender, "a" + number + "@example.com");
    EXPECT_THAT(handed.options.envelope_recipients, ElementsAre("b" + number + "@example.org"));
    EXPECT_EQ(handed.options.partner, i == 1 ? "acme" : "");
  }
  EXPECT_EQ(Count(Verdict::kSigned), 3u);
}

// An MTA that gives a message up without a word begins the next one with its macros.
TEST_F(MilterSession, MailWithinAMessageBeginsAnother) {
  auto conversation = Negotiated();
  conversation->Push(kMail + Packet('L', Strings({"From", " mallory@example.net"})));
  EXPECT_EQ(Codes(conversation->Push(kMessage)), "ciic");
  ASSERT_EQ(conversation->handed().size(), 1u);
  EXPECT_EQ(conversation->handed().front().content.octets,
            "From: Alice <alice@example.com>\r\nSubject: Lun\r\n\tch\r\n\r\n");
  EXPECT_EQ(Count(Verdict::kAborted), 1u);
  // Macros of a MAIL are all that is known of it.
  conversation->Push(kMail);
  EXPECT_EQ(Codes(conversation->Push(Packet('D', 'M' + Strings({"{mail_addr}", "x"})) +
                                     Packet('M', Strings({"<x@example.net>"})))),
            "a");
}

// One that was accepted at MAIL, and of which the MTA says more all the same, leaves nothing either.
TEST_F(MilterSession, NothingIsLeftOfAMessageThatWasLeftAlone) {
  auto conversation = Negotiated();
  const std::string login = Packet('D', 'M' + Strings({"{auth_authen}", "alice"})),
                    mail = Packet('M', Strings({"<x@example.net>"}));
  for (const std::string& end : {Packet('E'), Packet('A'), Packet('K')}) {
    EXPECT_EQ(Codes(conversation->Push(mail + Packet('R') + kHeader + Packet('N') + login)), "a");
    conversation->Push(end);
    EXPECT_EQ(Codes(conversation->Push(mail)), "a");
  }
}

TEST_F(MilterSession, ANewConnectionKnowsNothingOfTheOneBefore) {
  settings.outbound.daemon_names = {"ORIGINATING"};
  settings.outbound.networks = {*Network::Parse("192.0.2.0/24")};
  const std::string from = Packet('C', Strings({"h"}) + "4" + std::string(2, '\1') + Strings({"192.0.2.1"}));
  const std::string elsewhere = Packet('C', Strings({"h"}) + "4" + std::string(2, '\1') + Strings({"198.51.100.1"}));
  const std::string named = Packet('D', 'C' + Strings({"{daemon_name}", "ORIGINATING"}));
  const std::string other = Packet('D', 'C' + Strings({"j", "relay.example"}));
  const std::string mail = Packet('M', Strings({"<a@example.com>"}));
  for (const std::string& first : {from, named + elsewhere}) {
    for (const std::string& between : {Packet('K'), Packet('K') + Offer(6, kAllActions, kAllSteps),
                                       Offer(6, kAllActions, kAllSteps), other + elsewhere, Packet('K') + elsewhere}) {
      auto conversation = Negotiated();
      EXPECT_EQ(Codes(conversation->Push(first + mail)), "c");
      const std::string out = conversation->Push(Packet('A') + between + mail);
      EXPECT_EQ(Codes(out).back(), 'a');
    }
  }
}

TEST_F(MilterSession, WhatIsOutOfPlaceEndsTheConversation) {
  const std::pair<const char*, std::string> kBroken[] = {
      {"recipient before MAIL", Packet('R', Strings({"<b@example.org>"}))},
      {"header before MAIL", kHeader},
      {"body before MAIL", Packet('B', "x")},
      {"end before MAIL", Packet('E')},
      {"header after body", kMail + kHeader + Packet('N') + Packet('B', "x") + kHeader},
      {"recipient after body", kMail + kHeader + Packet('N') + Packet('R', Strings({"<b@example.org>"}))},
      {"unknown command", Packet('z')},
      {"unknown command in a message", kMail + Packet('\0')},
      {"an answer as a command", kMail + Packet('c')},
      {"a second end", kMessage + Packet('E')},
      {"a broken negotiation", Packet('O', "xx")},
  };
  for (const auto& [name, octets] : kBroken) {
    auto conversation = Negotiated();
    conversation->Push(octets);
    EXPECT_TRUE(conversation->broken()) << name;
    EXPECT_EQ(conversation->Push(kMessage), "") << name;
  }
  for (const std::string& octets :
       {Packet('C', "x"), Packet('M', "x"), Packet('D', "M"), Packet('A'), Packet('K'), kMessage}) {
    auto conversation = Start();
    EXPECT_EQ(conversation.Push(octets), "");
    EXPECT_TRUE(conversation.broken());
  }
}

TEST_F(MilterSession, MacrosOfAnyShapeAreTaken) {
  const std::string odd[] = {Packet('D'),
                             Packet('D', "M"),
                             Packet('D', "Mname without a value"),
                             Packet('D', std::string("M\0\0\0", 4)),
                             Packet('D', 'M' + Strings({"a", "b", "c"})),
                             Packet('D', 'z' + Strings({"a", "b"})),
                             Packet('D', 'M' + Strings({"{", "}", "{}", "x"})),
                             Packet('D', 'E' + Strings({"i", "1"}))};
  std::string all;
  for (const std::string& packet : odd) all += packet;
  for (int i = 0; i < 1000; ++i) all += Packet('D', 'R' + Strings({"m" + std::to_string(i), "x"}));
  auto conversation = Negotiated();
  EXPECT_EQ(conversation->Push(all), "");
  EXPECT_EQ(Codes(conversation->Push(kMessage)), "ciic");
}

TEST_F(MilterSession, StringsThatAreMissing) {
  auto conversation = Negotiated();
  conversation->Push(Packet('D', 'M' + Strings({"auth_authen", "alice"})) + Packet('M') + Packet('R') + Packet('L') +
                     Packet('L', "From: no end") + Packet('L', Strings({"X"})) + Packet('L', Strings({"", " y"})) +
                     Packet('N') + Packet('E', "body"));
  ASSERT_EQ(conversation->handed().size(), 1u);
  const Handed& handed = conversation->handed().front();
  EXPECT_EQ(handed.options.envelope_sender, "");
  EXPECT_EQ(handed.content.octets, ":\r\nFrom: no end:\r\nX:\r\n: y\r\n\r\n");
}

TEST_F(MilterSession, NoMoreRecipientsThanSignerdTakes) {
  auto conversation = Negotiated();
  conversation->Push(kMail);
  for (int i = 0; i < 10'001; ++i) conversation->Push(Packet('R', Strings({"<b@example.org>"})));
  EXPECT_EQ(Codes(conversation->Push(kHeader + Packet('N') + Packet('E'))), "iic");
  EXPECT_EQ(conversation->handed().front().options.envelope_recipients.size(), 10'000u);
}

TEST_F(MilterSession, WhatIsTooLongForAnAddressIsNone) {
  const std::string at_most(4096, 'x'), longer(4097, 'x');
  EXPECT_EQ(Codes(Negotiated()->Push(kMail + Packet('R', Strings({at_most})) + kHeader + Packet('N') + Packet('E'))),
            "ciic");
  for (const std::string& octets :
       {kMail + Packet('R', Strings({longer})),
        Packet('D', 'M' + Strings({"{auth_authen}", "alice"})) + Packet('M', Strings({longer}))}) {
    auto conversation = Negotiated();
    conversation->Push(octets);
    EXPECT_TRUE(conversation->broken());
  }
}

TEST_F(MilterSession, RecipientsAreBoundedInOctetsToo) {
  auto conversation = Negotiated();
  conversation->Push(kMail);
  for (int i = 0; i < 1000; ++i) conversation->Push(Packet('R', Strings({std::string(4096, 'x')})));
  EXPECT_EQ(Codes(conversation->Push(kHeader + Packet('N') + Packet('E'))), "iic");
  EXPECT_EQ(conversation->handed().front().options.envelope_recipients.size(), (900u << 10) / (4096 + 4));
}

// Signerd refuses a signature whose record would have more than 1 MiB; each recipient has a tag and a length there.
TEST_F(MilterSession, RecipientsFitIntoARecordWithWhatIsWrittenBesideThem) {
  for (const std::size_t octets : {1u, 90u, 105u, 120u, 300u}) {
    auto conversation = Negotiated();
    conversation->Push(kMail);
    for (int i = 0; i < 10'000; ++i) conversation->Push(Packet('R', Strings({std::string(octets, 'x')})));
    EXPECT_EQ(Codes(conversation->Push(kHeader + Packet('N') + Packet('E'))), "iic");
    std::size_t written = 0;
    for (const std::string& one : conversation->handed().front().options.envelope_recipients) written += one.size() + 3;
    EXPECT_LE(written, (1u << 20) - (64u << 10)) << octets;
  }
}

TEST(MilterMacros, AreBoundedInNumberAndOctets) {
  Macros macros;
  macros.Take('M' + Strings({"{auth_authen}", "alice"}));
  for (int i = 0; i < 100; ++i) macros.Take('R' + Strings({"m" + std::to_string(i), std::string(4000, 'x')}));
  EXPECT_EQ(macros.Get("auth_authen"), "alice");
  EXPECT_EQ(macros.Get("m0").size(), 4000u);
  EXPECT_EQ(macros.Get("m99"), "") << "64 KiB are full";
  macros.EndMessage();
  macros.Take('R' + Strings({"i", "1"}));
  macros.Take('R' + Strings({"i", std::string(4096, 'x')}));
  EXPECT_EQ(macros.Get("i"), "") << "a value that is too long takes the old one away";
  for (int i = 0; i < 100; ++i) macros.Take('R' + Strings({"i", std::string(4000, 'x')}));
  EXPECT_EQ(macros.Get("i").size(), 4000u) << "what is replaced does not count";
}

class ThisHost : public MilterSession {
 protected:
  void SetUp() override { settings.outbound.networks = {*Network::Parse("127.0.0.0/8"), *Network::Parse("::1")}; }
  // The answers to a message with a Received field in `received`, from a client.
  std::string Submit(const std::string& client, const std::string& received, const std::string& macros = "") {
    const std::string field = received.empty() ? "" : Packet('L', Strings({received, " from mx.example"}));
    conversation = Negotiated();
    return Codes(conversation->Push(client + macros + Packet('M', Strings({"<a@example.com>"})) + field + kHeader +
                                    Packet('N') + Packet('B', "x") + Packet('E')));
  }
  static std::string Client(char family, const std::string& address) {
    return Packet('C', Strings({"h"}) + family + std::string(2, '\1') + Strings({address}));
  }

  const std::string v4 = Client('4', "127.0.0.1");
  std::unique_ptr<Conversation> conversation;
};

TEST_F(ThisHost, WhatHasPassedAnotherIsLeftAlone) {
  for (const std::string& client :
       {v4, Client('6', "::1"), Client('6', "::ffff:127.0.0.1"), Client('L', "/run/client")}) {
    EXPECT_EQ(Submit(client, ""), "ciic");
    for (const char* name : {"Received", "received", "RECEIVED"}) EXPECT_EQ(Submit(client, name), "ca");
    EXPECT_TRUE(conversation->handed().empty());
    EXPECT_EQ(Submit(client, "X-Received"), "ciic");
    EXPECT_EQ(Submit(client, "Received-SPF"), "ciic");
  }
  EXPECT_EQ(Count(Verdict::kLeftAlone), 12u);
  EXPECT_EQ(Count(Verdict::kAborted), 0u);
}

TEST_F(ThisHost, WhatIsOursByMoreThanTheNetworkIsSigned) {
  settings.outbound.networks.push_back(*Network::Parse("192.0.2.0/24"));
  settings.outbound.daemon_names = {"ORIGINATING"};
  EXPECT_EQ(Submit(Client('4', "192.0.2.1"), "Received"), "ciic");
  EXPECT_EQ(Submit(v4, "Received", Packet('D', 'M' + Strings({"{auth_authen}", "alice"}))), "ciic");
  EXPECT_EQ(Submit(v4, "Received", Packet('D', 'H' + Strings({"{daemon_name}", "ORIGINATING"}))), "ciic");
  settings.outbound.reinjected = true;
  EXPECT_EQ(Submit(v4, "Received"), "ciic");
}

// A filter that hands mail back to a name of this host comes from the address that the name has.
TEST_F(ThisHost, HasItsInterfacesAddressesToo) {
  settings.outbound.networks = {*Network::Parse("192.0.2.0/24"), *Network::Parse("2001:db8::/32")};
  const auto own = boost::asio::ip::make_address("192.0.2.10"), own6 = boost::asio::ip::make_address("2001:db8::10");
  settings.outbound.is_own_address = [&](const auto& address) { return address == own || address == own6; };
  for (const std::string& client : {Client('4', "192.0.2.10"), Client('6', "IPv6:2001:db8::10")}) {
    EXPECT_EQ(Submit(client, "Received"), "ca");
    EXPECT_EQ(Submit(client, ""), "ciic");
  }
  for (const std::string& client : {Client('4', "192.0.2.11"), Client('6', "2001:db8::11")}) {
    EXPECT_EQ(Submit(client, "Received"), "ciic");
  }
  settings.outbound.reinjected = true;
  EXPECT_EQ(Submit(Client('4', "192.0.2.10"), "Received"), "ciic");
}

TEST_F(ThisHost, TheNextMessageIsSignedAgain) {
  EXPECT_EQ(Submit(v4, "Received"), "ca");
  EXPECT_EQ(Codes(conversation->Push(kMessage)), "ciic");
  const std::string mail = Packet('M', Strings({"<a@example.com>"}));
  EXPECT_EQ(Codes(conversation->Push(mail + Packet('L', Strings({"Received", " x"})) + Packet('A'))), "c");
  EXPECT_EQ(Codes(conversation->Push(mail + kHeader + Packet('N') + Packet('E'))), "ciic");
}

// Sendmail of before symbol lists sends {cert_subject} with HELO, and no {verify}, unless it is configured to.
TEST_F(MilterSession, ACertificateCountsWhereItIsKnownToBeVerified) {
  settings.outbound.certificates = {"*/CN=acme"};
  const auto mail = [&](const std::string& offer, const std::vector<std::string_view>& macros) {
    auto conversation = Start();
    conversation.Push(offer);
    return Codes(conversation.Push(Packet('D', 'H' + Strings(macros)) + Packet('M', Strings({"<a@example.com>"}))));
  };
  const std::string old = Offer(2, 0x3f, 0x7f), today = Offer(6, kAllActions, kAllSteps);
  EXPECT_EQ(mail(today, {"{cert_subject}", "/CN=acme"}), "c");
  EXPECT_EQ(mail(old, {"{cert_subject}", "/CN=acme"}), "a");
  for (const std::string& offer : {old, today}) {
    EXPECT_EQ(mail(offer, {"{cert_subject}", "/CN=acme", "{verify}", "OK"}), "c");
    EXPECT_EQ(mail(offer, {"{cert_subject}", "/CN=acme", "{verify}", "FAIL"}), "a");
  }
}

TEST(MilterWarnings, AreCountedByCodeAndToldOnceAMinute) {
  using namespace std::chrono_literals;
  WarningTally tally;
  const WarningTally::Time start{};
  EXPECT_TRUE(tally.Count("LONG_LINE", start));
  EXPECT_FALSE(tally.Count("LONG_LINE", start + 59s));
  EXPECT_TRUE(tally.Count("BARE_LF", start + 59s));
  EXPECT_TRUE(tally.Count("LONG_LINE", start + 60s));
  EXPECT_THAT(tally.Counts(), ElementsAre(testing::Pair("BARE_LF", 1), testing::Pair("LONG_LINE", 3)));
  for (int i = 0; i < 1000; ++i) tally.Count("X" + std::to_string(i), start);
  const auto counts = tally.Counts();
  EXPECT_EQ(counts.size(), 65u);
  EXPECT_EQ(counts.at("OTHER"), 1000u - 62u);
}

TEST(MilterOutage, IsToldWhenItBeginsOnceAMinuteAndWhenItIsOver) {
  using namespace std::chrono_literals;
  Outage outage;
  const Outage::Time start{};
  EXPECT_EQ(outage.Over(), std::nullopt) << "there was none";
  EXPECT_EQ(outage.Failed(start), 0u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(outage.Failed(start + 59s), std::nullopt);
  EXPECT_EQ(outage.Failed(start + 60s), 50u);
  EXPECT_EQ(outage.Failed(start + 61s), std::nullopt);
  EXPECT_EQ(outage.Over(), 1u);
  EXPECT_EQ(outage.Over(), std::nullopt);
}

// A signerd that comes and goes has two lines a minute, and none of its failures is forgotten.
TEST(MilterOutage, ThatComesAndGoesIsToldNoMoreOften) {
  using namespace std::chrono_literals;
  Outage outage;
  const Outage::Time start{};
  EXPECT_EQ(outage.Failed(start), 0u);
  EXPECT_EQ(outage.Over(), 0u);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(outage.Failed(start + 59s), std::nullopt);
    EXPECT_EQ(outage.Over(), std::nullopt);
  }
  EXPECT_EQ(outage.Failed(start + 60s), 50u);
  EXPECT_EQ(outage.Over(), 0u);
}

// Of a list of addresses Postfix may show less than goes out: 60,000 octets and the rest of that line.
TEST_F(MilterSession, AListThatPostfixHasCutIsNotSigned) {
  for (const std::uint32_t steps : {kAllSteps, kAllSteps & ~step::kLeadingSpace}) {
    const std::string space((steps & step::kLeadingSpace) != 0 ? " " : "");
    for (const std::size_t octets : {59'999u, 60'000u, 61'000u}) {
      for (const char* end : {",", "."}) {
        auto conversation = Start();
        conversation.Push(Offer(6, kAllActions, steps));
        const std::string list = space + std::string(octets - std::string("To: ").size() - 1, 'x') + end;
        const std::string out = conversation.Push(kMail + Packet('L', Strings({"To", list})) + kHeader + Packet('N') +
                                                  Packet('B', "x") + Packet('E'));
        const bool cut = octets >= 60'000 && *end == ',';
        EXPECT_EQ(conversation.handed().empty(), cut) << octets << end;
        const auto answers = Answers(out);
        ASSERT_FALSE(answers.empty());
        const std::string& text = answers.back().second;
        EXPECT_EQ(text.substr(0, 9), cut ? "550 5.6.0" : "") << octets << end;
        EXPECT_EQ(text.find("FIELD_CUT: its To field") != std::string::npos, cut) << text;
        // The next one has nothing of it.
        EXPECT_EQ(Codes(conversation.Push(kMessage)).back(), 'c');
      }
    }
  }
  settings.on.refused = Choice::kAccept;
  auto conversation = Negotiated();
  EXPECT_EQ(Codes(conversation->Push(kMail + Packet('L', Strings({"Cc", std::string(60'000, 'x') + ','})) + kHeader +
                                     Packet('N') + Packet('E'))),
            "cc");
  EXPECT_EQ(Count(Verdict::kUnsigned), 1u);
  EXPECT_EQ(Count(Verdict::kAborted), 0u);
}

TEST_F(MilterSession, EachFailureHasItsAnswer) {
  using relay::FailureKind;
  struct Row {
    FailureKind kind;
    const char* reason;
    std::string text[3];  // with tempfail, accept and reject; empty: the message passes
  };
  const std::string cannot = "451 4.3.0 The message cannot be signed now; please try again";
  const Row rows[] = {
      {FailureKind::kUnavailable, "UNREACHABLE", {cannot, "", "550 5.3.0 The message cannot be signed"}},
      {FailureKind::kLimited,
       "RATE_LIMITED",
       {"451 4.7.1 The message is not signed: RATE_LIMITED: because", "451 4.7.1", "451 4.7.1"}},
      {FailureKind::kRefused,
       "DOMAIN_NOT_ALLOWED",
       {"451 4.7.1", "", "550 5.7.1 The message is not signed: DOMAIN_NOT_ALLOWED: because"}},
      {FailureKind::kRefused, "FROM_MISSING", {"451 4.6.0", "", "550 5.6.0"}},
      {FailureKind::kRefused, "DOMAIN_NOT_CONFIGURED", {"451 4.7.1", "", "550 5.7.1"}},
  };
  constexpr Choice kChoices[] = {Choice::kTempfail, Choice::kAccept, Choice::kReject};
  for (const Row& row : rows) {
    for (const Choice choice : kChoices) {
      settings.on = {choice, choice, choice};
      const std::string& text = row.text[static_cast<std::size_t>(choice)];
      const auto answers = Answers(Negotiated(Failing(row.kind, row.reason))->Push(kMessage));
      ASSERT_EQ(answers.size(), 2u);
      EXPECT_EQ(answers[1].first, text.empty() ? 'c' : 'y') << row.reason;
      EXPECT_EQ(answers[1].second.substr(0, text.size()), text) << row.reason;
    }
  }
}

TEST_F(MilterSession, WhatSignerdSaysBecomesAGoodReply) {
  const std::string hostile = "%s%n\r\n250 OK\r\n\xff\xc3\xa4" + std::string(2000, 'x');
  const auto answers =
      Answers(Negotiated(Failing(relay::FailureKind::kRefused, "FROM_UNUSABLE", hostile))->Push(kMessage));
  const std::string& text = answers[1].second;
  EXPECT_EQ(text.back(), '\0');
  EXPECT_LE(text.size(), 510u);
  EXPECT_TRUE(std::all_of(text.begin(), text.end() - 1, [](char c) { return c >= ' ' && c <= '~' && c != '%'; }))
      << text;
}

TEST_F(MilterSession, EveryMessageIsCountedOnce) {
  {
    auto conversation = Negotiated();
    conversation->Push(kMessage + kMail + Packet('A') + Packet('M', Strings({"<x@example.net>"})) + kMail);
  }
  settings.on.refused = Choice::kReject;
  Negotiated(Failing(relay::FailureKind::kRefused, "FROM_MISSING"))->Push(kMessage);
  Negotiated(Failing(relay::FailureKind::kRefused, "DOMAIN_NOT_CONFIGURED"))->Push(kMessage);
  Negotiated(Failing(relay::FailureKind::kUnavailable, "UNREACHABLE"))->Push(kMessage);
  EXPECT_EQ(Count(Verdict::kSigned), 1u);
  EXPECT_EQ(Count(Verdict::kAborted), 2u);
  EXPECT_EQ(Count(Verdict::kLeftAlone), 1u);
  EXPECT_EQ(Count(Verdict::kRejected), 1u);
  EXPECT_EQ(Count(Verdict::kUnsigned), 1u);
  EXPECT_EQ(Count(Verdict::kTempfailed), 1u);
}

}  // namespace
}  // namespace hallmark::milter
