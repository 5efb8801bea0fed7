#pragma once

#include "tools/posture/finding.h"

// Every kind of finding. docs/operations.md lists the ids.
namespace hallmark::posture::kinds {

// Of every record.
inline constexpr Kind kDnsNoAnswer{"DNS_NO_ANSWER", Severity::kError,
                                   "What could not be asked could not be checked, and receivers that get no answer "
                                   "defer mail or judge it without the record."};
inline constexpr Kind kDomainNotFound{"DOMAIN_NOT_FOUND", Severity::kError,
                                      "A domain that does not exist can publish nothing, and receivers refuse mail "
                                      "from it."};
inline constexpr Kind kAliasBroken{"ALIAS_BROKEN", Severity::kError,
                                   "The alias promises a record that nobody can read: for receivers there is none."};
inline constexpr Kind kNullMx{"NULL_MX", Severity::kWarning,
                              "A domain that says that it takes no mail can be given neither replies nor bounces; "
                              "some receivers refuse mail from such a domain (RFC 7505 section 4.2)."};

// Hallmark's own keys.
inline constexpr Kind kKeysNotCompared{"KEYS_NOT_COMPARED", Severity::kNote,
                                       "The records were checked as they stand, but not whether they are those of the "
                                       "keys in the HSM."};
inline constexpr Kind kSignerdUnavailable{"SIGNERD_UNAVAILABLE", Severity::kWarning,
                                          "The records were checked as they stand, but not whether they are those of "
                                          "the keys in the HSM; --offline says that this is meant."};
inline constexpr Kind kDomainNotConfigured{"DOMAIN_NOT_CONFIGURED", Severity::kNote,
                                           "Hallmark signs nothing for a domain that it does not know."};
inline constexpr Kind kDkimNoActiveKey{"DKIM_NO_ACTIVE_KEY", Severity::kWarning,
                                       "Without an active key mail of the domain is refused instead of signed."};

// DKIM (RFC 6376, 8301, 8463).
inline constexpr Kind kDkimNoSelector{"DKIM_NO_SELECTOR", Severity::kNote,
                                      "Selectors cannot be looked up, only names that are known; name them with "
                                      "--selector."};
inline constexpr Kind kDkimRecordMissing{"DKIM_RECORD_MISSING", Severity::kError,
                                         "No signature with this selector verifies."};
inline constexpr Kind kDkimRecordPending{"DKIM_RECORD_PENDING", Severity::kNote,
                                         "The key cannot be put to use before its record can be seen everywhere."};
inline constexpr Kind kDkimRecordGoneEarly{"DKIM_RECORD_GONE_EARLY", Severity::kWarning,
                                           "Mail that the key signed may still wait in a queue, and no longer "
                                           "verifies."};
inline constexpr Kind kDkimRecordLeftOver{"DKIM_RECORD_LEFT_OVER", Severity::kWarning,
                                          "A record without a use keeps old signatures good, and hides what is in "
                                          "use."};
inline constexpr Kind kDkimSeveralRecords{"DKIM_SEVERAL_RECORDS", Severity::kError,
                                          "Which of them a verifier takes is undefined (RFC 6376 section 3.6.2.2)."};
inline constexpr Kind kDkimSyntax{"DKIM_SYNTAX", Severity::kError,
                                  "A verifier cannot read the record, so no signature with it verifies."};
inline constexpr Kind kDkimVersion{"DKIM_VERSION", Severity::kError,
                                   "A record of another version, or whose v= is not first, is discarded (RFC 6376 "
                                   "section 3.6.1)."};
inline constexpr Kind kDkimKeyType{"DKIM_KEY_TYPE", Severity::kError,
                                   "A verifier that does not know the type of key, or finds another one than a= says, "
                                   "ignores it."};
inline constexpr Kind kDkimHash{"DKIM_HASH", Severity::kError,
                                "A key that does not allow sha256 allows nothing that may still be used (RFC 8301)."};
inline constexpr Kind kDkimService{"DKIM_SERVICE", Severity::kError,
                                   "A verifier of mail must ignore keys for other services (RFC 6376 section 3.6.1)."};
inline constexpr Kind kDkimKeyInvalid{"DKIM_KEY_INVALID", Severity::kError, "No signature verifies with it."};
inline constexpr Kind kDkimEd25519Form{"DKIM_ED25519_FORM", Severity::kError,
                                       "Verifiers read the 32 octets of the key itself (RFC 8463 section 4) and refuse "
                                       "anything else."};
inline constexpr Kind kDkimKeyTooShort{"DKIM_KEY_TOO_SHORT", Severity::kError,
                                       "Verifiers must not take RSA keys below 1024 bits (RFC 8301 section 3.2); they "
                                       "can be broken."};
inline constexpr Kind kDkimKeyShort{"DKIM_KEY_SHORT", Severity::kWarning,
                                    "RSA keys should have 2048 bits or more (RFC 8301 section 3.2)."};
inline constexpr Kind kDkimTesting{"DKIM_TESTING", Severity::kWarning,
                                   "With t=y verifiers treat signed mail as if it were not signed (RFC 6376 section "
                                   "3.6.1)."};
inline constexpr Kind kDkimStrictIdentity{"DKIM_STRICT_IDENTITY", Severity::kError,
                                          "With t=s a signature whose i= is below d= does not verify."};
inline constexpr Kind kDkimRevoked{"DKIM_REVOKED", Severity::kError,
                                   "An empty p= says that the key is revoked: no signature with it verifies."};
inline constexpr Kind kDkimRevokedKeyPublished{"DKIM_REVOKED_KEY_PUBLISHED", Severity::kError,
                                               "The key was given up, and what it signs still verifies."};
inline constexpr Kind kDkimKeyMismatch{"DKIM_KEY_MISMATCH", Severity::kError,
                                       "What the HSM signs does not verify with another key."};
inline constexpr Kind kDkimOnlyEd25519{"DKIM_ONLY_ED25519", Severity::kWarning,
                                       "Many large receivers cannot verify Ed25519 yet: for them the mail is not "
                                       "signed."};

// SPF (RFC 7208).
inline constexpr Kind kSpfMissing{"SPF_MISSING", Severity::kError,
                                  "Any host may use the domain in MAIL FROM, and large receivers refuse bulk mail "
                                  "without SPF."};
inline constexpr Kind kSpfSeveralRecords{"SPF_SEVERAL_RECORDS", Severity::kError,
                                         "With more than one record the result is permerror (RFC 7208 section 4.5): "
                                         "SPF passes for nobody."};
inline constexpr Kind kSpfSyntax{"SPF_SYNTAX", Severity::kError,
                                 "A record with an error anywhere gives permerror (RFC 7208 section 4.6): SPF passes "
                                 "for nobody."};
inline constexpr Kind kSpfTooManyLookups{"SPF_TOO_MANY_LOOKUPS", Severity::kError,
                                         "A check that needs more than 10 lookups ends with permerror (RFC 7208 "
                                         "section 4.6.4)."};
inline constexpr Kind kSpfNearLookupLimit{"SPF_NEAR_LOOKUP_LIMIT", Severity::kWarning,
                                          "The limit is 10; one more lookup in a record of somebody else's breaks SPF "
                                          "for the domain."};
inline constexpr Kind kSpfTooManyVoid{"SPF_TOO_MANY_VOID_LOOKUPS", Severity::kError,
                                      "A check with more than two lookups that find nothing ends with permerror (RFC "
                                      "7208 section 4.6.4)."};
inline constexpr Kind kSpfTooManyMx{"SPF_TOO_MANY_MX", Severity::kError,
                                    "mx with more than 10 hosts gives permerror (RFC 7208 section 4.6.4)."};
inline constexpr Kind kSpfIncludeNone{"SPF_INCLUDE_NONE", Severity::kError,
                                      "An include of a domain without an SPF record gives permerror (RFC 7208 section "
                                      "5.2)."};
inline constexpr Kind kSpfRedirectNone{"SPF_REDIRECT_NONE", Severity::kError,
                                       "A redirect to a domain without an SPF record gives permerror (RFC 7208 section "
                                       "6.1)."};
inline constexpr Kind kSpfIncludeBroken{"SPF_INCLUDE_BROKEN", Severity::kError,
                                        "An error in a record that is included or redirected to is one in the domain's "
                                        "own (RFC 7208 section 5.2)."};
inline constexpr Kind kSpfLoop{"SPF_LOOP", Severity::kError,
                               "A record that leads to itself ends at the limit of lookups, with permerror."};
inline constexpr Kind kSpfPtr{"SPF_PTR", Severity::kWarning,
                              "ptr is slow, fails often and should not be used (RFC 7208 section 5.5)."};
inline constexpr Kind kSpfPassAll{"SPF_PASS_ALL", Severity::kError,
                                  "Every host on the Internet passes SPF for the domain, and with it DMARC."};
inline constexpr Kind kSpfWideRange{"SPF_WIDE_RANGE", Severity::kWarning,
                                    "So large a network has hosts of many others, all of which pass."};
inline constexpr Kind kSpfNeutralAll{"SPF_NEUTRAL_ALL", Severity::kWarning,
                                     "?all says nothing about hosts that are not listed: forged mail is treated as if "
                                     "there were no record."};
inline constexpr Kind kSpfNoAll{"SPF_NO_ALL", Severity::kWarning,
                                "Without all or redirect the result for hosts that are not listed is neutral: forged "
                                "mail is treated as if there were no record."};
inline constexpr Kind kSpfIgnoredTerms{"SPF_IGNORED_TERMS", Severity::kWarning,
                                       "What stands after all, and a redirect beside it, is never looked at (RFC 7208 "
                                       "section 5.1)."};
inline constexpr Kind kSpfUnknownModifier{"SPF_UNKNOWN_MODIFIER", Severity::kWarning,
                                          "Modifiers that nobody knows are ignored: most are spelling mistakes."};
inline constexpr Kind kSpfTypeRecord{"SPF_TYPE_RECORD", Severity::kNote,
                                     "Records of type SPF are no longer read (RFC 7208 section 3.1); they only hide "
                                     "that the TXT record counts."};
inline constexpr Kind kSpfThirdParty{"SPF_THIRD_PARTY", Severity::kWarning,
                                     "Hosts of others, and all of their customers, pass SPF as this domain; partners "
                                     "should relay through the signing point, where they are known, limited and "
                                     "recorded."};
inline constexpr Kind kSpfNotFollowed{"SPF_NOT_FOLLOWED", Severity::kNote,
                                      "Macros that stand for parts of a message have a value for each message only; "
                                      "what lies behind them was counted as one lookup and not checked."};
inline constexpr Kind kSpfLongRecord{"SPF_LONG_RECORD", Severity::kWarning,
                                     "Answers should fit into 512 octets, so records into 450 (RFC 7208 section 3.4); "
                                     "some resolvers fail beyond."};

// DMARC (RFC 7489).
inline constexpr Kind kDmarcMissing{"DMARC_MISSING", Severity::kError,
                                    "Receivers are not told what to do with forged mail, nobody reports it, and large "
                                    "receivers refuse bulk mail without DMARC."};
inline constexpr Kind kDmarcInherited{"DMARC_INHERITED", Severity::kNote,
                                      "The record of the organizational domain holds, with its policy for subdomains "
                                      "(RFC 7489 section 6.6.3)."};
inline constexpr Kind kDmarcSeveralRecords{"DMARC_SEVERAL_RECORDS", Severity::kError,
                                           "With more than one record DMARC is not applied (RFC 7489 section 6.6.3)."};
inline constexpr Kind kDmarcSyntax{"DMARC_SYNTAX", Severity::kError,
                                   "A record without a readable policy is ignored, or counts as p=none (RFC 7489 "
                                   "section 6.6.3)."};
inline constexpr Kind kDmarcBadValue{"DMARC_BAD_VALUE", Severity::kWarning,
                                     "A value that cannot be read is replaced by its default (RFC 7489 section 6.3)."};
inline constexpr Kind kDmarcUnknownTag{"DMARC_UNKNOWN_TAG", Severity::kWarning,
                                       "Tags that nobody knows are ignored: most are spelling mistakes."};
inline constexpr Kind kDmarcPolicyNone{"DMARC_POLICY_NONE", Severity::kWarning,
                                       "Forged mail is delivered; go on to quarantine and reject once the reports show "
                                       "that all own mail passes."};
inline constexpr Kind kDmarcSubdomainNone{"DMARC_SUBDOMAIN_POLICY_NONE", Severity::kWarning,
                                          "Mail that is forged in the name of a subdomain is delivered."};
inline constexpr Kind kDmarcPartial{"DMARC_PARTIAL", Severity::kWarning,
                                    "The policy is applied to a part of the mail that fails, or not at all: the rest "
                                    "of forged mail is treated more mildly."};
inline constexpr Kind kDmarcStrictAlignment{"DMARC_STRICT_ALIGNMENT", Severity::kNote,
                                            "Only exactly the domain in From counts: d= or MAIL FROM of a parent or "
                                            "subdomain (bounces.DOMAIN, say) does not pass."};
inline constexpr Kind kDmarcAlignmentConflict{"DMARC_ALIGNMENT_CONFLICT", Severity::kWarning,
                                              "Mail that the policy allows is signed with a d= other than the From "
                                              "domain, and fails DMARC under adkim=s."};
inline constexpr Kind kDmarcNoReports{"DMARC_NO_REPORTS", Severity::kWarning,
                                      "Without rua= nobody says who sends in the domain's name, and what of it fails."};
inline constexpr Kind kDmarcReportAddress{"DMARC_REPORT_ADDRESS", Severity::kError,
                                          "An address that cannot be read gets no reports."};
inline constexpr Kind kDmarcReportNotAuthorised{"DMARC_REPORT_NOT_AUTHORISED", Severity::kError,
                                                "Receivers send no reports to another organisation that does not say "
                                                "that it wants them (RFC 7489 section 7.1)."};
inline constexpr Kind kDmarcManyAddresses{"DMARC_MANY_ADDRESSES", Severity::kNote,
                                          "Receivers need to serve only the first two (RFC 7489 section 6.2)."};

// BIMI.
inline constexpr Kind kBimiMissing{"BIMI_MISSING", Severity::kNote,
                                   "Receivers that show brand marks show none for this domain; nothing else depends on "
                                   "it."};
inline constexpr Kind kBimiSeveralRecords{"BIMI_SEVERAL_RECORDS", Severity::kError,
                                          "With more than one record none is used."};
inline constexpr Kind kBimiSyntax{"BIMI_SYNTAX", Severity::kError, "A record that cannot be read is not used."};
inline constexpr Kind kBimiDeclined{"BIMI_DECLINED", Severity::kNote, "The domain says that no mark is to be shown."};
inline constexpr Kind kBimiSvgReference{"BIMI_SVG_REFERENCE", Severity::kError,
                                        "The mark is fetched over https only, as SVG."};
inline constexpr Kind kBimiCertificateMissing{"BIMI_CERTIFICATE_MISSING", Severity::kWarning,
                                              "Large receivers show a mark only with a mark certificate (VMC or CMC)."};
inline constexpr Kind kBimiCertificateReference{"BIMI_CERTIFICATE_REFERENCE", Severity::kError,
                                                "The certificate is fetched over https only, as PEM."};
inline constexpr Kind kBimiDmarcTooWeak{"BIMI_DMARC_TOO_WEAK", Severity::kError,
                                        "A mark is shown only where DMARC says quarantine or reject, for all mail and "
                                        "for subdomains."};
inline constexpr Kind kBimiNotFetched{"BIMI_NOT_FETCHED", Severity::kNote,
                                      "Only the DNS was asked: whether the files are there and valid is for another "
                                      "tool to say."};

// MTA-STS (RFC 8461) and TLS-RPT (RFC 8460).
inline constexpr Kind kMtaStsMissing{"MTA_STS_MISSING", Severity::kNote,
                                     "Mail to the domain can be read or led elsewhere by who can remove STARTTLS or "
                                     "forge MX answers on the way."};
inline constexpr Kind kMtaStsSeveralRecords{"MTA_STS_SEVERAL_RECORDS", Severity::kError,
                                            "With more than one record senders take it that there is no policy (RFC "
                                            "8461 section 3.1)."};
inline constexpr Kind kMtaStsSyntax{"MTA_STS_SYNTAX", Severity::kError,
                                    "With a record that cannot be read senders take it that there is no policy."};
inline constexpr Kind kMtaStsHostMissing{"MTA_STS_HOST_MISSING", Severity::kError,
                                         "The policy is fetched from this host; without an address there is none."};
inline constexpr Kind kMtaStsNotFetched{"MTA_STS_NOT_FETCHED", Severity::kNote,
                                        "Only the DNS was asked: whether the policy file is there, fits the id and "
                                        "names the MX hosts is for another tool to say."};
inline constexpr Kind kTlsRptMissing{"TLS_RPT_MISSING", Severity::kNote,
                                     "Nobody reports when mail to the domain could not be delivered over TLS."};
inline constexpr Kind kTlsRptSeveralRecords{"TLS_RPT_SEVERAL_RECORDS", Severity::kError,
                                            "With more than one record senders take it that there is none (RFC 8460 "
                                            "section 3)."};
inline constexpr Kind kTlsRptSyntax{"TLS_RPT_SYNTAX", Severity::kError,
                                    "With a record that cannot be read nobody sends reports."};
inline constexpr Kind kTlsRptAddress{"TLS_RPT_ADDRESS", Severity::kError,
                                     "Reports are sent to mailto: and https: addresses only."};

}  // namespace hallmark::posture::kinds
