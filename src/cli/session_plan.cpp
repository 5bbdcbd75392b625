#include "cli/session_plan.h"

#include "policy/session.h"

namespace cloister::cli {
namespace {

const policy::Volume* volume_with(const policy::Session& session, const volume::Key& key) {
  for (const policy::Volume& volume : session.volumes) {
    if (volume.key && equal_constant_time(volume.key->expose(), key.expose())) return &volume;
  }
  return nullptr;
}

const policy::ImageVolume* mount_of(const policy::Image& image, const std::string& volume) {
  for (const policy::ImageVolume& mount : image.volumes) {
    if (mount.name == volume) return &mount;
  }
  return nullptr;
}

Error lacks(const std::string& what, const std::string& variable) {
  return {Code::InvalidArgument, "the template has no " + what + " volume",
          "one of its volumes needs fspf_key: $" + variable + "_FSPF_KEY and fspf_tag: $" + variable +
              "_FSPF_TAG"};
}

void wipe_values(policy::Variables& variables) {
  for (auto& [name, value] : variables) wipe(value.data(), value.size());
}

}  // namespace

Result<std::string> fill_template(const std::string& text, const SessionValues& values) {
  policy::Variables variables;  // not by a list of values: that would leave copies of the keys
  variables["SESSION"] = values.number;
  variables["URL"] = values.url;
  variables["INPUT_FSPF_KEY"] = to_hex(values.input_key.expose());
  variables["INPUT_FSPF_TAG"] = to_hex(values.input_tag);
  variables["OUTPUT_FSPF_KEY"] = to_hex(values.output_key.expose());
  variables["OUTPUT_FSPF_TAG"] = to_hex(values.output_tag);
  Result<std::string> filled = policy::substitute(text, variables);
  wipe_values(variables);
  return filled;
}

Result<SessionPlan> plan_session(const std::string& filled, const SessionValues& values) {
  const policy::Session session = TRY(policy::parse_session(filled));
  const policy::Volume* input = volume_with(session, values.input_key);
  if (input == nullptr) return lacks("input", "INPUT");
  const policy::Volume* output = volume_with(session, values.output_key);
  if (output == nullptr) return lacks("output", "OUTPUT");
  for (const policy::Volume* volume : {input, output}) {
    if (!volume->tag)
      return Error(Code::InvalidArgument, "volume " + volume->name + " of the template has a key but no tag");
  }
  for (const policy::Service& service : session.services) {
    const policy::Image* image = session.find_image(service.image_name);
    if (image == nullptr) continue;
    const policy::ImageVolume* from = mount_of(*image, input->name);
    const policy::ImageVolume* to = mount_of(*image, output->name);
    if (from == nullptr || to == nullptr) continue;
    SessionPlan plan{session.name, service.name, {from->name, from->path}, {to->name, to->path}, {}};
    for (const policy::ImageVolume& mount : image->volumes) {
      if (&mount != from && &mount != to) plan.other_paths.push_back(mount.path);
    }
    return plan;
  }
  return Error(Code::InvalidArgument,
               "no service of the template mounts both " + input->name + " and " + output->name,
               "a service's image_name must name an entry of images that lists both volumes with a path");
}

}  // namespace cloister::cli
