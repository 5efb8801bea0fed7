# Hallmark's targets. A library's headers are reached through an include root of its own, which holds nothing but that
# library's folder; so a file that includes a library its target does not link does not compile (docs/design.md, "Walls").

include(CheckCXXCompilerFlag)
include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)

# What makes a defect in memory harder to use: docs/security.md, "Hardening". tests/integration/hardening_test.py looks for
# it in what was built. The flags of other processors, or that a compiler does not have, are left out.
add_library(hallmark_hardening INTERFACE)
target_compile_options(hallmark_hardening INTERFACE -fstack-protector-strong)
foreach(flag -fstack-clash-protection -fcf-protection=full -mbranch-protection=standard)
  string(MAKE_C_IDENTIFIER "HALLMARK_HAS${flag}" has)
  set(CMAKE_REQUIRED_FLAGS -Werror)  # clang only warns of what is for other processors
  check_cxx_compiler_flag(${flag} ${has})
  unset(CMAKE_REQUIRED_FLAGS)
  if(${has})
    target_compile_options(hallmark_hardening INTERFACE ${flag})
  endif()
endforeach()
if(HALLMARK_SANITIZE)
  # The library's own bounds, which no sanitizer sees inside of a buffer.
  target_compile_options(hallmark_hardening INTERFACE -D_GLIBCXX_ASSERTIONS)
elseif(CMAKE_BUILD_TYPE MATCHES "Rel")
  target_compile_options(hallmark_hardening INTERFACE -D_FORTIFY_SOURCE=3)
endif()
target_link_options(hallmark_hardening INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code)

add_library(hallmark_options INTERFACE)
target_compile_options(hallmark_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Woverloaded-virtual
  -Wimplicit-fallthrough -Wswitch -Werror -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports these in its own standard library under optimisation and sanitizers.
  target_compile_options(hallmark_options INTERFACE -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow
    -Wno-stringop-overread -Wno-array-bounds -Wno-tsan)
endif()
# What generated code takes part in too.
add_library(hallmark_sanitizers INTERFACE)
target_link_libraries(hallmark_sanitizers INTERFACE hallmark_hardening)
target_link_libraries(hallmark_options INTERFACE hallmark_sanitizers)
if(HALLMARK_SANITIZE)
  target_compile_options(hallmark_sanitizers INTERFACE -fsanitize=${HALLMARK_SANITIZE})
  target_compile_options(hallmark_options INTERFACE -fno-sanitize-recover=all)
  target_link_options(hallmark_options INTERFACE -fsanitize=${HALLMARK_SANITIZE})
  add_library(hallmark_sanitizer_defaults OBJECT ${CMAKE_SOURCE_DIR}/cmake/sanitizer_defaults.cc)
endif()
if(HALLMARK_SANITIZE MATCHES "thread")
  # protobuf's headers would give maps another layout than the system's library has.
  target_compile_options(hallmark_sanitizers INTERFACE -U__SANITIZE_THREAD__)
endif()
if(HALLMARK_FUZZ)
  target_compile_options(hallmark_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Bare names in LINK are our own libraries; anything with "::" or that is a target already is taken as it is.
function(_hallmark_resolve out)
  set(resolved "")
  foreach(name IN LISTS ARGN)
    if(name MATCHES "::")
      list(APPEND resolved ${name})
    else()
      list(APPEND resolved hallmark_${name})
    endif()
  endforeach()
  set(${out} "${resolved}" PARENT_SCOPE)
endfunction()

# The include root of library NAME: build/include/NAME/<DIR> is a link to the source folder.
function(_hallmark_include_root name dir out)
  set(root ${CMAKE_BINARY_DIR}/include/${name})
  get_filename_component(parent ${root}/${dir} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  if(NOT EXISTS ${root}/${dir})
    file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${dir} ${root}/${dir} SYMBOLIC)
  endif()
  set(${out} ${root} PARENT_SCOPE)
endfunction()

# hallmark_library(NAME n DIR folder SOURCES a.cc ... LINK m ...). Without SOURCES it is a header-only target.
# HEADERS_ONLY files of a folder that two targets share are named with ROOT_FILES (then only those are reachable).
function(hallmark_library)
  cmake_parse_arguments(ARG "" "NAME;DIR" "SOURCES;LINK;ROOT_FILES" ${ARGN})
  _hallmark_resolve(links ${ARG_LINK})
  if(ARG_ROOT_FILES)
    set(root ${CMAKE_BINARY_DIR}/include/${ARG_NAME})
    foreach(file IN LISTS ARG_ROOT_FILES)
      file(MAKE_DIRECTORY ${root}/${ARG_DIR})
      if(NOT EXISTS ${root}/${ARG_DIR}/${file})
        file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${ARG_DIR}/${file} ${root}/${ARG_DIR}/${file} SYMBOLIC)
      endif()
    endforeach()
  else()
    _hallmark_include_root(${ARG_NAME} ${ARG_DIR} root)
  endif()
  if(ARG_SOURCES)
    add_library(hallmark_${ARG_NAME} STATIC ${ARG_SOURCES})
    target_include_directories(hallmark_${ARG_NAME} PUBLIC ${root})
    target_link_libraries(hallmark_${ARG_NAME} PUBLIC ${links} PRIVATE hallmark_options)
  else()
    add_library(hallmark_${ARG_NAME} INTERFACE)
    target_include_directories(hallmark_${ARG_NAME} INTERFACE ${root})
    target_link_libraries(hallmark_${ARG_NAME} INTERFACE ${links})
  endif()
endfunction()

function(_hallmark_program name)
  add_executable(${name} ${ARGN})
  if(TARGET hallmark_sanitizer_defaults)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:hallmark_sanitizer_defaults>)
  endif()
endfunction()

function(hallmark_executable)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;LINK" ${ARGN})
  _hallmark_resolve(links ${ARG_LINK})
  _hallmark_program(${ARG_NAME} ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PRIVATE ${links} hallmark_options)
  target_compile_definitions(${ARG_NAME} PRIVATE HALLMARK_VERSION="${PROJECT_VERSION}")
endfunction()

# hallmark_test(NAME n SOURCES ... LINK ... [ENV K=V ...] [TIMEOUT s] [LABELS l ...]): one GoogleTest program, one ctest entry.
function(hallmark_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SOURCES;LINK;ENV;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  _hallmark_resolve(links ${ARG_LINK})
  _hallmark_program(${ARG_NAME} ${ARG_SOURCES})
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${ARG_NAME} PRIVATE ${links} GTest::gtest GTest::gmock GTest::gtest_main hallmark_options)
  target_compile_definitions(${ARG_NAME} PRIVATE HALLMARK_TESTS_DIR="${CMAKE_SOURCE_DIR}/tests"
    HALLMARK_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME} WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
  set_tests_properties(${ARG_NAME} PROPERTIES ENVIRONMENT "${ARG_ENV};UBSAN_OPTIONS=print_stacktrace=1")
endfunction()

# hallmark_python_test(NAME n FILE f.py [TIMEOUT s] [LABELS l ...]): a unittest file run by Debian's python3. Where it left tests out, some or
# all, and nothing failed, ctest says Skipped: unittest itself calls that a success. -v: which ones and why is in ctest's log.
function(hallmark_python_test)
  cmake_parse_arguments(ARG "" "NAME;FILE;TIMEOUT" "LABELS;ENV" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_test(NAME ${ARG_NAME} COMMAND /usr/bin/python3 -B ${ARG_FILE} -v WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}" SKIP_REGULAR_EXPRESSION "OK \\(skipped="
    ENVIRONMENT "HALLMARK_BUILD=${CMAKE_BINARY_DIR};PYTHONPATH=${CMAKE_BINARY_DIR}/proto/python:${CMAKE_SOURCE_DIR}/tests/integration;${ARG_ENV}")
endfunction()

# hallmark_fuzz(NAME n SOURCES ... LINK ...): a libFuzzer target with HALLMARK_FUZZ; a test with its seeds without.
function(hallmark_fuzz)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;LINK" ${ARGN})
  _hallmark_resolve(links ${ARG_LINK})
  if(HALLMARK_FUZZ)  # without hallmark_sanitizer_defaults, which overlook some leaks
    add_executable(${ARG_NAME} ${ARG_SOURCES})
    target_link_libraries(${ARG_NAME} PRIVATE ${links} hallmark_options)
    set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    target_link_options(${ARG_NAME} PRIVATE -fsanitize=fuzzer)
    return()
  endif()
  if(NOT TARGET hallmark_fuzz_replay)
    add_library(hallmark_fuzz_replay OBJECT ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.cc)
    target_link_libraries(hallmark_fuzz_replay PRIVATE hallmark_options)
  endif()
  _hallmark_program(${ARG_NAME} ${ARG_SOURCES} $<TARGET_OBJECTS:hallmark_fuzz_replay>)
  target_link_libraries(${ARG_NAME} PRIVATE ${links} hallmark_options)
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${ARG_NAME})
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT 300 LABELS unit)
endfunction()
