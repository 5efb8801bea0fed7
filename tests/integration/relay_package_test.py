"""The relay client as others get it: installed, found by CMake and by pkg-config, and its example signs at a real signerd."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import deployment
import mail_way
import messages

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "tools/relay-client/examples/cpp"


def run(*command, **options):
    finished = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, check=False, **options)
    if finished.returncode != 0:
        raise AssertionError(f"{command} ended with {finished.returncode}:\n{finished.stdout}{finished.stderr}")
    return finished.stdout


class RelayPackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.prefix = cls.folder / "installed"
        for component in ("relay", "relay-dev"):
            run("cmake", "--install", deployment.BUILD / "tools/relay-client/shared", "--prefix", cls.prefix, "--component", component)
        cls.library = next(cls.prefix.rglob("libhallmark-relay.so.0"))
        cls.hallmark = deployment.Deployment()
        cls.addClassCleanup(cls.hallmark.close)
        cls.hallmark.add_domain("example.com")

    def assert_signs(self, program):
        """The example, built, signs two files, and refuses one that it may not sign."""
        files = {"one.eml": messages.MESSAGE, "large.eml": messages.MESSAGE + b"x \t y\r\n" * 100_000,
                 "other.eml": messages.MESSAGE.replace(b"example.com>", b"elsewhere.example>")}
        for name, octets in files.items():
            (self.folder / name).write_bytes(octets)
        tls = self.hallmark.folder / "tls"
        server = self.hallmark.signing_address.replace("127.0.0.1", "localhost")  # which the certificate names
        finished = subprocess.run([program, server, tls / "server-ca.pem", tls / "relay1.pem", tls / "relay1.key",
                                   *(self.folder / name for name in files)], capture_output=True, text=True, timeout=120, check=False,
                                  env={**os.environ, "LD_LIBRARY_PATH": str(self.library.parent)})
        self.assertEqual(finished.returncode, 1, finished.stderr)
        self.assertIn("other.eml: 550 5.7.1 is not signed here (DOMAIN_NOT_CONFIGURED", finished.stderr)
        self.assertFalse((self.folder / "other.eml.signed").exists())
        keys = mail_way.keys_of(self.hallmark.key_lines(["example.com"]))
        for name in ("one.eml", "large.eml"):
            signed = (self.folder / f"{name}.signed").read_bytes()
            self.assertTrue(signed.endswith(files[name]))
            self.assertEqual([accepted for _, _, accepted in mail_way.own_signatures(signed, keys)], [True, True], name)

    def test_found_by_cmake(self):
        build = self.folder / "cmake"
        run("cmake", "-S", EXAMPLE, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
        run("cmake", "--build", build)
        self.assert_signs(build / "sign_files")

    def test_found_by_pkg_config_and_content_with_c_plus_plus_17(self):
        environment = {**os.environ, "PKG_CONFIG_PATH": str(self.library.parent / "pkgconfig")}
        flags = run("pkg-config", "--cflags", "--libs", "hallmark-relay", env=environment).split()
        program = self.folder / "by-pkg-config"
        run("c++", "-std=c++17", EXAMPLE / "sign_files.cc", "-o", program, *flags)
        self.assert_signs(program)

    def test_it_exports_its_own_names_only(self):
        names = run("nm", "-D", "-C", "--defined-only", self.library)
        for line in names.splitlines():
            self.assertRegex(line, r" T hallmark::relay::(Client|Message)::| A HALLMARK_RELAY_0$")
        self.assertIn("hallmark::relay::Client::Connect", names)
        self.assertRegex(run("readelf", "-d", self.library), r"SONAME.*\[libhallmark-relay\.so\.0\]")

    def test_a_program_may_have_the_api_files_of_its_own(self):
        source = self.folder / "own_api.cc"
        source.write_text('#include <hallmark/relay_client.h>\n#include "google/rpc/status.pb.h"\n'
                          'int main() { google::rpc::Status status; status.set_code(5);\n'
                          '  return hallmark::relay::Client::Connect({}).failure ? status.code() : 0; }\n')
        generated = deployment.BUILD / "proto/cpp"
        program = self.folder / "own-api"
        run("c++", "-std=c++17", source, generated / "google/rpc/status.pb.cc", f"-I{generated}", f"-I{self.prefix}/include", "-o", program,
            f"-L{self.library.parent}", "-lhallmark-relay", "-lprotobuf")
        finished = subprocess.run([program], env={**os.environ, "LD_LIBRARY_PATH": str(self.library.parent)}, check=False, timeout=60)
        self.assertEqual(finished.returncode, 5)


if __name__ == "__main__":
    unittest.main()
