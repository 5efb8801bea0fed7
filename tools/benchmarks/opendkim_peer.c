#include "tools/benchmarks/opendkim_peer.h"

#include <opendkim/dkim.h>
#include <string.h>
#include <sys/types.h>

struct OpenDkimPeer;

static DKIM_LIB* Library(struct OpenDkimPeer* peer) { return (DKIM_LIB*)peer; }

struct OpenDkimPeer* OpenDkimOpen(void) {
  return (struct OpenDkimPeer*)dkim_init(NULL, NULL);
}

void OpenDkimClose(struct OpenDkimPeer* peer) { dkim_close(Library(peer)); }

static int Feed(DKIM* dkim, char* body, size_t size) {
  static char* const fields[] = {"From: Joe SixPack <joe@example.com>", "To: Suzie Q <suzie@shopping.example.net>",
                                 "Subject: Is dinner ready?", "Date: Mon, 5 Jan 2026 09:30:00 +0000",
                                 "Message-ID: <20260105093000.12345@submit.example.com>"};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; ++i) {
    if (dkim_header(dkim, (u_char*)fields[i], strlen(fields[i])) != DKIM_STAT_OK) return 0;
  }
  return dkim_eoh(dkim) == DKIM_STAT_OK && dkim_body(dkim, (u_char*)body, size) == DKIM_STAT_OK;
}

static DKIM* Start(struct OpenDkimPeer* peer, char* pem, int ed25519) {
  DKIM_STAT status = DKIM_STAT_OK;
  return dkim_sign(Library(peer), (u_char*)"bench", NULL, (u_char*)pem, (u_char*)"s", (u_char*)"example.com",
                   DKIM_CANON_RELAXED, DKIM_CANON_RELAXED, ed25519 ? DKIM_SIGN_ED25519SHA256 : DKIM_SIGN_RSASHA256, -1,
                   &status);
}

int OpenDkimHash(struct OpenDkimPeer* peer, char* body, size_t size) {
  DKIM* dkim = Start(peer, "", 0);
  if (dkim == NULL) return 0;
  const int done = Feed(dkim, body, size);
  dkim_free(dkim);
  return done;
}

int OpenDkimSign(struct OpenDkimPeer* peer, char* pem, int ed25519, char* body, size_t size) {
  DKIM* dkim = Start(peer, pem, ed25519);
  if (dkim == NULL) return 0;
  u_char* field = NULL;
  size_t length = 0;
  const int done = Feed(dkim, body, size) && dkim_eom(dkim, NULL) == DKIM_STAT_OK &&
                   dkim_getsighdr_d(dkim, 0, &field, &length) == DKIM_STAT_OK && length > 0;
  dkim_free(dkim);
  return done;
}
