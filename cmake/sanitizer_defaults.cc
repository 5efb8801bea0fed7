// What the sanitizers are to overlook. Built into every program of a sanitizer build, so that it holds for programs
// that tests start, too.

// Debian's gRPC, protobuf, Abseil and OpenSSL were not built for ThreadSanitizer: it sees what they do to memory, but
// not the atomics that order it.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() {
  return "ignore_noninstrumented_modules=1"
         // Each place that is overlooked would be remembered in a list and looked for in it ever after.
         ":suppress_equal_addresses=0";
}
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:libgrpc\n"
         "race:libgpr\n"
         "race:libupb\n"
         "race:libabsl\n"
         "race:libprotobuf\n"
         "race:libcrypto\n"
         "race:libssl\n"
         // What goes through gRPC's completion queue is ordered by it, which is not to be seen either.
         "race:tools/dkimload/load_run.cc\n"
         "race:libsofthsm2\n"
         "mutex:libsofthsm2\n"
         "deadlock:libsofthsm2\n"
         // libstdc++ 12: load() of an atomic shared_ptr unlocks with a relaxed store, which is enough, but not to be
         // seen.
         "race:std::_Sp_atomic\n";
}

// What libraries of the system keep until the process ends.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libgrpc\n"
         "leak:libp11-kit\n"
         "leak:libsofthsm2\n"
         "leak:libcrypto\n";
}
