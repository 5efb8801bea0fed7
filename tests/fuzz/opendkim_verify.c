#include "opendkim_verify.h"

#include <opendkim/dkim.h>
#include <string.h>
#include <sys/types.h>

static DKIM_LIB* Library(const char* key_file) {
  static DKIM_LIB* library = NULL;
  dkim_query_t method = DKIM_QUERY_FILE;
  if (library != NULL) return library;
  library = dkim_init(NULL, NULL);
  if (library == NULL ||
      dkim_options(library, DKIM_OP_SETOPT, DKIM_OPTS_QUERYMETHOD, &method, sizeof method) != DKIM_STAT_OK ||
      dkim_options(library, DKIM_OP_SETOPT, DKIM_OPTS_QUERYINFO, (void*)key_file, strlen(key_file)) != DKIM_STAT_OK) {
    return NULL;
  }
  return library;
}

static const char* Judge(DKIM* dkim) {
  DKIM_SIGINFO** signatures = NULL;
  int count = 0;
  dkim_eom(dkim, NULL); /* what it says is of the signature, and said again below */
  if (dkim_getsiglist(dkim, &signatures, &count) != DKIM_STAT_OK || count != 1)
    return "libopendkim does not see one signature";
  dkim_sig_process(dkim, signatures[0]);
  if ((dkim_sig_getflags(signatures[0]) & DKIM_SIGFLAG_PASSED) == 0)
    return dkim_sig_geterrorstr(dkim_sig_geterror(signatures[0]));
  return dkim_sig_getbh(signatures[0]) == DKIM_SIGBH_MATCH ? NULL : "the body hash is another one to libopendkim";
}

const char* OpenDkimRefuses(const char* key_file, const char* message, size_t size) {
  DKIM_STAT status = DKIM_STAT_OK;
  DKIM_LIB* library = Library(key_file);
  DKIM* dkim = library == NULL ? NULL : dkim_verify(library, (const u_char*)"fuzz", NULL, &status);
  const char* why;
  if (dkim == NULL) return "libopendkim gives no handle";
  if (dkim_chunk(dkim, (u_char*)message, size) == DKIM_STAT_OK && dkim_chunk(dkim, NULL, 0) == DKIM_STAT_OK) {
    why = Judge(dkim);
  } else {
    why = "libopendkim does not take the message";
  }
  dkim_free(dkim);
  return why;
}
