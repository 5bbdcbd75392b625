#include "cas/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

namespace cloister::cas {
namespace {

Error sqlite_error(sqlite3* database, int code) {
  const bool damaged = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
  const std::string reason = database == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database);
  if (damaged) return Error(Code::Integrity, "the database is damaged: " + reason, "restore a backup");
  return Error(Code::Unavailable, "the database cannot be used: " + reason,
               "check the state folder's disk and permissions");
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
void Database::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

// Binding fails only for wrong indexes and for values beyond SQLite's limit of a gigabyte: our bugs.
Statement& Statement::bind(int at, int64_t value) {
  CLOISTER_CHECK(sqlite3_bind_int64(statement_.get(), at, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(int at, ByteView value) {
  const void* data = value.empty() ? static_cast<const void*>("") : value.data();
  CLOISTER_CHECK(sqlite3_bind_blob64(statement_.get(), at, data, value.size(), SQLITE_TRANSIENT) ==
                 SQLITE_OK);
  return *this;
}

Statement& Statement::bind(int at, std::string_view value) {
  const char* data = value.empty() ? "" : value.data();
  CLOISTER_CHECK(sqlite3_bind_text64(statement_.get(), at, data, value.size(), SQLITE_TRANSIENT,
                                     SQLITE_UTF8) == SQLITE_OK);
  return *this;
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  const Error error = sqlite_error(sqlite3_db_handle(statement_.get()), code);
  reset();
  return Error(error);
}

Result<void> Statement::run() {
  for (;;) {
    const bool row = TRY(step());
    if (!row) break;
  }
  reset();
  return {};
}

void Statement::reset() {
  // Its code repeats the failure of the last step, which was reported then.
  static_cast<void>(sqlite3_reset(statement_.get()));
  sqlite3_clear_bindings(statement_.get());
}

int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }

ByteView Statement::blob(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  return {static_cast<const uint8_t*>(data),
          static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

std::string_view Statement::text(int column) const {
  const unsigned char* data = sqlite3_column_text(statement_.get(), column);
  if (data == nullptr) return {};
  return {reinterpret_cast<const char*>(data),
          static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

Result<Database> Database::open(const std::filesystem::path& path, bool read_only) {
  if (!read_only) {
    // SQLite would create it with the umask's mode; its journal files take the mode from it.
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return Error(Code::Unavailable, "cannot create " + path.string());
    ::close(fd);
  }
  sqlite3* raw = nullptr;
  const int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX |
                    SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
  Database out;
  out.database_.reset(raw);
  if (code != SQLITE_OK) return sqlite_error(raw, code);
  TRY(out.execute("PRAGMA busy_timeout=5000"));
  if (read_only) return out;
  TRY(out.execute("PRAGMA journal_mode=WAL"));
  TRY(out.execute("PRAGMA synchronous=FULL"));
  TRY(out.execute("PRAGMA wal_autocheckpoint=2000"));
  return out;
}

Result<void> Database::execute(const char* sql) {
  const int code = sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return sqlite_error(database_.get(), code);
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  Statement out;
  out.statement_.reset(raw);
  if (code != SQLITE_OK) return sqlite_error(database_.get(), code);
  return out;
}

}  // namespace cloister::cas
