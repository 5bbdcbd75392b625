// SQLite with our error type and owned handles, nothing more. Results: Integrity when the file is not a sound
// database, Unavailable for everything the disk does.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/bytes.h"

struct sqlite3;
struct sqlite3_stmt;

namespace cloister::cas {

// A prepared statement. Not thread-safe. Parameters count from 1, columns from 0.
class Statement {
 public:
  Statement() = default;
  Statement& bind(int at, int64_t value);
  Statement& bind(int at, ByteView value);
  Statement& bind(int at, std::string_view value);
  // True: a row is there to be read.
  Result<bool> step();
  // Steps to the end and makes it ready for the next use.
  Result<void> run();
  void reset();

  int64_t integer(int column) const;
  ByteView blob(int column) const;  // until the next step
  std::string_view text(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// One connection. Not thread-safe.
class Database {
 public:
  // Creates the file (mode 0600) when absent. WAL and synchronous=FULL: a commit is on the disk.
  static Result<Database> open(const std::filesystem::path& path, bool read_only);

  Result<void> execute(const char* sql);
  Result<Statement> prepare(std::string_view sql);

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace cloister::cas
