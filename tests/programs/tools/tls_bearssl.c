// A TLS client of BearSSL, which needs so little of a C library that Debian's archive, made with glibc, links
// with musl.
// Usage: tls_bearssl PORT CERTIFICATE.der NAME. Prints as tls_openssl does.
#include <arpa/inet.h>
#include <bearssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// What that archive takes from glibc alone.
void* __memcpy_chk(void* to, const void* from, size_t size, size_t room) {
  if (size > room) abort();
  return memcpy(to, from, size);
}
void* __memmove_chk(void* to, const void* from, size_t size, size_t room) {
  if (size > room) abort();
  return memmove(to, from, size);
}
void* __memset_chk(void* to, int value, size_t size, size_t room) {
  if (size > room) abort();
  return memset(to, value, size);
}

static int receive(void* fd, unsigned char* to, size_t size) {
  const ssize_t done = read(*(int*)fd, to, size);
  return done > 0 ? (int)done : -1;
}
static int send_all(void* fd, const unsigned char* from, size_t size) {
  const ssize_t done = write(*(int*)fd, from, size);
  return done > 0 ? (int)done : -1;
}

static unsigned char name[1024];
static size_t name_size;
static void append_name(void* unused, const void* from, size_t size) {
  (void)unused;
  if (name_size + size > sizeof name) abort();
  memcpy(name + name_size, from, size);
  name_size += size;
}

static void load_anchor(const char* path, br_x509_decoder_context* decoder, br_x509_trust_anchor* anchor) {
  static unsigned char certificate[4096];
  FILE* file = fopen(path, "rb");
  if (file == NULL) abort();
  br_x509_decoder_init(decoder, append_name, NULL);
  br_x509_decoder_push(decoder, certificate, fread(certificate, 1, sizeof certificate, file));
  fclose(file);
  if (br_x509_decoder_get_pkey(decoder) == NULL) abort();
  anchor->dn.data = name;
  anchor->dn.len = name_size;
  anchor->pkey = *br_x509_decoder_get_pkey(decoder);
  anchor->flags = BR_X509_TA_CA;
}

int main(int count, char** words) {
  if (count < 4) return 2;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr*)&address, sizeof address) != 0) return 3;
  static br_x509_decoder_context decoder;
  static br_x509_trust_anchor anchor;
  load_anchor(words[2], &decoder, &anchor);
  static br_ssl_client_context client;
  static br_x509_minimal_context verifier;
  static unsigned char buffer[BR_SSL_BUFSIZE_BIDI];
  br_ssl_client_init_full(&client, &verifier, &anchor, 1);
  br_ssl_engine_set_buffer(&client.eng, buffer, sizeof buffer, 1);
  br_ssl_client_reset(&client, words[3], 0);
  br_sslio_context stream;
  br_sslio_init(&stream, &client.eng, receive, &fd, send_all, &fd);
  const char request[] = "GET / HTTP/1.0\r\n\r\n";
  br_sslio_write_all(&stream, request, sizeof request - 1);
  br_sslio_flush(&stream);
  static char page[1 << 16];
  int size = 0, more;
  while ((more = br_sslio_read(&stream, page + size, sizeof page - 1 - size)) > 0) size += more;
  if (size == 0) {
    printf("error %d\n", br_ssl_engine_last_error(&client.eng));
    return 1;
  }
  for (char* line = strtok(page, "\r\n"); line != NULL; line = strtok(NULL, "\r\n"))
    if (strstr(line, "Protocol") != NULL) puts(line);
  return 0;
}
