#pragma once

#include <string>

#include "hallmark/admin/v1/rotation.pb.h"
#include "tools/dkimctl/failure.h"

// What signerd would do, and whether it would: for a dry run, and for the question before an act.
namespace hallmark::ctl {

// "20260131rk7p2, 20260131ex4a9": the keys of the domain in this state.
std::string SelectorsIn(const admin::v1::Rotation& rotation, admin::v1::KeyState state);

// What a rotation of the domain would do, as what follows "would": a sentence without its end.
std::string RotationIntent(const admin::v1::Rotation& rotation, bool compromised);

// Why signerd would not begin it; empty where nothing speaks against it.
std::string RefusalOfRotation(const admin::v1::Rotation& rotation, bool compromised);

// Whether signerd would take the policy, which is whole; not whether it has its publisher and its token.
Answer<void> JudgePolicy(const admin::v1::RotationPolicy& policy);

}  // namespace hallmark::ctl
