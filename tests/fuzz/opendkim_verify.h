#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Whether libopendkim finds that the one signature of the message is good. `key_file` has the lines of a key file
// ("NAME VALUE"), and is read at each call. NULL: it is; otherwise why not, until the next call.
const char* OpenDkimRefuses(const char* key_file, const char* message, size_t size);

#ifdef __cplusplus
}
#endif
