"""A client of the attestation protocol written from docs/formats/attest-protocol.md alone: nothing of ours is
imported, TLS is the system's OpenSSL. It attests as a TDX machine whose quotes come from
`make_evidence FOLDER tdx`, publishes tags, resumes, and tries what must be refused.
Usage: second_client.py HOST:PORT CAS_KEY QUOTES_IN QUOTES_OUT COLLATERAL SUBJECT"""
import ctypes, hashlib, hmac, signal, socket, struct, subprocess, sys, tempfile

ssl = ctypes.CDLL("libssl.so.3")
crypto = ctypes.CDLL("libcrypto.so.3")
for library, name, result, arguments in [
        (ssl, "TLS_client_method", "p", ""), (ssl, "SSL_CTX_new", "p", "p"), (ssl, "SSL_new", "p", "p"),
        (ssl, "SSL_CTX_ctrl", "l", "pilp"), (ssl, "SSL_CTX_use_certificate_file", "i", "psi"),
        (ssl, "SSL_CTX_use_PrivateKey_file", "i", "psi"), (ssl, "SSL_set_fd", "i", "pi"),
        (ssl, "SSL_connect", "i", "p"), (ssl, "SSL_get_error", "i", "pi"),
        (ssl, "SSL_read", "i", "psi"), (ssl, "SSL_write", "i", "psi"),
        (ssl, "SSL_get1_peer_certificate", "p", "p"), (ssl, "SSL_export_keying_material", "i", "pslslsli"),
        (crypto, "X509_get_X509_PUBKEY", "p", "p"),
        (crypto, "i2d_X509_PUBKEY", "i", "pp")]:
    types = {"p": ctypes.c_void_p, "l": ctypes.c_long, "i": ctypes.c_int, "s": ctypes.c_char_p}
    function = getattr(library, name)
    function.restype, function.argtypes = types[result], [types[letter] for letter in arguments]

HELLO, ATTEST, RELEASED, DENIED, RESUME, TAGS, EXIT, REPLY = range(1, 9)

# What a service says with a code. The words are its own and not the page's; they tell apart
# what has the same code.
VERSION = (1, "protocol version 1 only")
MALFORMED = (2, "malformed request")
NONCE = (3, "the nonce is not this connection's")
EVIDENCE = (4, "the evidence is not accepted")
BINDING = (5, "the evidence was made for another connection, role or session")
UNKNOWN = (6, "there is no such session or service")
TOKEN = (6, "The program enclave is not trustworthy (service-access-token)")
INSTANCE = (6, "this instance is not known: its lease has ended")
TAG = (8, "The FSPF tag is not fresh - suspected replay attack")
LEASE = (9, "the lease on volume `out` is lost: another instance writes now")
DONE = (0, "")


def fields(*items): return b"".join(struct.pack("<I", len(item)) + item for item in items)


class Reader:
    def __init__(self, data): self.data = data
    def take(self, size):
        assert len(self.data) >= size, "too short"
        out, self.data = self.data[:size], self.data[size:]
        return out
    def number(self, form): return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]
    def field(self): return self.take(self.number("I"))
    def end(self): assert not self.data, "left over"


class Key:
    def __init__(self, folder, name):
        self.path = f"{folder}/{name}"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", "/CN=x", "-keyout", self.path + ".key", "-out", self.path + ".pem")
        spki = self.openssl("pkey", "-in", self.path + ".key", "-pubout", "-outform", "DER")
        self.hash = hashlib.sha256(spki).digest()

    @staticmethod
    def openssl(*words): return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout


class Connection:
    def __init__(self, address, key):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 10)
        self.socket.settimeout(None)  # OpenSSL wants a descriptor that waits; but not for ever
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", 15, 0))
        context = ssl.SSL_CTX_new(ssl.TLS_client_method())
        assert ssl.SSL_CTX_ctrl(context, 123, 0x0304, None) == 1  # TLS 1.3 at least
        assert ssl.SSL_CTX_use_certificate_file(context, (key.path + ".pem").encode(), 1) == 1
        assert ssl.SSL_CTX_use_PrivateKey_file(context, (key.path + ".key").encode(), 1) == 1
        self.tls, self.key = ssl.SSL_new(context), key
        ssl.SSL_set_fd(self.tls, self.socket.fileno())
        assert ssl.SSL_connect(self.tls) == 1, "TLS"
        public = crypto.X509_get_X509_PUBKEY(ssl.SSL_get1_peer_certificate(self.tls))
        room = ctypes.create_string_buffer(crypto.i2d_X509_PUBKEY(public, None))
        crypto.i2d_X509_PUBKEY(public, ctypes.byref(ctypes.cast(room, ctypes.c_void_p)))
        self.peer = hashlib.sha256(room.raw).digest()
        out, label = ctypes.create_string_buffer(32), b"EXPORTER-Channel-Binding"
        assert ssl.SSL_export_keying_material(self.tls, out, 32, label, len(label), b"", 0, 1) == 1
        self.exporter = out.raw
        kind, payload = self.receive()
        assert kind == HELLO
        reader = Reader(payload)
        self.version, self.nonce = reader.number("H"), reader.take(32)
        self.lifetime, self.kinds = reader.number("I"), reader.number("I")
        reader.end()

    def send(self, kind, payload):
        data = struct.pack("<BI", kind, len(payload)) + payload
        assert ssl.SSL_write(self.tls, data, len(data)) == len(data)

    def read(self, size):
        out, part = b"", ctypes.create_string_buffer(65536)
        while len(out) < size:
            count = ssl.SSL_read(self.tls, part, min(65536, size - len(out)))
            assert count > 0, f"it ended, or 15 s without an answer ({ssl.SSL_get_error(self.tls, count)})"
            out += part.raw[:count]
        return out

    def receive(self):
        kind, size = struct.unpack("<BI", self.read(5))
        return kind, self.read(size)

    def reply(self):
        kind, payload = self.receive()
        assert kind == REPLY, kind
        reader = Reader(payload)
        sequence, code, text = reader.number("Q"), reader.number("H"), reader.field()
        reader.end()
        return sequence, (code, text.decode())

    # By a close_notify, which a mere silence is not.
    def expect_end(self):
        count = ssl.SSL_read(self.tls, ctypes.create_string_buffer(1), 1)
        assert count <= 0 and ssl.SSL_get_error(self.tls, count) == 6, "it goes on after a refusal"


class Client:
    def __init__(self, address, quotes_in, quotes_out, collateral):
        self.address, self.collateral = address, collateral
        self.quotes_in, self.quotes_out = quotes_in, quotes_out

    def quote(self, data):
        self.quotes_in.write(data.hex() + "\n")
        self.quotes_in.flush()
        quote = bytes.fromhex(self.quotes_out.readline().strip())
        assert quote, "no quote came"
        return quote

    # `bound`, `said`: what the evidence is over and what the message says, where that is not to be the truth.
    # Returns (DONE, what was released) or (code and text, None).
    def attest(self, connection, subject, bound=None, said=None, token=None, quote=None):
        truth = {"version": 1, "role": 1, "kind": 3, "nonce": connection.nonce,
                 "exporter": connection.exporter, "own": connection.key.hash, "peer": connection.peer,
                 "subject": subject.encode(), "password": b"", "arguments": [b"one"], "proof": b""}
        if token is not None: truth["proof"] = self.proof(truth, token, 1)
        bound, said = truth | (bound or {}), truth | (said or {})
        runtime = hashlib.sha256(fields(b"cloister-runtime-v1", struct.pack("<H", bound["version"]),
                                        bound["password"], bound["proof"], *bound["arguments"])).digest()
        data = hashlib.sha512(fields(b"cloister-attest-v1", bytes([bound["role"]]), bound["nonce"],
                                     bound["exporter"], bound["own"], bound["peer"], bound["subject"],
                                     runtime)).digest()
        self.last = quote or self.quote(data)
        head = struct.pack("<HBB", said["version"], said["role"], said["kind"]) + said["nonce"]
        who = fields(said["subject"], said["password"], said["proof"])
        count = struct.pack("<I", len(said["arguments"]))
        connection.send(ATTEST, head + who + count + fields(*said["arguments"], self.last, self.collateral))
        kind, payload = connection.receive()
        reader = Reader(payload)
        if kind == DENIED:
            code, text = reader.number("H"), reader.field()
            reader.end()
            connection.expect_end()
            return (code, text.decode()), None
        assert kind == RELEASED, kind
        out = {"instance": reader.take(16), "lease": reader.number("I"), "proof": reader.field()}
        out |= self.configuration(reader.field())
        reader.end()
        if token is not None:
            assert out["proof"] == self.proof(truth, token, 2), "the service does not know the token"
        return DONE, out

    @staticmethod
    def proof(truth, token, role):
        ends = fields(truth["nonce"], truth["exporter"], truth["own"], truth["peer"])
        channel = hashlib.sha256(ends).digest()
        message = fields(b"cloister-access-v1", bytes([role]), channel, truth["subject"])
        return hmac.new(token, message, hashlib.sha256).digest()

    @staticmethod
    def configuration(data):
        reader = Reader(data)
        assert reader.take(4) == b"CLCF" and reader.number("H") == 1
        out = {"again": reader.take(16)}
        def many(read): return [read() for _ in range(reader.number("I"))]
        for name in ("arguments", "environment"): out[name] = many(lambda: reader.field().decode())
        out["folder"] = reader.field()
        out["volumes"] = many(lambda: {
            "name": reader.field(), "path": reader.field(), "key": reader.take(32), "tag": reader.take(16),
            "flags": reader.number("B"), "policy": reader.number("B"), "sync": reader.number("B"),
            "epoch": reader.number("Q")})
        out["files"] = many(lambda: (reader.field(), reader.number("H"), reader.field()))
        reader.end()
        return out


def tags(sequence, volume, previous, next_tag, epoch):
    return struct.pack("<QI", sequence, 1) + fields(volume) + previous + next_tag + struct.pack("<Q", epoch)


def main():
    signal.alarm(90)  # whoever it is that does not answer
    address, cas_key, quotes_in, quotes_out, collateral, subject = sys.argv[1:]
    with (tempfile.TemporaryDirectory() as folder, open(quotes_in, "w") as ask, open(quotes_out) as answers,
          open(collateral, "rb") as bundle):
        assert answers.readline() == "ready\n"
        client = Client(address, ask, answers, bundle.read())
        key, other = Key(folder, "instance"), Key(folder, "other")

        def refused(expected, bound=None, said=None, quote=None, wanted=subject, **more):
            connection = Connection(address, more.pop("key", key))
            found, _ = client.attest(connection, wanted, bound, said, quote=quote, **more)
            assert found == expected, (expected, found, bound, said, wanted)

        # What differs from the request that is accepted below is one thing each.
        refused(VERSION, said={"version": 2})
        refused(VERSION, said={"version": 0}, bound={"version": 0})
        refused(MALFORMED, said={"role": 2}, bound={"role": 2})
        refused(MALFORMED, said={"kind": 4})
        refused(MALFORMED, said={"subject": b""})
        refused(MALFORMED, said={"arguments": [b"a\0b"]})
        refused(NONCE, said={"nonce": bytes(32)}, bound={"nonce": bytes(32)})
        refused(EVIDENCE, said={"kind": 1})
        refused(EVIDENCE, quote=b"not a quote")
        spare = Connection(address, key)
        refused(NONCE, said={"nonce": spare.nonce}, bound={"nonce": spare.nonce})
        for bound in ({"role": 2}, {"exporter": spare.exporter}, {"own": other.hash}, {"peer": other.hash},
                      {"subject": b"other/app"}, {"arguments": [b"two"]}, {"password": b"1"},
                      {"proof": bytes(32)}, {"nonce": spare.nonce}, {"version": 2}):
            refused(BINDING, bound=bound)
        session = subject.rsplit("/", 1)[0]
        refused(UNKNOWN, wanted="nowhere/app")
        refused(UNKNOWN, wanted=session + "/nobody")

        # The configuration; a token that both ends prove.
        connection = Connection(address, key)
        assert connection.peer.hex() == cas_key and connection.version == 1 and connection.lifetime == 30000
        assert connection.kinds == 1 << 1 | 1 << 3, "it has no revocation list of AMD's"
        found, released = client.attest(connection, subject)
        assert found == DONE, found
        assert released["instance"] == released["again"]
        assert released["lease"] == 0 and released["proof"] == b""
        assert released["arguments"] == ["app", "the secret", "one"], released["arguments"]
        [volume] = released["volumes"]
        assert volume["name"] == b"out" and volume["path"] == b"/out", volume
        assert volume["flags"] == 1 and volume["tag"] == bytes(16), volume
        assert released["files"] == [(b"/etc/word", 0o400, b"the secret")]
        refused(BINDING, quote=client.last)  # the same key, the same session, another connection
        guarded = session + "-token/app"
        found, _ = client.attest(Connection(address, other), guarded, token=b"open-sesame")
        assert found == DONE, found
        refused(TOKEN, wanted=guarded, token=b"open-barley", key=other)
        refused(TOKEN, wanted=guarded, key=other)

        # Tags, their refusals, a second connection, the end.
        one, two, epoch = bytes([1]) * 16, bytes([2]) * 16, volume["epoch"]
        for sequence, previous, next_tag, at, expected in (
                (1, bytes(16), one, epoch, DONE), (2, bytes(16), one, epoch, DONE),
                (3, two, two[:15] + b"x", epoch, TAG), (4, one, two, epoch, DONE),
                (5, two, one, epoch - 1, LEASE)):
            connection.send(TAGS, tags(sequence, b"out", previous, next_tag, at))
            answer = connection.reply()
            assert answer == (sequence, expected), answer
        mine = released["instance"]
        for who, instance, version, expected in ((other, mine, 1, INSTANCE), (key, bytes(16), 1, INSTANCE),
                                                 (key, mine, 2, VERSION), (key, mine, 1, DONE)):
            again = Connection(address, who)
            again.send(RESUME, struct.pack("<H", version) + instance)
            answer = again.reply()
            assert answer == (0, expected), answer
            if expected != DONE: again.expect_end()
        again.send(EXIT, struct.pack("<Qi", 6, 0))
        answer = again.reply()
        assert answer == (6, DONE), answer
        ended = Connection(address, key)
        ended.send(RESUME, struct.pack("<H", 1) + mine)
        assert ended.reply() == (0, INSTANCE), "it has said that it ends"
        print("second client: all passed")


main()
