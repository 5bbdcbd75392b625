// Intrusive containers of the caches: a hash table keyed by two numbers and a list in order of last use.
// Intrusive, because the caches allocate their items one by one anyway and the kernel has no unordered_map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cloister::volume {

// T has `uint64_t table_a, table_b; T* table_next`. Items are not owned.
template <class T>
class Table {
 public:
  T* find(uint64_t a, uint64_t b = 0) const {
    if (buckets_.empty()) return nullptr;
    for (T* item = buckets_[bucket(a, b)]; item != nullptr; item = item->table_next) {
      if (item->table_a == a && item->table_b == b) return item;
    }
    return nullptr;
  }
  void insert(T* item, uint64_t a, uint64_t b = 0) {
    if (size_ >= buckets_.size()) grow();
    item->table_a = a;
    item->table_b = b;
    T*& head = buckets_[bucket(a, b)];
    item->table_next = head;
    head = item;
    ++size_;
  }
  void erase(T* item) {
    T** link = &buckets_[bucket(item->table_a, item->table_b)];
    while (*link != item) link = &(*link)->table_next;
    *link = item->table_next;
    --size_;
  }
  size_t size() const { return size_; }

 private:
  size_t bucket(uint64_t a, uint64_t b) const {
    uint64_t mixed = (a + b * 0xc2b2ae3d27d4eb4fULL) * 0x9e3779b97f4a7c15ULL;
    mixed ^= mixed >> 32;
    return static_cast<size_t>(mixed) & (buckets_.size() - 1);
  }
  void grow() {
    std::vector<T*> old = std::move(buckets_);
    buckets_.assign(old.empty() ? 64 : old.size() * 2, nullptr);
    for (T* item : old) {
      while (item != nullptr) {
        T* next = item->table_next;
        T*& head = buckets_[bucket(item->table_a, item->table_b)];
        item->table_next = head;
        head = item;
        item = next;
      }
    }
  }

  std::vector<T*> buckets_;
  size_t size_ = 0;
};

// T has `T* lru_newer; T* lru_older`.
template <class T>
class LruList {
 public:
  void add(T* item) {
    item->lru_newer = nullptr;
    item->lru_older = newest_;
    if (newest_ != nullptr) newest_->lru_newer = item;
    newest_ = item;
    if (oldest_ == nullptr) oldest_ = item;
  }
  void remove(T* item) {
    (item->lru_newer != nullptr ? item->lru_newer->lru_older : newest_) = item->lru_older;
    (item->lru_older != nullptr ? item->lru_older->lru_newer : oldest_) = item->lru_newer;
  }
  void touch(T* item) {
    if (newest_ == item) return;
    remove(item);
    add(item);
  }
  T* oldest() const { return oldest_; }

 private:
  T* newest_ = nullptr;
  T* oldest_ = nullptr;
};

}  // namespace cloister::volume
