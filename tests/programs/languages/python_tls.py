"""A TLS client: a good connection, one to a server that nobody vouches for, one by another name. Arguments: port, the server's
certificate, another one."""
import socket
import ssl
import sys
import urllib.request

port, server, stranger = int(sys.argv[1]), sys.argv[2], sys.argv[3]
url = f"https://127.0.0.1:{port}/"


def context(certificate):
    made = ssl.create_default_context()
    made.load_verify_locations(cadata=certificate)
    return made


for _ in range(3):
    with urllib.request.urlopen(url, context=context(server)) as answer:
        text = answer.read().decode()
        print(answer.status, "TLSv1.3" in text)
with socket.create_connection(("127.0.0.1", port)) as plain:
    with context(server).wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        print(tls.version(), tls.cipher()[0], tls.getpeercert()["subject"])
        tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
        print(tls.recv(15))
for name, certificate in (("127.0.0.1", stranger), ("example.org", server)):
    try:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            context(certificate).wrap_socket(plain, server_hostname=name)
        print("accepted")
    except ssl.SSLCertVerificationError as e:
        print(e.verify_code, e.verify_message)
