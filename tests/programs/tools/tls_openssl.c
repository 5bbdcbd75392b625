// A TLS client of OpenSSL's libraries, to be linked statically. Usage: tls_openssl PORT CERTIFICATE.pem NAME
// Prints the lines of the server's page that name a protocol; exit code 1: the certificate is not NAME's.
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int main(int count, char** words) {
  if (count < 4) return 2;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr*)&address, sizeof address) != 0) return 3;
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  if (SSL_CTX_load_verify_locations(context, words[2], NULL) != 1) return 4;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  SSL* tls = SSL_new(context);
  SSL_set1_host(tls, words[3]);
  SSL_set_fd(tls, fd);
  if (SSL_connect(tls) != 1) {
    printf("%s\n", X509_verify_cert_error_string(SSL_get_verify_result(tls)));
    return 1;
  }
  const char request[] = "GET / HTTP/1.0\r\n\r\n";
  static char page[1 << 16];
  int size = 0, more;
  SSL_write(tls, request, sizeof request - 1);
  while ((more = SSL_read(tls, page + size, (int)sizeof page - 1 - size)) > 0) size += more;
  for (char* line = strtok(page, "\r\n"); line != NULL; line = strtok(NULL, "\r\n"))
    if (strstr(line, "Protocol") != NULL) puts(line);
  return 0;
}
