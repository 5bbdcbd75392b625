# cloister_part(NAME SOURCES … DEPS … LIBS … KERNEL_SOURCES … KERNEL_DEPS … TESTS … FUZZ … BENCH …)
#
#   SOURCES         files of the host library `cloister_NAME`
#   DEPS            other parts it uses (checked against the layering below)
#   LIBS            outside libraries
#   KERNEL_SOURCES  files that are also compiled for the in-enclave kernel into `cloister_NAME_k`
#                   (no libc at run time, general registers only, no exceptions)
#   TESTS           GoogleTest files, one program `NAME_test`
#   TEST_LIBS       libraries only the tests need
#   FUZZ            X_fuzz.cpp files; ordinary builds replay their corpus (folder corpus/X beside them) as a test
#   BENCH           Google Benchmark files, one program `NAME_bench`

set(CLOISTER_WARNINGS -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wimplicit-fallthrough -Wvla
    -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND CLOISTER_WARNINGS -Wno-restrict)  # GCC 12 invents overlaps in std::string (its bug 105651)
endif()
if(CLOISTER_WERROR)
  list(APPEND CLOISTER_WARNINGS -Werror)
endif()

# What each part may use. enclave and host never include each other.
set(CLOISTER_LAYER_base "")
set(CLOISTER_LAYER_crypto base)
set(CLOISTER_LAYER_volume base crypto)
set(CLOISTER_LAYER_sgx base crypto volume)
set(CLOISTER_LAYER_fuse base volume)
set(CLOISTER_LAYER_boundary base)
set(CLOISTER_LAYER_attestation base crypto sgx)
set(CLOISTER_LAYER_policy base crypto attestation)
set(CLOISTER_LAYER_enclave base crypto volume sgx boundary)
set(CLOISTER_LAYER_host base crypto sgx boundary)
set(CLOISTER_LAYER_agent base crypto sgx boundary attestation)
set(CLOISTER_LAYER_cas base crypto boundary attestation policy http collateral)
set(CLOISTER_LAYER_las base crypto sgx attestation)
set(CLOISTER_LAYER_http base crypto)
set(CLOISTER_LAYER_collateral base crypto attestation http)
set(CLOISTER_LAYER_transfer base crypto http)
set(CLOISTER_LAYER_cli base crypto volume fuse sgx boundary host attestation collateral policy http cas las transfer)

# The kernel's compiler flags: no vector registers, because the program's are live during a system call.
set(CLOISTER_KERNEL_FLAGS -O2 -g -fPIE -fno-exceptions -fno-rtti -mgeneral-regs-only -mno-red-zone
    -fno-stack-protector -fno-threadsafe-statics -fcf-protection=none -fno-asynchronous-unwind-tables
    -ffunction-sections -fdata-sections -fvisibility=hidden
    -U_FORTIFY_SOURCE -D_GLIBCXX_EXTERN_TEMPLATE=0 -D_GLIBCXX_ASSERTIONS=1 -DCLOISTER_KERNEL=1
    -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -fno-builtin-printf)

if(NOT CMAKE_BUILD_TYPE STREQUAL "Release")
  list(APPEND CLOISTER_KERNEL_FLAGS -DCLOISTER_LOCK_CHECKS=1)
endif()

set(CLOISTER_HOST_FLAGS -ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  list(APPEND CLOISTER_HOST_FLAGS -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fstack-clash-protection)
endif()
if(CLOISTER_SANITIZE)
  list(APPEND CLOISTER_HOST_FLAGS -fsanitize=${CLOISTER_SANITIZE} -fno-omit-frame-pointer
       -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CLOISTER_SANITIZE})
endif()
if(CLOISTER_FUZZ)
  list(APPEND CLOISTER_HOST_FLAGS -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()

find_package(Threads REQUIRED)
find_package(GTest REQUIRED)

function(cloister_check_layer name)
  foreach(dep ${ARGN})
    if(NOT dep IN_LIST CLOISTER_LAYER_${name})
      message(FATAL_ERROR "layering: ${name} must not use ${dep} (allowed: ${CLOISTER_LAYER_${name}})")
    endif()
  endforeach()
endfunction()

function(cloister_part name)
  cmake_parse_arguments(P "" "" "SOURCES;DEPS;LIBS;KERNEL_SOURCES;KERNEL_DEPS;TESTS;TEST_LIBS;FUZZ;BENCH" ${ARGN})
  cloister_check_layer(${name} ${P_DEPS} ${P_KERNEL_DEPS})

  if(P_SOURCES)
    add_library(cloister_${name} STATIC ${P_SOURCES})
    target_include_directories(cloister_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
    target_compile_options(cloister_${name} PRIVATE ${CLOISTER_WARNINGS} ${CLOISTER_HOST_FLAGS})
    foreach(dep ${P_DEPS})
      target_link_libraries(cloister_${name} PUBLIC cloister_${dep})
    endforeach()
    target_link_libraries(cloister_${name} PUBLIC ${P_LIBS} Threads::Threads)
  endif()

  if(P_KERNEL_SOURCES AND NOT CLOISTER_FUZZ)
    add_library(cloister_${name}_k STATIC ${P_KERNEL_SOURCES})
    target_include_directories(cloister_${name}_k PUBLIC ${CMAKE_SOURCE_DIR}/src)
    target_compile_options(cloister_${name}_k PRIVATE ${CLOISTER_WARNINGS}
        $<$<COMPILE_LANGUAGE:CXX,C>:${CLOISTER_KERNEL_FLAGS}>)
    foreach(dep ${P_KERNEL_DEPS})
      target_link_libraries(cloister_${name}_k PUBLIC cloister_${dep}_k)
    endforeach()
  endif()

  if(P_TESTS AND BUILD_TESTING AND NOT CLOISTER_FUZZ)
    add_executable(${name}_test ${P_TESTS})
    target_compile_options(${name}_test PRIVATE ${CLOISTER_WARNINGS} ${CLOISTER_HOST_FLAGS})
    target_link_libraries(${name}_test PRIVATE cloister_${name} ${P_TEST_LIBS} GTest::gtest GTest::gmock GTest::gtest_main)
    gtest_discover_tests(${name}_test DISCOVERY_MODE PRE_TEST TEST_PREFIX "${name}." PROPERTIES TIMEOUT 300 LABELS unit)
  endif()

  foreach(fuzz ${P_FUZZ})
    get_filename_component(target ${fuzz} NAME_WE)
    string(REGEX REPLACE "_fuzz$" "" corpus ${target})
    if(CLOISTER_FUZZ)
      add_executable(${target} ${fuzz})
      target_link_options(${target} PRIVATE -fsanitize=fuzzer,address,undefined)
    elseif(BUILD_TESTING)
      add_executable(${target} ${fuzz} ${CMAKE_SOURCE_DIR}/tests/support/fuzz_main.cpp)
      add_test(NAME fuzz.${corpus} COMMAND ${target} ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${corpus})
      set_tests_properties(fuzz.${corpus} PROPERTIES TIMEOUT 120 LABELS fuzz)
    endif()
    if(TARGET ${target})
      target_compile_options(${target} PRIVATE ${CLOISTER_WARNINGS} ${CLOISTER_HOST_FLAGS})
      target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support)
      target_link_libraries(${target} PRIVATE cloister_${name})
    endif()
  endforeach()

  if(P_BENCH AND NOT CLOISTER_FUZZ)
    find_package(benchmark REQUIRED)
    add_executable(${name}_bench ${P_BENCH})
    target_compile_options(${name}_bench PRIVATE ${CLOISTER_WARNINGS} ${CLOISTER_HOST_FLAGS})
    target_link_libraries(${name}_bench PRIVATE cloister_${name} benchmark::benchmark benchmark::benchmark_main)
  endif()
endfunction()
