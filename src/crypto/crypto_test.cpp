// Known answers: FIPS 180-4 examples, RFC 4231, RFC 5869, and the GCM specification's AES-256 test cases 13,
// 14 and 16.
#include <gtest/gtest.h>

#include <cstdlib>

#include "crypto/aes_gcm.h"
#include "crypto/random.h"
#include "crypto/sha256.h"

namespace cloister::crypto {
namespace {

Bytes hex(std::string_view text) { return from_hex(text).value(); }

TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(to_hex(sha256(as_bytes(""))), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256(as_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, PiecesGiveTheSameAsTheWhole) {
  Bytes data(1000);
  random_bytes(data);
  const Digest whole = sha256(data);
  for (size_t step = 1; step < 130; ++step) {
    Sha256 hash;
    for (size_t at = 0; at < data.size(); at += step) {
      hash.update(ByteView(data).subspan(at, std::min(step, data.size() - at)));
    }
    EXPECT_EQ(hash.finish(), whole) << step;
  }
}

TEST(HmacSha256, Rfc4231) {
  EXPECT_EQ(to_hex(hmac_sha256(Bytes(20, 0x0b), {as_bytes("Hi There")})),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(to_hex(hmac_sha256(as_bytes("Jefe"), {as_bytes("what do ya want "), as_bytes("for nothing?")})),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(to_hex(hmac_sha256(Bytes(131, 0xaa),
                               {as_bytes("Test Using Larger Than Block-Size Key - Hash Key First")})),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(HkdfSha256, Rfc5869) {
  Bytes out(42);
  hkdf_sha256(Bytes(22, 0x0b), hex("000102030405060708090a0b0c"), hex("f0f1f2f3f4f5f6f7f8f9"), out);
  EXPECT_EQ(to_hex(out),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  hkdf_sha256(Bytes(22, 0x0b), {}, {}, out);
  EXPECT_EQ(to_hex(out),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST(Aes256Gcm, SpecificationTestCases) {
  GcmTag tag;
  const Aes256Gcm zero{Key256()};
  zero.seal({}, {}, {}, {}, tag);
  EXPECT_EQ(to_hex(tag), "530f8afbc74536b9a963b4f1c4cb738b");
  Bytes out(16);
  zero.seal({}, {}, Bytes(16), out, tag);
  EXPECT_EQ(to_hex(out), "cea7403d4d606b6e074ec5d3baf39d18");
  EXPECT_EQ(to_hex(tag), "d0d1c8a799996bf0265b98b5d48ab919");

  Key256 key(array_from_hex<32>("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").value());
  const Bytes plain =
      hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b1"
          "6aedf5aa0de657"
          "ba637b39");
  Bytes cipher(plain.size());
  Aes256Gcm(key).seal(array_from_hex<12>("cafebabefacedbaddecaf888").value(),
                      hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"), plain, cipher, tag);
  EXPECT_EQ(to_hex(tag), "76fc6ece0f4e1768cddf8853bb2d551b");
}

TEST(Aes256Gcm, OpensOnlyWhatWasSealed) {
  const Aes256Gcm gcm{Key256(random_array<32>())};
  for (const size_t size : {size_t{0}, size_t{1}, size_t{15}, size_t{16}, size_t{4096}, size_t{70001}}) {
    Bytes plain(size), cipher(size), out(size);
    random_bytes(plain);
    const GcmNonce nonce = random_array<12>();
    GcmTag tag;
    gcm.seal(nonce, as_bytes("position 7"), plain, cipher, tag);
    ASSERT_TRUE(gcm.open(nonce, as_bytes("position 7"), cipher, tag, out));
    EXPECT_EQ(out, plain);
    EXPECT_FALSE(gcm.open(nonce, as_bytes("position 8"), cipher, tag, out));
    EXPECT_EQ(out, Bytes(size)) << "unverified plaintext left behind";
    GcmTag wrong = tag;
    wrong[15] ^= 1;
    EXPECT_FALSE(gcm.open(nonce, as_bytes("position 7"), cipher, wrong, out));
    if (size == 0) continue;
    cipher[size / 2] ^= 0x80;
    EXPECT_FALSE(gcm.open(nonce, as_bytes("position 7"), cipher, tag, out));
  }
}

TEST(Aes256Gcm, WorksInPlace) {
  const Aes256Gcm gcm{Key256(random_array<32>())};
  Bytes data(5000, 0x41);
  GcmTag tag;
  gcm.seal({}, {}, data, data, tag);
  EXPECT_NE(data, Bytes(5000, 0x41));
  ASSERT_TRUE(gcm.open({}, {}, data, tag, data));
  EXPECT_EQ(data, Bytes(5000, 0x41));
}

}  // namespace
}  // namespace cloister::crypto
