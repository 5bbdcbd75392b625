// What the files that look after a volume (survey, compact, repair, node_walk) may see of one.
#pragma once

#include "volume/care.h"
#include "volume/volume_impl.h"

namespace cloister::volume {

class Surveyor;

class VolumeCare {
 public:
  // --- survey.cpp
  static Result<Survey> survey(VolumeImpl& v);

  // --- node_walk.cpp
  // Null: the table of epochs lacks that of a block. That one cannot be read then, but others can.
  static Result<const crypto::Aes256Gcm*> key_or_none(VolumeImpl& v,
                                                      const VolumeResult<const crypto::Aes256Gcm*>& key);

  // --- open_for_repair.cpp
  static Result<bool> newest_commit_opens(VolumeImpl& v);

  // --- compact.cpp
  using Publish = std::function<Result<void>(const Tag&)>;
  // Commits, publishes, and makes what only older states reach free.
  static Result<void> settle(VolumeImpl& v, const Publish& publish);
  static Result<Compacted> compact(VolumeImpl& v, const Publish& publish);

 private:
  // --- survey.cpp
  static Result<uint64_t> object_size(VolumeImpl& v, const InodeRecord& record);
  static Result<void> survey_record(VolumeImpl& v, Surveyor& surveyor, const RecordKey& key, ByteView value);

  // --- open_for_repair.cpp
  struct WrittenChunk {
    uint64_t index;
    Ref ref;
  };
  using WrittenChunks = std::map<InodeId, std::vector<WrittenChunk>>;
  static Result<bool> chunk_opens(VolumeImpl& v, InodeId inode, const InodeRecord& record,
                                  const WrittenChunk& chunk);

  // --- compact.cpp
  static Result<Compacted> compact_in_rounds(VolumeImpl& v, const Publish& publish);
  static VolumeResult<std::vector<InodeId>> files_with_chunks(VolumeImpl& v);
  static VolumeResult<uint64_t> move_chunks(VolumeImpl& v, InodeId id, uint64_t main_end);
  static VolumeResult<uint64_t> move_nodes(VolumeImpl& v, uint64_t main_end);
  static VolumeResult<uint64_t> move_epoch_pages(VolumeImpl& v, uint64_t main_end);
  static VolumeResult<uint64_t> object_end(VolumeImpl& v, InodeId id);
  static Result<uint64_t> move_in_rounds(VolumeImpl& v, const std::vector<InodeId>& files,
                                         const Publish& publish);
  static Result<uint64_t> shorten(StorageFile& file, uint64_t blocks);
  static Result<uint64_t> cut_objects(VolumeImpl& v, const std::vector<InodeId>& files,
                                      const Publish& publish);
  static Result<uint64_t> cut_main(VolumeImpl& v, const Publish& publish);
};

}  // namespace cloister::volume
