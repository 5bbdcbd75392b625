#include "volume/run_writer.h"

namespace cloister::volume {

VolumeResult<uint8_t*> RunWriter::reserve(StorageFile& file, uint64_t offset) {
  const bool continues =
      used_ != 0 && &file == file_ && offset == offset_ + used_ && used_ + kBlockSize <= run_.size();
  if (!continues) {
    TRY(flush());
    const MutableByteView stored = file.writable_view(offset, kBlockSize);
    in_place_ = !stored.empty();
    if (in_place_) return stored.data();
    file_ = &file;
    offset_ = offset;
    run_ = file.staging(kMaxRun);
    staged_ = run_.size() >= kBlockSize;
    if (!staged_) {
      if (buffer_ == nullptr) buffer_.reset(new uint8_t[kMaxRun]);
      run_ = {buffer_.get(), kMaxRun};
    }
  }
  return staged_ ? block_ : run_.data() + used_;
}

void RunWriter::done() {
  if (in_place_) return;
  if (staged_) std::memcpy(run_.data() + used_, block_, kBlockSize);
  used_ += kBlockSize;
}

VolumeResult<void> RunWriter::flush() {
  if (used_ == 0) return {};
  const size_t size = used_;
  used_ = 0;
  return lift(file_->write_at(offset_, run_.first(size)));
}

}  // namespace cloister::volume
