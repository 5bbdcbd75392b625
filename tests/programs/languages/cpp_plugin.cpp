#include <string>
extern "C" std::string* greet(const char* name) { return new std::string(std::string("hello ") + name); }
