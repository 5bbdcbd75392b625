#include <dlfcn.h>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>
int main() {
  try {
    throw std::runtime_error("thrown");
  } catch (const std::exception& e) {
    std::cout << e.what() << '\n';
  }
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i)
    threads.emplace_back([&, i] {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return turn == i; });
      std::cout << "thread " << i << '\n';
      ++turn;
      changed.notify_all();
    });
  for (auto& t : threads) t.join();
  auto f = std::async(std::launch::async, [] {
    throw std::logic_error("from a thread");
    return 1;
  });
  try {
    f.get();
  } catch (const std::logic_error& e) {
    std::cout << e.what() << '\n';
  }
  const auto folder = std::filesystem::temp_directory_path() / "cloister-c++-test";
  std::filesystem::create_directories(folder / "a/b");
  std::ofstream(folder / "a/file") << 3.25 << ' ' << 42;
  double d = 0;
  int n = 0;
  std::ifstream(folder / "a/file") >> d >> n;
  std::cout << d << ' ' << n << ' ' << std::filesystem::file_size(folder / "a/file") << '\n';
  std::filesystem::remove_all(folder);
  std::cout << std::regex_replace("a1b22", std::regex("[0-9]+"), "#") << '\n';
  void* plugin = dlopen("/plugin.so", RTLD_NOW);
  if (plugin == nullptr) plugin = dlopen("./plugin.so", RTLD_NOW);
  if (plugin == nullptr) return std::cout << dlerror() << '\n', 1;
  auto* greet = reinterpret_cast<std::string* (*)(const char*)>(dlsym(plugin, "greet"));
  std::cout << *greet("plugin") << '\n';
  std::mt19937_64 r(7);
  std::cout << r() << '\n';
  return 9;
}
