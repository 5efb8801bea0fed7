#pragma once

// libopendkim's header is C only.
#ifdef __cplusplus
extern "C" {
#endif

#include <stddef.h>

struct OpenDkimPeer;

struct OpenDkimPeer* OpenDkimOpen(void);
void OpenDkimClose(struct OpenDkimPeer* peer);
// Canonicalizes (relaxed) and hashes a message as a signer does, up to the end of its body. What would follow, the
// signature and the end of the body hash, is left out to its favour. 1: done.
int OpenDkimHash(struct OpenDkimPeer* peer, char* body, size_t size);
// Signs a message with a PEM key in memory. 1: done.
int OpenDkimSign(struct OpenDkimPeer* peer, char* pem, int ed25519, char* body, size_t size);

#ifdef __cplusplus
}
#endif
